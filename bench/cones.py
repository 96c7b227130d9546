"""How well does the embedding say "is a" on the published split of the entailment-cones work?

`python bench/cones.py` reads `taxonomy/cones-split` below COROLLARY_DATA. It embeds the given edges alone (basic ones, and
10 % or 25 % of the others; never their closure) in 10 dimensions and scores the test edges, ten wrong ones to each, by
distance to the ancestor less distance to the centre; the threshold is tuned on the validation edges. Beside it the
untrained placement and a random start. Placement sees the tree of the given edges; the rule that ancestors of ancestors
are ancestors would score 100 %. Published for 10 dimensions: cones 85.9 and 91.0, Poincaré in 5 70.2 and 78.2.
Prints a table, appends one line to results/cones.jsonl.
"""

import argparse
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np

from corollary.cli.output import print_table
from corollary.evaluation.taxonomy_analysis import is_a_f1
from corollary.graph.taxonomy import Taxonomy
from corollary.learners.poincare import Poincare, PoincareConfig
from corollary.training.poincare_steps import PoincareSteps
from record import machine_line, write_line

MODEL: dict[str, Any] = {"dim": 10, "closed": False, "off_chain": 1}
SMALL_CAPS = {"placement": {"spread": 0.0003, "largest_radius": 36.0}}
RANDOM = {"placement": {"name": "random"}, "negatives": {"degree": 0.0, "structural": 0.0}}


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    folder = Path(os.environ["COROLLARY_DATA"]) / "taxonomy" / "cones-split"
    rows, cases = [], {}
    for share in (0, 10, 25):
        given = edges(folder, f"train_{share}percent")
        taxonomy = Taxonomy.build(given[:, 1], given[:, 0], closed=False)
        parts = [
            taxonomy.rows[edges(folder, name)[:, ::-1]].astype(np.int64)
            for name in ("test", "test_neg", "valid", "valid_neg")
        ]
        for name, model, epochs, lr in (
            ("placed and trained", SMALL_CAPS, 1, 0.05),
            ("placed", SMALL_CAPS, 0, 0.05),
            ("random start", RANDOM, 10, 0.3),
        ):
            found = [
                is_a_f1(trained(taxonomy, {**MODEL, **model}, epochs, lr, seed), *parts)["f1"]
                for seed in options.seeds
            ]
            cases[f"{share} % {name}"] = found
            rows.append(
                [f"{share} % of the other edges, {name}", float(np.mean(found)), min(found), max(found)]
            )
    print_table(["edges", "mean test F1", "lowest", "highest"], rows)
    write_line("cones", {**machine_line(), "seeds": options.seeds, "cases": cases})


def edges(folder: Path, name: str) -> np.ndarray:
    """Parent and child by number."""
    with gzip.open(folder / f"noun.{name}.tsv.gz", "rt") as file:
        return np.loadtxt(file, dtype=np.int64)


def trained(taxonomy: Taxonomy, model: dict[str, Any], epochs: int, lr: float, seed: int) -> np.ndarray:
    """Places of all nodes."""
    learner = Poincare(PoincareConfig.build(model), taxonomy, seed=seed)
    steps = PoincareSteps(learner)
    for epoch in range(epochs):
        for batch in learner.batches(None, seed=seed, epoch=epoch):  # type: ignore[arg-type]
            steps.update([batch], lr=lr, update=1)
    return learner.embeddings


if __name__ == "__main__":
    main()
