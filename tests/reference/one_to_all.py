"""The losses of a query against every entity, the obvious way: dense labels, dense scores."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.losses.labels import Labels


def dense_labels(
    offsets: Int[Tensor, " bounds"], answers: Int[Tensor, " answers"], num_entities: int
) -> Float[Tensor, "queries entities"]:
    """1 where the entity is an answer of the query."""
    labels = torch.zeros(len(offsets) - 1, num_entities, dtype=torch.float64)
    for query in range(len(labels)):
        labels[query, answers[offsets[query] : offsets[query + 1]]] = 1
    return labels


def cross_entropy(
    scores: Float[Tensor, "queries entities"], y: Float[Tensor, "queries entities"], labels: Labels
) -> Float[Tensor, " queries"]:
    """Softmax cross-entropy; answers share `labels.positive`; rows without answers count nothing."""
    target = labels.positive * y / y.sum(1, keepdim=True).clamp(min=1) + labels.every
    return (y.sum(1) > 0) * -(target * scores.log_softmax(1)).sum(1)


def binary_cross_entropy(
    scores: Float[Tensor, "queries entities"], y: Float[Tensor, "queries entities"], labels: Labels
) -> Float[Tensor, " queries"]:
    """One sigmoid per entity, summed; rows without answers count nothing."""
    target = labels.positive * y + labels.every
    each = torch.nn.functional.binary_cross_entropy_with_logits(scores, target, reduction="none")
    return (y.sum(1) > 0) * each.sum(1)
