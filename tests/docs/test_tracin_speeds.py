"""The table of docs/tracin.md is made of lines of bench/results/tracin.jsonl."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAYS = ("autograd, one by one", "vmap(grad)", "Captum TracInCP")


def speed_row(line):
    """One line of bench/tracin.py as the page writes it."""
    graph, asked = f"{line['graph']}, {line['train']:,} x {line['asked']}", line["seconds"]
    ways = line.get("ways", {})
    ratios = [f"{ways[name]['ratio']:,.0f} x" if name in ways else "" for name in WAYS]
    index = f"{line['index']['seconds']:.1f} s" if "index" in line else ""
    return (
        f"| {graph} | {asked:,.1f} s | {line['growth'] / 2**20:,.0f} MiB | {' | '.join(ratios)} | {index} |"
    )


def test_speeds_are_those_of_the_bench():
    """Every row of the table is a line of bench/results/tracin.jsonl, and there is a row."""
    page = (ROOT / "docs" / "tracin.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [\w-]+, [\d,]+ x \d+ \|.*\|$", page, re.M)
    lines = (ROOT / "bench" / "results" / "tracin.jsonl").read_text().splitlines()
    made = {speed_row(json.loads(line)) for line in lines}
    assert rows
    assert set(rows) <= made
