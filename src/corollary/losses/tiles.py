"""What the losses do with a tile of scores, in place: compiled on the CPU, tensor code elsewhere."""

import torch
from jaxtyping import Float
from torch import Tensor

from corollary.kernels import exponentials


def exponential_sums(
    scores: Float[Tensor, "queries columns"], top: Float[Tensor, " queries"]
) -> Float[Tensor, " queries"]:
    """Row sums of exp(scores - top), with `top` at least the largest score. The tile is used up."""
    if scores.device.type != "cpu":
        return scores.sub_(top[:, None]).exp_().sum(1)
    sums = torch.empty_like(top)
    exponentials.exponential_sums(scores.numpy(), top.numpy(), sums.numpy())
    return sums


def softmax_(
    scores: Float[Tensor, "queries columns"],
    log_total: Float[Tensor, " queries"],
    factor: Float[Tensor, " queries"],
) -> Float[Tensor, "queries columns"]:
    """scores = factor * exp(scores - log_total)."""
    if scores.device.type != "cpu":
        return scores.sub_(log_total[:, None]).exp_().mul_(factor[:, None])
    exponentials.softmax(scores.numpy(), log_total.numpy(), factor.numpy())
    return scores


def sigmoid_(
    scores: Float[Tensor, "queries columns"],
    factor: Float[Tensor, " queries"],
    softplus_sums: Float[Tensor, " queries"],
) -> Float[Tensor, "queries columns"]:
    """Adds the row sums of softplus(scores) to `softplus_sums`; then scores = factor * sigmoid(scores)."""
    if scores.device.type != "cpu":
        softplus_sums += torch.nn.functional.softplus(scores, threshold=100.0).sum(1)
        return scores.sigmoid_().mul_(factor[:, None])
    exponentials.sigmoid(scores.numpy(), factor.numpy(), softplus_sums.numpy())
    return scores
