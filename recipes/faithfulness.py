"""Faithfulness of influence: `python recipes/faithfulness.py umls family`. Train, then `corollary tracin verify`.

recipes/faithfulness/NAME.toml                        options of the run, and a [verify] table
recipes/results/faithfulness-NAME/STUDY.json          every figure of one study, with options, seeds, targets
recipes/results/faithfulness-NAME/last.json           datamodel of scores over the last checkpoint alone
recipes/results/faithfulness-NAME/evaluation.json     of the run itself

Retrainings stay in the output folder: a recipe that was stopped goes on where it was.
"""

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # models this small train faster on one thread

from corollary.cli.output import say
from corollary.cli.tracin_showing import bar
from corollary.config import read_table
from corollary.explain.datamodelling import Estimate
from corollary.graph.datasets.importing import import_dataset
from corollary.graph.folder import Graph
from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve
from corollary.runs.run import Run
from corollary.runs.verifying.verify import VerifyConfig, verify

HERE = Path(__file__).parent


def main() -> None:
    """Parse, and make each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="recipes, such as umls")
    parser.add_argument("--output", type=Path, default=Path("runs"), help="where runs with their weights go")
    parser.add_argument("--tables", action="store_true", help="only print the tables of docs/faithfulness.md")
    options = parser.parse_args()
    for name in options.names:
        results = HERE / "results" / f"faithfulness-{name}"
        if not options.tables:
            make(name, options.output / f"faithfulness-{name}", results)
        print("\n".join(tables(results)))


def make(name: str, output: Path, results: Path) -> None:
    """Train the run and hold influence against retraining; copy the small files."""
    table = read_table(HERE / "faithfulness" / f"{name}.toml")
    recipe, options = table.pop("recipe"), VerifyConfig.build(table.pop("verify"))
    run = trained(recipe["dataset"], output, RunConfig.build(table))
    results.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run.path / "evaluation.json", results / "evaluation.json")
    for study in options.studies:
        with bar("retrainings") as move:
            verify(run, output / "verify", options.changed(studies=(study,)), progress=move, say=say)
        shutil.move(output / "verify" / "verification.json", results / f"{study}.json")
    verify(run, output / "verify", options.changed(studies=("datamodel",), checkpoints=("final",)), say=say)
    shutil.move(output / "verify" / "verification.json", results / "last.json")


def tables(results: Path) -> list[str]:
    """The tables of docs/faithfulness.md that show these results, line by line; of the studies that are finished."""
    found = {
        path.stem: json.loads(path.read_text())[{"last": "datamodel"}.get(path.stem, path.stem)]
        for path in results.glob("*.json")
        if path.stem != "evaluation"
    }
    lines = deletion(found["deletion"]) if "deletion" in found else []
    if "planted" in found:
        lines += ["", *planted(found["planted"])]
    if "last" in found:
        lines += ["", *datamodel(found["datamodel"], found["last"])]
    return lines


def deletion(found: dict[str, Any]) -> list[str]:
    """Retrained without what each score calls most supportive, and without what the controls drew."""
    lines = head(
        "taken out by", "k", "triples", "MRR of targets", "H@1", "change from nothing",
        "beyond random neighbours", "below every control",
    )  # fmt: skip
    for row in found["rows"]:
        cells = [row["removed_by"], row["k"] or "", f"{row['removed']:.0f}", show(row["mrr"])]
        cells += [f"{row['hits_at_1']['value']:.3f}", show(row["change"])]
        cells += [
            show(row["beyond"].get("random neighbours")),
            {None: "", True: "yes", False: "no"}[row["clear"]],
        ]
        lines.append(line(cells))
    return lines


def datamodel(found: dict[str, Any], last: dict[str, Any]) -> list[str]:
    """Agreement of every score with retraining on halves, and the ceiling."""
    lines = head("score", "agreement", "above `shared`", "last checkpoint alone")
    alone = {row["score"]: row["lds"] for row in last["rows"]}
    for row in found["rows"]:
        lines.append(
            line([row["score"], show(row["lds"]), show(row["beyond_shared"]), show(alone[row["score"]])])
        )
    return [*lines, line(["noise ceiling", f"{found['ceiling']['score']:.3f}", "", ""])]


def planted(found: dict[str, Any]) -> list[str]:
    """How well each figure finds planted wrong triples."""
    lines = head(
        "figure", "area under the curve", *(f"found in first {share}" for share in found["rows"][0]["recall"])
    )
    for row in found["rows"]:
        recall = [f"{share:.2f}" for share in row["recall"].values()]
        lines.append(line([row["score"], show(row["area_under_curve"]), *recall]))
    return lines


def head(*columns: str) -> list[str]:
    """The first two lines of a table."""
    return [line(columns), line(["---"] * len(columns))]


def show(estimate: dict[str, float] | None) -> str:
    """A figure and its interval."""
    return str(Estimate(**estimate)) if estimate else ""


def line(cells: Sequence[object]) -> str:
    """A row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def trained(dataset: str, output: Path, config: RunConfig) -> Run:
    """The run, made once."""
    if (output / "run" / "report.html").exists():
        return Run.open(output / "run")
    graph = output / "graph"
    opened = Graph.open(graph) if (graph / "graph.json").exists() else import_dataset(dataset, graph, say=say)
    return train_conve(opened, output / "run", config, say=say)


if __name__ == "__main__":
    main()
