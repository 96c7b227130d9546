"""How good are DRUM and the counted rules beside it, on DRUM's own splits, whole and in groups of targets?

`python bench/drum_quality.py FOLDER --rule-length 2 --groups 1 2 4 --seeds 0 1 2` trains one DRUM a seed and number of
groups (1: all targets together) on a folder with facts.txt, train.txt, valid.txt and test.txt, a process each, and
appends one line a number of groups to results/drum_quality.jsonl: ranks expected over ties, both sides, filtered.
With groups the epochs of a group times the rotations are those of the joint training.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from corollary.cli.output import print_table, say
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig, import_graph
from record import machine_line, write_line


def main() -> None:
    """Train, read the run folders, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rule-length", type=int, default=2)
    parser.add_argument("--rank", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--groups", type=int, nargs="+", default=[1])
    parser.add_argument("--rotations", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", dest="settings", action="append", default=[], help="KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        graph = import_graph(Path(place) / "graph", ImportConfig(files=(options.folder,)))
        for number in options.groups:
            rows = [measure(graph, options, number, seed, Path(place)) for seed in options.seeds]
            names = list(rows[0])
            mean = {name: statistics.fmean(row[name] for row in rows) for name in names}
            print_table(
                ["seed", *names], [[s, *r.values()] for s, r in zip(options.seeds, rows, strict=True)]
            )
            line = {"data": options.folder.name, "rule_length": options.rule_length, "components": options.rank,
                    "epochs": options.epochs, "groups": number, "rotations": options.rotations if number > 1 else None, "settings": options.settings}  # fmt: skip
            write_line(
                "drum_quality",
                {
                    **machine_line(),
                    **line,
                    "mean": mean,
                    "seeds": dict(zip(options.seeds, rows, strict=True)),
                },
            )


def measure(graph: Graph, options: Any, groups: int, seed: int, place: Path) -> dict[str, float]:
    """One training in a process of its own."""
    run = place / f"run-{groups}-{seed}"
    words = ["--rule-length", options.rule_length, "--rank", options.rank, "--seed", seed]
    if groups == 1:
        words += ["--num-epochs", options.epochs]
    else:
        targets = len({int(r) for r in graph.triples("train")[:, 1]})
        words += ["--target-batch-size", math.ceil(targets / groups), "--rotations", options.rotations]
        words += ["--epochs-per-group", options.epochs // options.rotations]
    for setting in options.settings:
        words += ["--set", setting]
    program = "from corollary.cli.main import main; main()"
    command = [sys.executable, "-c", program, "train", "drum", graph.path, "-o", run, *words]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    found: dict[str, float] = {}
    for name, file in (("", "evaluation.json"), ("rules ", "rules_evaluation.json")):
        sides = json.loads((run / file).read_text())["figures"]["sides"]["both"]
        found[f"{name}mrr"] = sides["realistic"]["mrr"]
        found[f"{name}mrr optimistic"] = sides["optimistic"]["mrr"]
        found[f"{name}hits@1"] = sides["realistic"]["hits"]["1"]
        found[f"{name}hits@10"] = sides["realistic"]["hits"]["10"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    memory = json.loads((run / "memory.json").read_text())
    found |= {"reached": json.loads((run / "reach.json").read_text())["model"]}
    found |= {"train_seconds": sum(line["seconds"] for line in lines), "peak_bytes": memory["peak_bytes"]}
    say(f"{groups} groups, seed {seed}: {found}")
    return found | {"planned_bytes": memory["planned_bytes"]}


if __name__ == "__main__":
    main()
