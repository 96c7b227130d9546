"""How much memory and time does the whole NCBI taxonomy take: 2.6 million taxa, 47 million ancestor pairs?

`python bench/taxonomy_scale.py` reads `taxonomy/ncbi-full.npz` below COROLLARY_DATA, writes it as a table, imports it and
trains 3 epochs of the implicit closure in 10 dimensions, each in a process of its own under --memory-limit. Prints peaks
and seconds, appends one line to results/taxonomy_scale.jsonl.
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

import numpy as np

from corollary.budget import show_bytes
from corollary.cli.output import print_table
from record import machine_line, write_line

PROGRAM = """
import json, sys
from corollary.budget import peak_bytes
from corollary.cli.main import app
try:
    app(args=sys.argv[2:], standalone_mode=True)
except SystemExit as ending:
    code = ending.code
open(sys.argv[1], "w").write(json.dumps({"code": code, "peak_bytes": peak_bytes()}))
"""


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", default="2GiB")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--negatives", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(Path(os.environ["COROLLARY_DATA"]) / "taxonomy" / "ncbi-full.npz", folder / "ncbi.tsv")
        graph, run = folder / "graph", folder / "run"
        imported = measured(
            folder,
            "graph",
            "import",
            "--taxonomy",
            folder / "ncbi.tsv",
            "-o",
            graph,
            "--memory-limit",
            options.limit,
        )
        trained = measured(
            folder, "train", "poincare", graph, "-o", run, "--epochs", options.epochs, "--n-negatives", options.negatives,
            "--threads", options.threads, "--set", "model.placement.largest_radius=29.5", "--set",
            "model.placement.spread=0.01", "--lr", "0.05", "--memory-limit", options.limit,
        )  # fmt: skip
        lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
        plan = json.loads((run / "config.json").read_text())["plan"]
    rows = [
        ["import", imported["seconds"], show_bytes(imported["peak_bytes"])],
        [f"training, {options.epochs} epochs", trained["seconds"], show_bytes(trained["peak_bytes"])],
        *(
            [f"epoch {line['epoch']}", line["seconds"], f"MAP {line['valid']['map']:.3f} on the sample"]
            for line in lines
        ),
    ]
    print_table(["what", "s", "peak"], rows)
    write_line(
        "taxonomy_scale",
        {
            **machine_line(), "limit": options.limit, "negatives": options.negatives, "threads": options.threads,
            "load": os.getloadavg()[0], "import": imported, "training": trained,
            "planned_bytes": sum(plan["parts"].values()), "epoch_seconds": [line["seconds"] for line in lines],
            "valid": lines[-1]["valid"],
        },
    )  # fmt: skip


def write_table(source: Path, path: Path) -> None:
    """Child, parent and rank of every taxon."""
    with np.load(source) as arrays:
        names = arrays["rank_names"]
        columns = arrays["taxid"].tolist(), arrays["parent"].tolist(), names[arrays["rank"]].tolist()
    with path.open("w", encoding="utf-8") as file:
        file.write("child\tparent\trank\n")
        file.writelines(f"{child}\t{parent}\t{rank}\n" for child, parent, rank in zip(*columns, strict=True))


def measured(folder: Path, *words: Any) -> dict[str, Any]:
    """One command in a process of its own: seconds and peak of resident memory."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", PROGRAM, folder / "peak.json", *words]
    subprocess.run([str(word) for word in command], check=True)
    found = json.loads((folder / "peak.json").read_text())
    assert found["code"] in (0, None), found
    return {"seconds": round(time.perf_counter() - begun, 1), "peak_bytes": found["peak_bytes"]}


if __name__ == "__main__":
    main()
