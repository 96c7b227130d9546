"""Sampled losses and the row-wise optimisers, the obvious way: one query, one entity, one row after the other."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.losses.labels import Labels


def losses(
    kind: str,
    scores: Float[Tensor, "queries candidates"],
    counts: Float[Tensor, "queries candidates"],
    offsets: Int[Tensor, " bounds"],
    answers: Int[Tensor, " answers"],
    labels: Labels,
) -> Float[Tensor, " queries"]:
    """Candidate j stands for counts[i, j] entities where query i is concerned; the answers are places among them."""
    found = []
    for query, (z, n) in enumerate(zip(scores, counts, strict=True)):
        own = answers[offsets[query] : offsets[query + 1]]
        if not len(own):
            found.append(0 * z.sum())
            continue
        true = torch.zeros_like(z)
        true[own] = 1
        kept = n > 0
        if kind == "cross_entropy":
            label = labels.positive * true / len(own) + labels.every * n
            log_total = (n[kept] * z[kept].exp()).sum().log()
            found.append((label * (log_total - z)).sum())
        else:
            label = labels.positive * true + labels.every
            each = torch.nn.functional.binary_cross_entropy_with_logits(z, label, reduction="none")
            found.append((n * each).sum())
    return torch.stack(found)


def rowwise_adagrad(
    weight: Float[Tensor, "rows dim"],
    gradients: Float[Tensor, "steps rows dim"],
    *,
    lr: float,
    eps: float,
    decay: float = 0.0,
) -> Float[Tensor, "rows dim"]:
    """Where it takes the rows; a row whose gradient is zero stays where it is."""
    weight = weight.clone()
    for row in range(len(weight)):
        squares = 0.0
        for gradient in gradients[:, row]:
            if not gradient.any():
                continue
            gradient = gradient + decay * weight[row]
            squares += float((gradient**2).sum()) / len(gradient)
            weight[row] -= lr * gradient / (squares**0.5 + eps)
    return weight
