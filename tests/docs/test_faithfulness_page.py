"""Figures in docs/faithfulness.md are those of the result files."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "recipes" / "results"
STUDIES = sorted(
    path
    for path in RESULTS.glob("faithfulness-*/*.json")
    if path.stem in ("deletion", "planted", "datamodel")
)
RECIPES = sorted({path.parent.name.removeprefix("faithfulness-") for path in STUDIES})


@pytest.fixture(scope="module")
def recipe():
    """recipes/faithfulness.py as a module."""
    spec = importlib.util.spec_from_file_location("faithfulness_recipe", ROOT / "recipes" / "faithfulness.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", RECIPES)
def test_faithfulness_tables_are_those_of_the_recipe(recipe, name):
    """Every line, as `recipes/faithfulness.py --tables` prints it."""
    page = (ROOT / "docs" / "faithfulness.md").read_text(encoding="utf-8")
    for table in "\n".join(recipe.tables(ROOT / "recipes" / "results" / f"faithfulness-{name}")).split(
        "\n\n"
    ):
        assert table in page


@pytest.mark.parametrize("place", STUDIES, ids=lambda place: f"{place.parent.name}-{place.stem}")
def test_recorded_options_are_those_of_the_recipe(place):
    """Nobody changed the recipe after its figures were made."""
    from corollary.config import read_table
    from corollary.runs.verifying.verify import VerifyConfig

    name = place.parent.name.removeprefix("faithfulness-")
    table = read_table(ROOT / "recipes" / "faithfulness" / f"{name}.toml")
    recorded = json.loads(place.read_text())
    given = VerifyConfig.build(table["verify"]).changed(studies=(place.stem,))
    assert recorded["options"] == given.model_dump(mode="json")
    for part in ("model", "training"):
        ours = {key: value for key, value in table[part].items() if key != "checkpoint_frequency"}
        assert ours.items() <= recorded["model"][part].items()
