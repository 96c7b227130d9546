"""Every option of the pipeline as Dagster's own configuration, made from the program's so that none can be forgotten."""

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dagster as dg
from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from corollary.config import Config


def mirrored(model: type[Config], *, without: Mapping[str, Any] = {}) -> type[dg.Config]:
    """A Dagster configuration with the fields and help of one of the program's; nothing in it is set.

    Dagster fills every default in before anyone can ask what was set. So None is the default of all, and the program's own
    stands in the help. Dagster knows fewer types: paths become text, choices become text with the choices in their help,
    tuples become lists. Values are checked when the program's own configuration is built from them.

    Args:
        without: names that are left out; by name of a group the names within it.
    """
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = without.get(name, {})
        if inner is None:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            group = mirrored(field.annotation, without=inner)
            fields[name] = (group, Field(group(), description=field.annotation.__doc__))
        else:
            fields[name] = (_known(field.annotation) | None, Field(None, description=_help(field)))
    return create_model(model.__name__, __base__=dg.Config, **fields)


def given(options: BaseModel) -> dict[str, Any]:
    """What was set, by group; what equals the program's default is set too."""
    found = {}
    for name in type(options).model_fields:
        value = getattr(options, name)
        if isinstance(value, BaseModel):
            value = given(value) or None
        if value is not None:
            found[name] = value
    return found


def _known(annotation: Any) -> Any:
    """The nearest type that Dagster can show and check."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _known(inside[0])
    if origin is Literal:
        return type(inside[0])
    if origin in (Union, types.UnionType):
        return _known(next(one for one in inside if one is not type(None))) | None
    if origin is tuple:
        return list[_known(inside[0])]  # type: ignore[misc]
    if origin is dict:
        return dict if inside[1] is Any else dict[str, _known(inside[1])]  # type: ignore[misc]
    return str if annotation is Path else annotation


def _help(field: FieldInfo) -> str:
    """With choices, and with the default where there is one."""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    listed = f" One of {', '.join(map(str, choices))}." if choices else ""
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    default = ", ".join(map(str, default)) if isinstance(default, tuple) else default
    unset = f" Not set: {default}." if default not in (None, "", {}) else ""
    return f"{field.description or ''}{listed}{unset}"
