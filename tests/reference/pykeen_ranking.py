"""PyKEEN's own evaluator over given scores; needs PyKEEN, so it is imported only where that is there."""

from collections.abc import Callable

import numpy as np
import torch
from pykeen.evaluation import RankBasedEvaluator
from pykeen.models.mocks import FixedModel
from pykeen.triples.triples_factory import KGInfo

Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Entity ids and directed relation ids of some queries to their scores for every entity."""


class GivenScores(FixedModel):
    """A PyKEEN model that looks its scores up."""

    def __init__(self, scores: Scores, num_entities: int, num_relations: int) -> None:
        super().__init__(
            triples_factory=KGInfo(num_entities, num_relations, create_inverse_triples=False), random_seed=0
        )
        self._scores = scores

    def score_t(self, hr_batch, tails=None, **_):
        """Scores of every tail."""
        assert tails is None
        return torch.from_numpy(self._scores(hr_batch[:, 0].numpy(), hr_batch[:, 1].numpy()))

    def score_h(self, rt_batch, heads=None, **_):
        """Scores of every head: directed relation r + R."""
        assert heads is None
        return torch.from_numpy(
            self._scores(rt_batch[:, 1].numpy(), rt_batch[:, 0].numpy() + self.num_relations)
        )


class PreciseEvaluator(RankBasedEvaluator):
    """PyKEEN's ranks and figures, averaged in float64: it keeps realistic ranks in float32, which costs 1e-6."""

    def process_scores_(self, *arguments, **options):
        """As PyKEEN does it, then wider."""
        super().process_scores_(*arguments, **options)
        for parts in self.ranks.values():
            parts[-1] = parts[-1].astype(np.float64)


def evaluate(model, triples, filter_triples, *, batch_size=32):
    """PyKEEN's figures of a model on `triples`, filtered by these and `filter_triples`."""
    return PreciseEvaluator(filtered=True).evaluate(
        model=model,
        mapped_triples=torch.from_numpy(np.asarray(triples, np.int64)),
        additional_filter_triples=torch.from_numpy(np.asarray(filter_triples, np.int64)),
        batch_size=batch_size,
        use_tqdm=False,
    )


def differences(result, figures, ks):
    """By name, how far PyKEEN's figures are from ours: every side and way with ties.

    Args:
        figures: the `Figures` of an evaluation.
    """
    found = {}
    for side, by_ties in figures.sides.items():
        for ties, metrics in by_ties.items():
            names = {"mrr": "inverse_harmonic_mean_rank", "mean_rank": "arithmetic_mean_rank"}
            names |= {f"hits@{k}": f"hits_at_{k}" for k in ks}
            if ties == "realistic":  # PyKEEN's expectation is defined for this one alone
                names["adjusted_mean_rank_index"] = "adjusted_arithmetic_mean_rank_index"
            for name, theirs in names.items():
                value = result.get_metric(f"{side}.{ties}.{theirs}")
                found[f"{side}.{ties}.{name}"] = abs(value - metrics.value(name))
    return found
