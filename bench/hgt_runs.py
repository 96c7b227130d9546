"""Whole trainings of HGT under a memory limit: do they run, how long does an epoch take, and does the peak keep to the plan?

    python bench/hgt_runs.py wide GRAPH     Hetionet, width 512, under 6 GiB
    python bench/hgt_runs.py random         67,000 nodes of 5 types, 3.4 million edges, width 256, exact, under 2 GiB
    python bench/hgt_runs.py sampled        the same graph, 5,000 edges a type, 8 batches a step, hidden 256, output 512

Each is a process of its own, through `train_hgt`: plan, loop, checkpoint, audit. An epoch of `sampled` is one optimiser
step over 8 parts, as scripts in use have it: they take 100 of them. `seconds` of epochs are wall-clock seconds of
training; `whole` is those of everything, from opening the graph to the audit. Appends a line to results/hgt.jsonl.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from corollary.cli.output import print_table, say
from record import machine_line, write_line

CASES: dict[str, dict[str, Any]] = {
    "wide": {
        "memory_limit": "6GiB",
        "model": {"hidden_dim": 512, "embedding_dim": 512},
        "links": {"folds": 2},
        "training": {"epochs": 1, "validate_every": 9, "num_workers": 0},
    },
    "random": {
        "memory_limit": "2GiB",
        "model": {"hidden_dim": 256, "embedding_dim": 256},
        "links": {"folds": 2},
        "training": {"epochs": 1, "validate_every": 9, "num_workers": 0},
    },
    "sampled": {
        "memory_limit": "2GB",
        "model": {"hidden_dim": 256, "embedding_dim": 512, "attn": 8},
        "sampling": {"name": "edges", "edge_sample_size": 5000, "batches": 8},
        "training": {"epochs": 100, "validate_every": 1000, "accumulation": 8},
    },
}


def main() -> None:
    """Choose a case, or be its process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=list(CASES))
    parser.add_argument("graph", nargs="?", help="wide: a graph folder of Hetionet")
    parser.add_argument("--epochs", type=int, help="fewer than the case has")
    parser.add_argument("--within", type=Path, help="be the process, in this folder")
    options = parser.parse_args()
    if options.within is not None:
        print(json.dumps(measure(options.case, options.graph, options.epochs, options.within)))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *sys.argv, "--within", folder]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        say(f"{options.case} failed: {done.stderr.strip().splitlines()[-1:]}")
        return
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print_table(
        ["figure", options.case], [[name, value] for name, value in found.items() if name != "options"]
    )
    write_line("hgt", {**machine_line(), "what": f"run {options.case}", **found})


def measure(case: str, graph: str | None, epochs: int | None, folder: Path) -> dict[str, Any]:
    """Train, and read what the run folder says."""
    import numpy as np
    from hgt import triples_of

    from corollary.graph.folder import Graph, write_graph
    from corollary.runs.hgt.kind import train_hgt
    from corollary.runs.hgt.options import HgtOptions

    table = (
        CASES[case]
        if epochs is None
        else {**CASES[case], "training": {**CASES[case]["training"], "epochs": epochs}}
    )
    if graph is None:
        nodes, (heads, relations, tails), count = triples_of(None)
        kinds = nodes.types_of(np.arange(len(nodes)))
        opened = write_graph(
            folder / "graph",
            name="random",
            labels=[f"n{row}" for row in range(len(nodes))],
            relations=[f"r{number}" for number in range(count)],
            triples={"train": np.stack([heads, relations, tails], 1)},
            types=[nodes.names[kind] for kind in kinds.tolist()],
        )
    else:
        opened = Graph.open(graph)
    started, used = time.perf_counter(), time.process_time()
    run = train_hgt(opened, folder / "run", HgtOptions.build(table))
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    memory = json.loads((run.path / "memory.json").read_text())
    seconds = [line["seconds"] for line in lines]
    return {
        "epochs": len(lines),
        "steps": lines[-1]["updates"],
        "seconds": sum(seconds),
        "seconds_of_the_last_epoch": seconds[-1],
        "whole": time.perf_counter() - started,
        "cpu": time.process_time() - used,
        "planned_bytes": memory["planned_bytes"],
        "peak_bytes": memory["peak_bytes"],
        "leaked_pairs": json.loads((run.path / "audit.json").read_text())["leaked_pairs"],
        "options": table,
    }


if __name__ == "__main__":
    main()
