"""recipes/run.py, from a recipe to the small files that are committed."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = """
[recipe]
dataset = "countries"
seeds = [0, 1]

[model]
embedding_dim = 16
channels = 2
batch_size = 512

[training]
epochs = 1
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script as a module, with a folder of its own for recipes and results, and a tiny split in place of the
    dataset."""
    spec = importlib.util.spec_from_file_location("recipe_script", RECIPES / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path / "recipes")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small.toml").write_text(TINY)
    return module


def test_a_recipe_runs_every_seed_and_keeps_small_files(script, countries, tmp_path, monkeypatch, capsys):
    """Configuration, metrics and figures of each seed, and their means; no weights."""
    monkeypatch.setattr(script, "import_dataset", lambda name, folder, say: countries)
    words = ["small", "--output", str(tmp_path / "runs"), "--set", "training.lr=0.01"]
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    script.main()
    results = tmp_path / "recipes" / "results" / "small"
    kept = sorted(str(path.relative_to(results)) for path in results.rglob("*") if path.is_file())
    names = ("config.json", "evaluation.json", "metrics.jsonl")
    assert kept == [*(f"seed-{seed}/{name}" for seed in (0, 1) for name in names), "summary.json"]
    summary = json.loads((results / "summary.json").read_text())
    figures = [json.loads((results / f"seed-{seed}" / "evaluation.json").read_text()) for seed in (0, 1)]
    mrr = [found["figures"]["sides"]["both"]["realistic"]["mrr"] for found in figures]
    assert [row["mrr"] for row in summary["seeds"]] == mrr
    assert summary["mean"]["mrr"] == pytest.approx(sum(mrr) / 2, rel=1e-12)
    assert mrr[0] != mrr[1]
    config = json.loads((results / "seed-1" / "config.json").read_text())
    assert (config["seed"], config["training"]["lr"]) == (1, 0.01)
    assert "mean" in capsys.readouterr().out


def test_the_dataset_is_imported_once(script, tmp_path):
    """A second seed, or a second start, opens the folder."""
    first = script.prepare({"dataset": "countries"}, tmp_path / "graph")
    assert script.prepare({"dataset": "none such"}, tmp_path / "graph").fingerprint == first.fingerprint


TAXONOMY = """
[recipe]
learner = "poincare"
taxonomy = "animals.tsv"
ranks = ["class"]
seeds = [0]

[model]
dim = 3
held_out_parents = 0.3

[training]
epochs = 1
"""


def test_a_recipe_of_a_taxonomy_keeps_its_figures_and_controls(script, tmp_path, monkeypatch):
    """The same files with taxonomy.json; the summary has the run's figures and each control's."""
    ranks = ["phylum", "class", "order", "genus", "species"]
    depth = [0]
    for node in range(1, 121):
        depth.append(depth[(node - 1) // 3] + 1)
    rows = [f"{node}\t{(node - 1) // 3 if node else ''}\t{ranks[depth[node]]}" for node in range(121)]
    (tmp_path / "animals.tsv").write_text("child\tparent\trank\n" + "\n".join(rows) + "\n")
    (tmp_path / "recipes" / "small-tree.toml").write_text(TAXONOMY)
    monkeypatch.setenv("COROLLARY_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["run.py", "small-tree", "--output", str(tmp_path / "runs")])
    script.main()
    results = tmp_path / "recipes" / "results" / "small-tree"
    assert {path.name for path in (results / "seed-0").iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "taxonomy.json",
    }
    mean = json.loads((results / "summary.json").read_text())["mean"]
    assert {
        "map",
        "untrained map",
        "random map",
        "euclidean map",
        "tree map",
        "leaf_attachment mrr",
        "class p_gromov",
    } <= set(mean)
