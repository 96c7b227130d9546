"""Figures in docs/hgt.md are those of the result files."""

import importlib.util
import json
import re
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


def rows_beside_pyg(line):
    """Cases of one line of bench/hgt.py that were measured with PyG too, as the page writes them."""
    cases = line.get("cases", {})
    for name, ours in cases.items():
        if theirs := cases.get(f"{name}, PyG"):
            sizes = [f"{one['growth'] / 2**20:,.0f} MiB" for one in (ours, theirs)]
            ratios = [theirs[figure] / ours[figure] for figure in ("wall", "growth")]
            yield (
                f"| {name} | {ours['wall']:.1f} s, {sizes[0]} | {theirs['wall']:.1f} s, {sizes[1]} "
                f"| {ratios[0]:.1f} x | {ratios[1]:.1f} x |"
            )


def test_table_beside_pyg_is_that_of_the_bench():
    """Every row is a pair of cases of bench/results/hgt.jsonl, and both pairs are there; the sampler's newest time too."""
    page = (ROOT / "docs" / "hgt.md").read_text(encoding="utf-8")
    lines = (ROOT / "bench" / "results" / "hgt.jsonl").read_text(encoding="utf-8").splitlines()
    rows = re.findall(r"^\| (?:encoder|part)\b.* x \|$", page, re.M)
    found = [json.loads(line) for line in lines]
    made = {row for line in found for row in rows_beside_pyg(line)}
    assert len(rows) == 2
    assert set(rows) <= made
    drawn = [line["cases"]["sampler alone"]["wall"] for line in found if line["what"] == "sampled"][-1]
    assert f"sorting it takes {1000 * drawn:.0f} ms" in page
