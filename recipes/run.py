"""Run a recipe: `python recipes/run.py umls-conve`. Data, training, figures; small result files go to results/.

recipes/NAME.toml                     the options, and a [recipe] table with dataset and seeds
recipes/results/NAME/seed-0/          config.json, metrics.jsonl, evaluation.json of that run (no weights)
recipes/results/NAME/summary.json     mean over the seeds, and each
"""

import argparse
import json
import shutil
import statistics
from pathlib import Path

from corollary.cli.output import TrainingDisplay, print_table, say
from corollary.config import read_table, with_overrides
from corollary.graph.datasets.importing import import_dataset
from corollary.graph.folder import Graph
from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve
from corollary.storage import write_text

HERE = Path(__file__).parent
KEPT = ("config.json", "metrics.jsonl", "evaluation.json")


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
    graph = prepare(recipe["dataset"], output / "graph")
    results = HERE / "results" / options.name
    for seed in options.seeds or recipe["seeds"]:
        config = RunConfig.build(with_overrides(table, [*options.settings, f"seed={seed}"]))
        display = TrainingDisplay()
        run = train_conve(graph, output / f"seed-{seed}", config, observer=display, say=say)
        display.close()
        keep(run.path, results / f"seed-{seed}")
    summarise(results)


def prepare(dataset: str, folder: Path) -> Graph:
    """The graph folder, imported once."""
    if (folder / "graph.json").exists():
        return Graph.open(folder)
    return import_dataset(dataset, folder, say=say)


def keep(run: Path, results: Path) -> None:
    """Copy the small files of one run."""
    results.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(run / name, results / name)


def summarise(results: Path) -> None:
    """Mean and each seed's figures, from the files that were kept."""
    rows = []
    for seed in sorted(results.glob("seed-*")):
        evaluation = json.loads((seed / "evaluation.json").read_text())
        lines = [json.loads(line) for line in (seed / "metrics.jsonl").read_text().splitlines()]
        figures = evaluation["figures"]["sides"]["both"]["realistic"]
        rows.append(
            {
                "seed": seed.name,
                "mrr": figures["mrr"],
                "hits@1": figures["hits"]["1"],
                "hits@10": figures["hits"]["10"],
                "epochs": len(lines),
                "train_seconds": round(sum(line["seconds"] for line in lines), 1),
                "peak_bytes": lines[-1]["peak_bytes"],
            }
        )
    names = [name for name in rows[0] if name != "seed"]
    mean = {name: statistics.fmean(row[name] for row in rows) for name in names}
    write_text(results / "summary.json", json.dumps({"mean": mean, "seeds": rows}, indent=1) + "\n")
    print_table(
        ["seed", *names],
        [[row["seed"], *(row[n] for n in names)] for row in [*rows, {"seed": "mean", **mean}]],
    )


if __name__ == "__main__":
    main()
