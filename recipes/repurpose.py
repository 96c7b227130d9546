"""Lists of drugs with their figures: `python recipes/repurpose.py hetionet-treats`.

recipes/repurpose/NAME.toml                       options of `corollary repurpose`, and a [recipe] table
recipes/results/repurpose-NAME/SCHEME.json        every figure of one way to hold out
recipes/results/repurpose-NAME/memory.json        planned and measured peak, seconds

A recipe that was stopped goes on where it was. Files of pairs are looked for in the folder that COROLLARY_DATA names.
"""

import argparse
import csv
import gzip
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from corollary.cli.output import TrainingDisplay, say
from corollary.cli.tracin_showing import bar
from corollary.config import read_table
from corollary.graph.datasets.importing import import_dataset
from corollary.graph.folder import Graph
from corollary.repurpose.config import RepurposeConfig
from corollary.repurpose.pipeline import repurpose_graph

HERE = Path(__file__).parent
SCHEMES = ("rows", "random", "areas", "external")
FIGURES = ("mrr", "hits@10", "average_precision", "auroc", "recall@1000")


def main() -> None:
    """Parse, and make each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="recipes, such as hetionet-treats")
    parser.add_argument("--output", type=Path, default=Path("runs"), help="where graphs and lists go")
    parser.add_argument("--tables", action="store_true", help="only print the tables of docs/repurposing.md")
    options = parser.parse_args()
    for name in options.names:
        results = HERE / "results" / f"repurpose-{name}"
        if not options.tables:
            make(name, options.output / f"repurpose-{name}", results)
        print("\n".join(tables(results)))


def make(name: str, output: Path, results: Path) -> None:
    """Graph, pairs, lists; copy the small files."""
    table = read_table(HERE / "repurpose" / f"{name}.toml")
    recipe, options = table["recipe"], table["options"]
    output.mkdir(parents=True, exist_ok=True)
    place = output / "graph"
    graph = Graph.open(place) if place.exists() else import_dataset(recipe["dataset"], place, say=say)
    with_files(recipe, options, output)
    display, since = TrainingDisplay(), time.monotonic()
    with bar("folds") as move:
        config = RepurposeConfig.build(options)
        found = repurpose_graph(graph, output / "lists", config, observer=display, progress=move, say=say)
    display.close()
    results.mkdir(parents=True, exist_ok=True)
    for scheme in found.figures:
        shutil.copyfile(found.path / "figures" / f"{scheme}.json", results / f"{scheme}.json")
    memory = json.loads((found.path / "memory.json").read_text(encoding="utf-8"))
    memory["seconds_of_last_call"] = time.monotonic() - since
    (results / "memory.json").write_text(json.dumps(memory, indent=1) + "\n", encoding="utf-8")


def with_files(recipe: dict[str, str], options: dict[str, Any], output: Path) -> None:
    """Pairs of PharmacotherapyDB that are no indications, DrugCentral's indications that it has not, areas of diseases."""
    data = Path(os.environ.get("COROLLARY_DATA", "data"))
    for key, kept, group, field in (
        ("external", "", "splitting", "external_file"),
        ("curated", "NOT", "pairs", "negatives_file"),
    ):
        if key in recipe:
            path = output / f"{key}.tsv"
            rows = [row for row in rows_of(data / recipe[key]) if row["category"] == kept]
            lines = [f"Compound::{row['drugbank_id']}\tDisease::{row['doid_id']}\n" for row in rows]
            path.write_text("".join(lines), encoding="utf-8")
            options.setdefault(group, {})[field] = str(path)
    if "areas" in recipe:
        path = output / "areas.tsv"
        names = {row["doid"]: row["name"] for row in rows_of(data / recipe["area_names"])}
        above = {row["id"]: row["doid_ancestors"].split("|") for row in rows_of(data / recipe["areas"])}
        lines = [
            f"{disease}\t{'|'.join(names[area] for area in areas if area)}\n"
            for disease, areas in above.items()
        ]
        path.write_text("".join(lines), encoding="utf-8")
        options.setdefault("splitting", {})["areas_file"] = str(path)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Lines of a packed table with a header."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def tables(results: Path) -> list[str]:
    """The tables of docs/repurposing.md that show these results, line by line."""
    lines = []
    for scheme in SCHEMES:
        if (results / f"{scheme}.json").exists():
            found = json.loads((results / f"{scheme}.json").read_text(encoding="utf-8"))
            lines += [f"| {scheme} | {' | '.join(FIGURES)} |", "| --- |" + " ---: |" * len(FIGURES)]
            for name, judged in found["scores"].items():
                cells = [_shown(judged["figures"].get(figure)) for figure in FIGURES]
                lines.append(f"| {name} | {' | '.join(cells)} |")
            lines += ["", *_calibration(found["scores"]), ""]
    return lines


def _calibration(scores: dict[str, Any]) -> list[str]:
    """Of the scores that are probabilities."""
    lines = ["| probabilities | Brier skill | slope | expected / observed | in the top 1,000 |"]
    lines.append("| --- |" + " ---: |" * 4)
    for name, judged in scores.items():
        if found := judged["calibration"]:
            whole, top = (found[f"{part}expected"] / found[f"{part}observed"] for part in ("", "top_"))
            lines.append(
                f"| {name} | {found['brier_skill']:.3f} | {found['slope']:.2f} | {whole:.2f} | {top:.2f} |"
            )
    return lines


def _shown(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return ""
    if estimate.get("low") is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


if __name__ == "__main__":
    main()
