"""Losses of single examples in evaluation mode: each query with one answer, dropout off."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.explain.encoding import Frozen
from corollary.explain.factors import rows_of
from corollary.losses import tiles
from corollary.losses.workspace import Workspace


@torch.no_grad()
def example_losses(
    frozen: Frozen, q: Float[Tensor, "queries dim"], answers: Int[Tensor, " queries"], workspace: Workspace
) -> Float[Tensor, " queries"]:
    """The loss that training counts for an example with this one answer.

    Args:
        q: outputs of the encoder.

    Memory: one tile of queries x block of entities.
    """
    table, labels = frozen.entities, frozen.learner.labels
    entropy = frozen.config.loss == "cross_entropy"
    own, sums, top, total = (q.new_zeros(len(q)) for _ in range(4))
    top.fill_(-torch.inf)
    ones = torch.ones_like(total)
    for rows in table.block_slices():
        weight, bias = table.block(rows)
        scores = workspace.product(q, weight.T, workspace.take("scores", q, len(q), len(weight)), add=bias)
        sums += scores.sum(1)
        if entropy:
            higher = torch.maximum(top, scores.amax(1))
            total.mul_((top - higher).exp()).add_(tiles.exponential_sums(scores, higher))
            top = higher
        else:
            tiles.sigmoid_(scores, ones, total)
    own += torch.linalg.vecdot(q, rows_of(frozen, answers))
    if "bias" in table.parts:
        own += table.storage.gather(table.parts["bias"], answers)
    whole = frozen.mass * (top + total.log()) if entropy else total
    found = whole - labels.positive * own - labels.every * sums
    mean = not entropy and frozen.config.reduction == "mean"
    return found / table.num_rows if mean else found
