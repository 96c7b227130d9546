"""What do cleanup, mixed precision and recomputed feature maps change: memory, seconds an epoch, test MRR?

`python bench/options.py GRAPH --epochs 2` trains the same ConvE (batch 512, d 200) once with each option added to those
before it, a process each, and prints the table that stands in docs/memory.md. Appends one line to results/options.jsonl.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from corollary.budget import show_bytes
from corollary.cli.output import print_table, say
from record import machine_line, write_line

STEPS = {
    "float32": ["--disable-memory-cleanup"],
    "+ cleanup": [],
    "+ mixed precision": ["--use-mixed-precision"],
    "+ gradient checkpointing": ["--use-mixed-precision", "--use-gradient-checkpointing"],
}


def main() -> None:
    """Train, read the run folders, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, help="a graph folder, FB15k-237 for the published table")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=512)
    options = parser.parse_args()
    found = {}
    for name, flags in STEPS.items():
        size = ["--num-epochs", str(options.epochs), "--batch-size", str(options.batch_size)]
        found[name] = measure(options.graph, [*size, *flags])
        say(f"{name}: {found[name]}")
    rows = [
        [name, show_bytes(m["planned_bytes"]), show_bytes(m["peak_bytes"]), m["epoch_seconds"], m["mrr"]]
        for name, m in found.items()
    ]
    print_table(["", "planned", "measured peak", "s an epoch", "test MRR"], rows)
    line = {**machine_line(), "graph": options.graph.name, "epochs": options.epochs}
    write_line("options", {**line, "batch_size": options.batch_size, "cases": found})


def measure(graph: Path, flags: list[str]) -> dict[str, Any]:
    """One training in a process of its own."""
    program = "from corollary.cli.main import main; main()"
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-c", program, "train", "conve", str(graph), "-o", str(run), *flags]
        subprocess.run(command, check=True, capture_output=True)
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
        memory = json.loads((run / "memory.json").read_text(encoding="utf-8"))
    return {
        "planned_bytes": memory["planned_bytes"],
        "peak_bytes": memory["peak_bytes"],
        "epoch_seconds": statistics.median(json.loads(line)["seconds"] for line in lines),
        "mrr": evaluation["figures"]["sides"]["both"]["realistic"]["mrr"],
    }


if __name__ == "__main__":
    main()
