"""The epoch on FB15k-237 in docs/drum.md is that of the newest result of bench/drum_epoch.py."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs" / "drum.md").read_text(encoding="utf-8").split())


def test_epoch_of_a_large_graph_is_that_of_the_bench():
    """Steps, seconds, memory, figures of the model and of its counted rules, and the options of the extraction."""
    lines = (ROOT / "bench" / "results" / "drum_epoch.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads(lines[-1])
    planned, peak = (found[name] / 2**20 for name in ("planned_bytes", "peak_bytes"))
    assert (found["graph"], found["epochs"], found["model"]["rule_length"], found["threads"]) == (
        "fb15k-237",
        1,
        3,
        2,
    )
    for shown in (
        f"{found['steps']:,} steps in {found['epoch_seconds']:.0f} s on two cores",
        f"planned {planned:.0f} MiB, peak of the whole run {peak:.0f} MiB",
        f"MRR {found['mrr']:.4f}, hits@1 {found['hits@1']:.3f}, hits@10 {found['hits@10']:.3f}",
        f"MRR with ties optimistic {found['mrr optimistic']:.4f}",
        f"walks reach {100 * found['reached']:.1f} % of the answers",
        f"Its {found['rules']:,} counted rules: MRR {found['rules mrr']:.4f}, hits@10 {found['rules hits@10']:.3f}",
        *(f"`extracting.{name}={found['extracting'][name]}`" for name in ("facts", "walks", "candidates")),
    ):
        assert shown in PAGE
