"""How a taxonomy's nodes move: the compiled passes of `kernels`, behind the loop's `Steps`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from corollary.geometry.placement import depth_radii
from corollary.kernels.taxonomy import ball, hinge, rows, softmax
from corollary.learners.poincare import PairRange, Poincare
from corollary.learners.protocol import Files
from corollary.training.steps import Moved

_SAMPLE = 1 << 16  # pairs behind the mean weight of the hinge loss


class PoincareSteps:
    """Moves the nodes of a `Poincare` by compiled kernels, pair after pair.

    Memory: 24 bytes a node for negatives by degree; for the hinge loss 8 bytes a node, and 4 a pair in a taxonomy with
    several parents.
    """

    accumulation = 1
    loss_name = "loss"

    def __init__(self, learner: Poincare) -> None:
        self.learner = learner
        self.squares = learner.table[:, learner.width + rows.SQUARES]
        self.tallies = np.zeros(rows.NUM_TALLIES)
        self._refreshed = False
        config, taxonomy = learner.config, learner.taxonomy
        if config.loss == "hinge":
            self._descendants = taxonomy.descendants()
            self._targets = depth_radii(taxonomy, config.placement)
            numbers = np.linspace(0, taxonomy.num_pairs - 1, min(_SAMPLE, taxonomy.num_pairs)).astype(
                np.int64
            )
            self._mean_weight = hinge.mean_gap_weight(taxonomy.tree, numbers)
        else:
            self._weights = taxonomy.degree_weights(config.negatives.degree_power)
            self._quotas = config.negatives.quotas()

    def update(self, batches: Sequence[PairRange], *, lr: float, update: int) -> Moved:
        """Learn from the pairs of some ranges, one after the other."""
        if not self._refreshed:  # after placing, or after a checkpoint was put in
            if self.learner.config.coordinates == "free":
                rows.refresh(self.learner.table, self.learner.width)
            self._refreshed = True
        found = np.zeros(rows.NUM_TALLIES)
        for batch in batches:
            for thread in self._pass(batch, lr):
                found += thread
        self.tallies += found
        learnt = found[rows.PAIRS] - found[rows.WITHOUT_NEGATIVES]
        broken = found[rows.NOT_FINITE] > 0
        loss = math.nan if broken else found[rows.LOSS] / max(1.0, learnt)
        return Moved(sum(map(len, batches)), float(loss))

    def _pass(self, batch: PairRange, lr: float) -> Float[np.ndarray, "threads tallies"]:
        learner, config = self.learner, self.learner.config
        tree, place = learner.taxonomy.tree, (batch.first, batch.last, batch.key)
        adagrad, largest, threads = config.optimizer == "adagrad", config.largest_radius, config.threads
        if config.loss == "hinge":
            offsets, lists = self._descendants
            return hinge.hinge_pass(
                learner.table, learner.width, tree, offsets, lists, config.negatives.count, *place, lr, adagrad,
                config.margin, self._mean_weight, config.lambda_reg, self._targets, largest, threads,
            )  # fmt: skip
        if config.coordinates == "ball":
            return ball.ball_pass(
                learner.points, tree, self._weights, self._quotas, *place, lr, largest, threads
            )
        return softmax.softmax_pass(
            learner.table, learner.width, tree, self._weights, self._quotas, *place, lr, adagrad,
            config.smallest_share, largest, threads,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """What was cut so far: steps longer than 1, radii beyond the largest (while placing, and while learning); and
        pairs that had no negative."""
        names = {
            "cut_steps": rows.CUT_STEPS,
            "cut_radii": rows.CUT_RADII,
            "pairs_without_negatives": rows.WITHOUT_NEGATIVES,
        }
        found = {name: int(self.tallies[at]) for name, at in names.items()}
        return {"cut_at_start": self.learner.cut_at_start, **found}

    def files(self) -> Files:
        """The sums of squares."""
        yield "optimizer.safetensors", {"squares": torch.from_numpy(self.squares)}

    def record(self) -> dict[str, Any]:
        return {"tallies": self.tallies.tolist()}

    def recall(self, record: Mapping[str, Any]) -> None:
        """Go on counting; the state of rows is made anew from their vectors."""
        if "tallies" in record:
            self.tallies[:] = record["tallies"]
        self._refreshed = False
