"""Draws docs/growth.svg from the last `growth` line of results/steps.jsonl: step time and memory against entities."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "corollary", "svg.fonttype": "none", "font.size": 11})

from matplotlib.figure import Figure  # noqa: E402

from corollary.budget import GIB  # noqa: E402

HERE = Path(__file__).parent
STYLES = {"fp32": ("#0072b2", "o"), "bf16": ("#d55e00", "s"), "on disk": ("#009e73", "^")}


def main() -> None:
    """Two panels over the number of entities."""
    lines = (HERE / "results" / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines if json.loads(line)["what"] == "growth"][-1]["cases"]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for way, (colour, marker) in STYLES.items():
        chosen = {int(name.split()[0].replace(",", "")): m for name, m in cases.items() if name.endswith(way)}
        entities = sorted(chosen)
        name = {"on disk": "bf16, table on disk"}.get(way, way)
        left.plot(entities, [chosen[n]["p50"] for n in entities], color=colour, marker=marker, label=name)
        peaks = [chosen[n]["peak"] / GIB for n in entities]
        right.plot(entities, peaks, color=colour, marker=marker, label=name)
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    right.set_ylim(bottom=0)
    for axes, title in ((left, "seconds a step"), (right, "peak resident memory, GiB")):
        axes.set(xscale="log", xlabel="entities", title=title)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(HERE.parent / "docs" / "growth.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
