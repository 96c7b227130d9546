"""What the figures of a run are to be read beside: four metrics that hold no secret.

untrained   the placement that training began with
random      random directions, with radii by depth
euclidean   the same pairs and negatives with straight distances in as many dimensions, tuned
tree        the number of links in the spanning tree
"""

import numpy as np
from jaxtyping import Float

from corollary.evaluation.reconstruction import Space, reconstruct, sample_rows
from corollary.evaluation.taxonomy_metrics import Euclidean, Hyperbolic, Metric, TreeMetric
from corollary.geometry.placement import depth_start, place
from corollary.graph.taxonomy import Taxonomy
from corollary.kernels.taxonomy.euclidean import euclidean_pass
from corollary.learners.poincare import TaxonomyNegatives
from corollary.messages import Say, silent
from corollary.randomness import generator, philox
from corollary.runs.poincare.kind import Embedded, PoincareRunConfig

CONTROLS = ("untrained", "random", "euclidean", "tree")
EUCLIDEAN_RATES = (0.2, 0.8, 3.2)
_MOST_EPOCHS, _BETTER, _PAIRS_TO_CHOOSE = 20, 1.01, 300_000


def metric_of(embedded: Embedded, name: str, say: Say) -> Metric:
    """The run or a control, over the rows of the taxonomy that was trained on (the tree: of the whole)."""
    options, taxonomy = embedded.options, embedded.taxonomy
    model = options.model
    if name == "run":
        return Hyperbolic(embedded.points)
    if name == "untrained":
        return Hyperbolic(place(taxonomy, model.dim, model.placement, seed=options.seed).points)
    if name == "random":
        return Hyperbolic(depth_start(taxonomy, model.dim, model.placement, seed=options.seed))
    if name == "tree":
        return TreeMetric(embedded.full)
    return Euclidean(tuned_euclidean(options, taxonomy, say=say))


class EuclideanTraining:
    """Straight distances, trained from a small random start with the run's pairs."""

    def __init__(
        self, options: PoincareRunConfig, taxonomy: Taxonomy, negatives: TaxonomyNegatives, rate: float
    ) -> None:
        model = options.model
        self.options, self.rate, self.epoch = options, rate, 0
        self.taxonomy = taxonomy.repeating(model.off_chain)
        self.points = 0.01 * generator(options.seed, "euclidean").standard_normal((len(taxonomy), model.dim))
        self.squares = np.zeros(len(taxonomy))
        self.weights, self.quotas = taxonomy.degree_weights(negatives.degree_power), negatives.quotas()
        self.rows = sample_rows(taxonomy, options.evaluation.sample)

    def train(self, most: int | None = None) -> float:
        """One more epoch, or its first pairs; MAP on the fixed sample of nodes."""
        model, tree = self.options.model, self.taxonomy.tree
        key = np.uint64(philox(self.options.seed, "euclidean pairs", self.epoch).random_raw())
        count = int(tree.pair_offsets[-1]) + len(tree.extra_pairs)
        euclidean_pass(
            self.points, self.squares, tree, self.weights, self.quotas,
            0, min(count, most or count), key, self.rate, model.smallest_share, model.threads,
        )  # fmt: skip
        self.epoch += 1
        return reconstruct(Space.euclidean(self.points), self.taxonomy, self.rows).map


def tuned_euclidean(
    options: PoincareRunConfig, taxonomy: Taxonomy, *, say: Say = silent
) -> Float[np.ndarray, "nodes dim"]:
    """The best of three rates with the run's negatives and with uniform ones, trained on until MAP no longer rises.

    The choice is made after at most 300,000 pairs; at most 20 epochs are trained.
    """
    own = options.model.negatives
    uniform = TaxonomyNegatives(count=own.count, degree=0, structural=0)
    best, points, chosen = -1.0, np.empty((0, 0)), None
    for negatives in dict.fromkeys([own, uniform]):
        for rate in EUCLIDEAN_RATES:
            training = EuclideanTraining(options, taxonomy, negatives, rate)
            found = training.train(_PAIRS_TO_CHOOSE)
            if found > best:
                best, points, chosen = found, training.points.copy(), training
    assert chosen is not None
    while chosen.epoch < _MOST_EPOCHS:
        found = chosen.train()
        if found < best * _BETTER:
            break
        points, best = chosen.points.copy(), found
    say(f"euclidean control: rate {chosen.rate:g}, {chosen.epoch} epochs, MAP {best:.4f} on the sample")
    return points
