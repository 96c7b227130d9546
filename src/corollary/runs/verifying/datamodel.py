"""The linear-datamodelling score of influence: does the sum over half of the training triples foretell the retrained model?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.explain.datamodelling import agreement, ceiling
from corollary.graph.answers import Side
from corollary.randomness import generator
from corollary.runs.verifying.results import Datamodel, DatamodelRow
from corollary.runs.verifying.retraining import Retraining
from corollary.runs.verifying.scores import SHARED, Blocks


class DatamodelStudy:
    """Asks for models of random halves when it is made; says afterwards how well each score foretold them."""

    def __init__(
        self,
        retraining: Retraining,
        targets: Int[np.ndarray, "targets 3"],
        sides: tuple[Side, ...],
        *,
        subsets: int,
        seeds: Sequence[int],
        draw: int,
    ) -> None:
        """Write the graphs that have to be trained on.

        Args:
            seeds: of the retrainings of every subset.
            draw: seed of the subsets.
        """
        self.retraining, self.targets, self.sides = retraining, targets, sides
        train = np.asarray(retraining.run.graph.triples("train"))
        self.inside = np.zeros((subsets, len(train)), dtype=bool)
        for number in range(subsets):
            rows = generator(draw, "half", number).permutation(len(train))[: len(train) // 2]
            self.inside[number, rows] = True
        self.units = [retraining.add(train[inside], seeds) for inside in self.inside]

    def result(self, scored: dict[str, Blocks]) -> Datamodel:
        """From the trained models.

        Args:
            scored: by name; `shared` is what the others are compared with.

        Memory: one number a subset and triple, and a block of scores.
        """
        losses = np.array(
            [
                [self.retraining.outcome(unit, self.targets, self.sides).losses.sum(0) for unit in units]
                for units in self.units
            ]
        )
        outcomes = -losses.transpose(1, 2, 0)
        found = {
            name: agreement(_sums(blocks, self.inside, len(self.targets)), outcomes.mean(0))
            for name, blocks in scored.items()
        }
        return Datamodel(
            subsets=len(self.inside),
            retrainings=len(outcomes),
            ceiling=ceiling(outcomes),
            rows=[
                DatamodelRow(
                    name,
                    one.score,
                    None if name == SHARED or SHARED not in found else one.less(found[SHARED]),
                )
                for name, one in found.items()
            ],
        )


def _sums(
    blocks: Blocks, inside: Bool[np.ndarray, "subsets train"], num_targets: int
) -> Float[np.ndarray, "targets subsets"]:
    """The sum of each target's scores over the triples of each subset."""
    total = np.zeros((num_targets, len(inside)))
    for rows, scores in blocks():
        total += scores.T @ inside[:, rows].T
    return total
