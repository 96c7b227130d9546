"""The table of unseen relations in docs/drum.md is that of the newest results of the bench."""

import json
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "drum.md").read_text(encoding="utf-8")
LINES = [
    json.loads(line)
    for line in (ROOT / "bench" / "results" / "unseen_relations.jsonl").read_text().splitlines()
]
WAYS = ("generated", "adapted", "copy", "popular", "rules", "scratch")


def cell(lines, name):
    """MRR / hits@10 of one way and number of facts, mean of the seeds."""
    if name not in lines[0]["found"]:
        return "-"
    mrr, hits = (statistics.fmean(line["found"][name][what] for line in lines) for what in ("mrr", "hits@10"))
    return f"{mrr:.3f} / {hits:.3f}"


def rows(data):
    """The rows of one data set: a way, then no, one and five facts."""
    lines = [line for line in LINES if line["data"] == data]
    draws = len({line["seed"] for line in lines})
    assert draws == len(lines)
    return [
        f"| {data}, {draws} draw{'s' * (draws > 1)} | {way} | "
        + " | ".join(cell(lines, f"{way}, {known} facts") for known in (0, 1, 5))
        + " |"
        for way in WAYS
    ]


@pytest.mark.parametrize("data", sorted({line["data"] for line in LINES}))
def test_figures_of_unseen_relations_are_those_of_the_bench(data):
    """Every way, and how many draws of relations."""
    for row in rows(data):
        assert row in PAGE
