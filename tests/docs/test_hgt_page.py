"""Figures in docs/hgt.md are those of the result files."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "recipes" / "results").glob("treatments-*/*.json"))
SCHEMES = [path for path in RESULTS if path.stem != "embeddings"]


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """recipes/treatments.py as a module."""
    spec = importlib.util.spec_from_file_location("treatments_recipe", ROOT / "recipes" / "treatments.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SCHEMES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_tables_of_treatments_are_those_of_the_recipe(recipe, path):
    """Every line, as `recipes/treatments.py` prints it."""
    page = (ROOT / "docs" / "hgt.md").read_text(encoding="utf-8")
    assert "\n".join(recipe.rows_of(json.loads(path.read_text()))) in page
