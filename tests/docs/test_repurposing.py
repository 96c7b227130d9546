"""docs/repurposing.md against the code and the results of its recipe."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from corollary.config import with_overrides
from corollary.repurpose.config import RepurposeConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "repurposing.md").read_text(encoding="utf-8")


def options(model: type[BaseModel] = RepurposeConfig, prefix: str = "") -> dict[str, Any]:
    """Every option by its dotted name, with its default."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            found |= options(type(field.default), f"{prefix}{name}.")
        elif not field.is_required():
            found[prefix + name] = field.default
    return found


@pytest.mark.parametrize(("name", "default"), options().items(), ids=lambda value: str(value))
def test_every_option_stands_in_the_table_with_its_default(name, default):
    assert f"| `{name}` | `{default}` |" in PAGE


def test_settings_that_the_page_names_are_accepted():
    """Written as NAME=VALUE in code."""
    for pair in re.findall(r"`((?:embeddings|classifier|splitting|pairs|baseline)\.[a-z_.]+=[^`]+)`", PAGE):
        RepurposeConfig.build(with_overrides({"relation": "treats"}, [pair]))


@pytest.mark.parametrize(
    "results", sorted((ROOT / "recipes" / "results").glob("repurpose-*")), ids=lambda path: path.name
)
def test_tables_are_those_of_the_result_files(results):
    """Every line that the recipe prints from its results stands on the page."""
    spec = spec_from_file_location("repurpose_recipe", ROOT / "recipes" / "repurpose.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = module_from_spec(spec)
    spec.loader.exec_module(recipe)
    lines = [line for line in recipe.tables(results) if line]
    assert lines
    for line in lines:
        assert line in PAGE.splitlines()
