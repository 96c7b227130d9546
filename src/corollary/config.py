"""Strict configuration: frozen pydantic models, TOML or JSON in, every key checked.

The line under a field is its help text, in `--help` and in the docs.
"""

import copy
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from corollary.errors import ConfigError, unknown


class Config(BaseModel):
    """What every configuration is: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def build(cls, values: Mapping[str, Any], *, where: str = "configuration") -> Self:
        """Validate `values`; what is wrong becomes one `ConfigError` that names key, value and remedy."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(_explain(error, cls, where)) from None

    @classmethod
    def load(cls, path: Path, overrides: Iterable[str] = ()) -> Self:
        """Read a `.toml` or `.json` file and apply `key.path=value` overrides."""
        return cls.build(with_overrides(read_table(path), overrides), where=str(path))

    def changed(self, **values: Any) -> Self:
        """A copy with some fields replaced, validated again."""
        return type(self).build({**self.model_dump(), **values})


def read_table(path: Path) -> dict[str, Any]:
    """The content of a TOML or JSON file as nested dictionaries."""
    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: expected a table of options, found {type(table).__name__}")
    return table


def with_overrides(table: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`training.lr=0.003` sets `table["training"]["lr"]`; values are read as TOML, else taken as text."""
    result = copy.deepcopy(dict(table))
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"--set {override}: expected KEY=VALUE, for example training.lr=0.003")
        *parents, key = (part.strip().replace("-", "_") for part in path.split("."))
        node = result
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {override}: {parent!r} is a value, not a group of options")
        node[key] = _value(text.strip())
    return result


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return None if text.lower() == "none" else text


def _explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """One line a mistake: which key, which value, what was expected."""
    lines = []
    for item in error.errors():
        *groups, name = map(str, item["loc"]) if item["loc"] else [""]
        key = ".".join([*groups, name])
        if item["type"] == "extra_forbidden":
            owner = _owner(model, item["loc"])
            place = ": ".join([where, *([".".join(groups)] if groups else [])])
            lines.append(unknown("option", name, sorted(owner.model_fields) if owner else [], where=place))
        else:
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "tuple_type":
                message = (
                    f"expected a list: [{json.dumps(item['input'])}]"
                    if isinstance(item["input"], str)
                    else "expected a list"
                )
            given = "" if item["type"] in ("missing", "value_error") else f" = {item['input']!r}"
            lines.append(f"{where}: {key}{given}: {message}" if key else f"{where}: {message}")
    return "\n".join(lines)


def _owner(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model in which the last key of `location` was looked up."""
    owner: type[BaseModel] | None = model
    for part in location[:-1]:
        field = owner.model_fields.get(str(part)) if owner else None
        annotation = field.annotation if field else None
        owner = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    return owner
