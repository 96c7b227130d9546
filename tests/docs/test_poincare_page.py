"""Speeds in docs/poincare.md are those of the newest results of the benches."""

import json
from pathlib import Path
from typing import Any

from corollary.budget import parse_bytes

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs" / "poincare.md").read_text(encoding="utf-8").split())


def newest(bench: str) -> dict[str, Any]:
    """The last line of its results."""
    return json.loads((ROOT / "bench" / "results" / f"{bench}.jsonl").read_text().splitlines()[-1])


def test_speeds_are_those_of_the_bench():
    """bench/poincare.py: an epoch of the cut, pairs a second beside gensim's, exact ranks."""
    found = newest("poincare")
    uniform, default = (
        [found[f"epoch_{name}_{threads}"] for threads in (1, 2)] for name in ("uniform", "default")
    )
    gensim = f"gensim {found['gensim']} {found['gensim_positives_a_second']:,.0f} ({found['ratio']:.0f} times fewer)"
    for shown in (
        f"{uniform[0]:.1f} s on one thread, {uniform[1]:.1f} s on two",
        f"with the default negatives {default[0]:.1f} s and {default[1]:.1f} s",
        f"{found['positives_a_second']:,.0f} pairs a second on one thread, {gensim}",
        f"ancestors {found['evaluation of all nouns']:.1f} s on two threads",
        f"of a sample of 1,000 nodes {found['evaluation of sample of 1,000']:.1f} s",
        f"score MAP {found['gensim_map']:.3f} here",
    ):
        assert shown in PAGE


def test_scale_is_that_of_the_bench():
    """bench/taxonomy_scale.py: seconds, plan, peaks and figures of the whole NCBI taxonomy, and peaks below the limit."""
    found = newest("taxonomy_scale")
    imported, trained, valid = found["import"], found["training"], found["valid"]
    first, second, third = (f"{seconds:.0f}" for seconds in found["epoch_seconds"])
    for shown in (
        f"under `--memory-limit {found['limit']}`",
        f"one thread, {found['negatives']} negatives",
        f"import {imported['seconds']:.0f} s with a peak of {imported['peak_bytes'] / 2**30:.2f} GiB",
        f"three epochs of {first}, {second} and {third} s, planned {found['planned_bytes'] / 2**30:.2f} GiB, "
        f"peak {trained['peak_bytes'] / 2**30:.2f} GiB; {trained['seconds']:.0f} s in all",
        f"MAP {valid['map']:.3f}, mean rank {valid['mean_rank']:.2f}",
    ):
        assert shown in PAGE
    assert found["threads"] == 1
    assert max(imported["peak_bytes"], trained["peak_bytes"]) < parse_bytes(found["limit"])


def test_neighbours_of_withheld_leaves_are_those_of_the_recipe():
    """Phylum, class and order of the NCBI cut: run and placement are always right, the other controls as shown."""
    path = ROOT / "recipes" / "results" / "ncbi-cut-held-out-poincare" / "seed-0" / "taxonomy.json"
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    found = {name: list(one["neighbour_accuracy_withheld"].values()) for name, one in figures.items()}
    assert found["run"] == found["untrained"] == [1.0, 1.0, 1.0]
    for name, shown in (("euclidean", "Euclidean"), ("random", "random directions")):
        first, second, third = (f"{share:.3f}" for share in found[name])
        assert f"{shown} {first}, {second} and {third}" in PAGE
