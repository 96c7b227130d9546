"""Scores of answers from embeddings, and the loss of what a step asks.

score(e, r, a) = (z_e * w_r + u_r) . z_a + p_r log(1 + n_ra): w_r of the relation, u_r and p_r of the directed relation
(how often an entity like a answers it, and how often a itself does: n_ra, counted in the messages). The loss of an edge is that of a softmax over its true answer and all candidates that train does not
know to be true. Source: Yang et al. 2015 (DistMult) for the product; Jean et al. 2015 for sampled softmax.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import softplus

from corollary.learners.hgt.questions import Question
from corollary.learners.layers import normal

SCORES = 1 << 22
"""Scores at hand at once, in the loss: 16 MiB in float32, and as many gradients."""


class Decoder(nn.Module):
    """Weights: a vector for every relation, with `bias` one and with `popularity` a number for every directed one."""

    def __init__(self, relations: int, dim: int, seed: int, *, bias: bool, popularity: bool) -> None:
        super().__init__()
        self.relations = relations
        self.product = nn.Parameter(1 + normal(seed, "decoder", relations, dim, std=0.1))
        self.answering = nn.Parameter(torch.zeros(2 * relations, dim)) if bias else None
        self.popularity = nn.Parameter(torch.full((2 * relations,), 0.5)) if popularity else None

    def query(self, z: Float[Tensor, "n dim"], relation: Int[Tensor, " n"] | int) -> Float[Tensor, "n dim"]:
        """What an answer's embedding is multiplied with; the relation is directed."""
        made = z * self.product[relation % self.relations]
        return made if self.answering is None else made + self.answering[relation]

    def counted(self, relation: int, times: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """What popularity adds to scores of entities that answer so many times."""
        if self.popularity is None:
            return torch.zeros_like(times)
        return self.popularity[relation] * times.to(self.popularity.dtype).log1p()

    def loss(
        self,
        question: Question,
        z: Float[Tensor, "rows dim"],
        gradient: Float[Tensor, "rows dim"] | None,
        *,
        share: float = 1.0,
    ) -> Float[Tensor, ""]:
        """Mean loss of a question's edges times its weight and `share`; gradients are made on the way.

        Args:
            gradient: of z, added to; None where none is wanted.

        Memory: a few times `SCORES` numbers, and the rows that the question names.
        """
        step = max(1, SCORES // max(1, len(question.candidates)))
        total, scale = z.new_zeros(()), question.weight * share / max(1, len(question.answers))
        candidates = _leaf(z, question.candidates, gradient)
        order = question.asked_by.argsort(stable=True)
        sorted_by = question.asked_by[order]
        for first in range(0, len(question.asking), step):
            last = min(first + step, len(question.asking))
            bounds = torch.searchsorted(sorted_by, torch.tensor([first, last], device=z.device)).tolist()
            edges = order[bounds[0] : bounds[1]]
            with torch.set_grad_enabled(gradient is not None):
                asking = _leaf(z, question.asking[first:last], gradient)
                answers = _leaf(z, question.answers[edges], gradient)
                query = self.query(asking, question.relation)
                scores = query @ candidates.T + question.log_weights.to(z.dtype)
                scores = scores + self.counted(question.relation, question.times[1])
                inside = (question.known[0] >= first) & (question.known[0] < last)
                known = question.known[:, inside]
                scores[known[0] - first, known[1]] = -torch.inf
                others = _log_sum(scores)
                place = question.asked_by[edges] - first
                true = (query[place] * answers).sum(1)
                true = true + self.counted(question.relation, question.times[0][edges])
                loss = softplus(others[place] - true).sum() * scale
            if gradient is not None:
                loss.backward()
                for rows, leaf in ((question.asking[first:last], asking), (question.answers[edges], answers)):
                    assert leaf.grad is not None
                    gradient.index_add_(0, rows, leaf.grad)
            total += loss.detach()
        if gradient is not None and candidates.grad is not None:
            gradient.index_add_(0, question.candidates, candidates.grad)
        return total


def _leaf(z: Tensor, rows: Tensor, gradient: Tensor | None) -> Tensor:
    """Copies of rows whose gradient is made."""
    return z.index_select(0, rows).requires_grad_(gradient is not None)


def _log_sum(scores: Float[Tensor, "queries candidates"]) -> Float[Tensor, " queries"]:
    """log-sum-exp of each row; a query whose candidates are all known competes with nothing, and learns nothing."""
    nothing = torch.isneginf(scores).all(1, keepdim=True)
    safe = torch.where(nothing, torch.zeros_like(scores), scores)
    return torch.where(nothing[:, 0], torch.full_like(scores[:, 0], -1e4), safe.logsumexp(1))
