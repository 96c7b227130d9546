"""Run a recipe: `python recipes/run.py umls-conve`. Data, training, figures; small result files go to results/.

recipes/NAME.toml                     the options, and a [recipe] table: learner (conve), dataset or taxonomy, seeds
recipes/results/NAME/seed-0/          config.json, metrics.jsonl and the figures of that run (no weights)
recipes/results/NAME/summary.json     mean over the seeds, and each

A taxonomy is a file below the folder that the environment variable COROLLARY_DATA names.
"""

import argparse
import json
import os
import shutil
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from corollary.cli.output import TrainingDisplay, print_table, say
from corollary.config import read_table, with_overrides
from corollary.graph.datasets.importing import import_dataset
from corollary.graph.folder import Graph
from corollary.graph.taxonomy_import import TaxonomyImportConfig, import_taxonomy
from corollary.runs.kinds import kind_of
from corollary.runs.poincare.analysis import analyze_taxonomy
from corollary.runs.run import Run
from corollary.runs.training import train
from corollary.storage import write_text

HERE = Path(__file__).parent
KEPT = ("config.json", "metrics.jsonl")
FIGURES = {"conve": "evaluation.json", "poincare": "taxonomy.json"}
"""Where the figures of a learner's runs stand."""


def main() -> None:
    """Parse, run every seed, collect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a recipe, such as umls-conve")
    parser.add_argument(
        "--output", type=Path, help="where runs with their weights go; runs/NAME if not given"
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="other seeds than the recipe's")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="KEY=VALUE")
    options = parser.parse_args()
    table = read_table(HERE / f"{options.name}.toml")
    recipe = table.pop("recipe")
    output = options.output or Path("runs") / options.name
    kind = kind_of(recipe.get("learner", "conve"))
    graph = prepare(recipe, output / "graph")
    results = HERE / "results" / options.name
    for seed in options.seeds or recipe["seeds"]:
        config = kind.options.build(with_overrides(table, [*options.settings, f"seed={seed}"]))
        display = TrainingDisplay()
        run = train(kind, graph, output / f"seed-{seed}", config, observer=display, say=say)
        display.close()
        if kind.name == "poincare":
            analyze_taxonomy(Run.open(run.path), ranks=tuple(recipe.get("ranks", ())), say=say)
        keep(run.path, results / f"seed-{seed}", FIGURES[kind.name])
    summarise(results, FIGURES[kind.name])


def prepare(recipe: Mapping[str, Any], folder: Path) -> Graph:
    """The graph folder, imported once."""
    if (folder / "graph.json").exists():
        return Graph.open(folder)
    if "dataset" in recipe:
        return import_dataset(recipe["dataset"], folder, say=say)
    file = Path(os.environ.get("COROLLARY_DATA", ".")) / recipe["taxonomy"]
    return import_taxonomy(folder, TaxonomyImportConfig(files=(file,)), say=say)


def keep(run: Path, results: Path, figures: str) -> None:
    """Copy the small files of one run."""
    results.mkdir(parents=True, exist_ok=True)
    for name in (*KEPT, figures):
        shutil.copyfile(run / name, results / name)


def ranking_figures(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Of a learner that ranks facts."""
    figures = evaluation["figures"]["sides"]["both"]["realistic"]
    return {"mrr": figures["mrr"], "hits@1": figures["hits"]["1"], "hits@10": figures["hits"]["10"]}


def taxonomy_figures(analysis: Mapping[str, Any]) -> dict[str, float]:
    """Of the run and, where a control has it, of each control beside it."""
    found = {}
    for name, figures in analysis["figures"].items():
        before = "" if name == "run" else f"{name} "
        reconstruction = figures["reconstruction"]
        found[f"{before}map"], found[f"{before}mean_rank"] = (
            reconstruction["map"],
            reconstruction["mean_rank"],
        )
        found[f"{before}depth_radius"] = figures["depth_radius"]
        for part in ("withheld_pairs", "leaf_attachment"):
            if part in figures:
                found[f"{before}{part} mrr"], found[f"{before}{part} hits@10"] = (
                    figures[part]["mrr"], figures[part]["hits@10"],
                )  # fmt: skip
        for rank, apart in figures["separation"].items():
            if apart is not None:
                found[f"{before}{rank} ratio_uniform"] = apart["ratio_uniform"]
                found[f"{before}{rank} p_gromov"] = apart["p_gromov"]
        for rank, share in figures.get("neighbour_accuracy_withheld", {}).items():
            found[f"{before}{rank} neighbours"] = share
    return found


READERS: dict[str, Callable[[Mapping[str, Any]], dict[str, float]]] = {
    "evaluation.json": ranking_figures,
    "taxonomy.json": taxonomy_figures,
}


def summarise(results: Path, file: str) -> None:
    """Mean and each seed's figures, from the files that were kept."""
    rows = []
    for seed in sorted(results.glob("seed-*")):
        lines = [json.loads(line) for line in (seed / "metrics.jsonl").read_text().splitlines()]
        rows.append(
            {
                "seed": seed.name,
                **READERS[file](json.loads((seed / file).read_text())),
                "epochs": len(lines),
                "train_seconds": round(sum(line["seconds"] for line in lines), 1),
                "peak_bytes": lines[-1]["peak_bytes"],
            }
        )
    names = [name for name in rows[0] if name != "seed"]
    mean = {name: statistics.fmean(row[name] for row in rows) for name in names}
    write_text(results / "summary.json", json.dumps({"mean": mean, "seeds": rows}, indent=1) + "\n")
    columns = [*rows, {"seed": "mean", **mean}]
    print_table(
        ["figure", *(str(row["seed"]) for row in columns)],
        [[name, *(row[name] for row in columns)] for name in names],
    )


if __name__ == "__main__":
    main()
