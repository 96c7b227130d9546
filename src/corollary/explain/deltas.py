"""How the loss of one triple pulls at the scores of all entities, without a vector of all entities.

The gradient of an example's loss by its query's scores is `alpha * p + sparse`: p, the same for all examples of a query,
is what the loss gives every entity (softmax or sigmoid, less the smoothed label of every entity), and `sparse` are a few
entries at true answers. What alpha and the entries are depends on what is meant by taking the triple away:

- `example`: the triple's own 1-vs-all example is left out, its positive with all its negatives.
- `label`: the triple is taken from the labels of its query's row, whose other answers stay (kvsall): the row's loss with
  it minus the row's loss without it, at the same weights.

For 1vsall, and for kvsall with cross-entropy and weight `triple`, whose row is a sum of such examples, both are the same.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.learners.conve_config import ConvEConfig
from corollary.losses.labels import Labels

Deletion = Literal["example", "label"]


@dataclass(frozen=True)
class Deltas:
    """alpha * p + entries, for some examples: the entries of example i are `offsets[i]` to `offsets[i + 1]`."""

    alpha: Float[Tensor, " examples"]
    offsets: Int[Tensor, " bounds"]
    ids: Int[Tensor, " entries"]
    values: Float[Tensor, " entries"]

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def example(self) -> Int[Tensor, " entries"]:
        """The example that each entry belongs to."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.ids.device), self.offsets.diff())

    def sums(self, rows: Float[Tensor, "entries width"]) -> Float[Tensor, "examples width"]:
        """For each example the sum over its entries of value times row."""
        out = rows.new_zeros(len(self), rows.shape[1])
        return out.index_add_(0, self.example, rows * self.values[:, None])


def of_examples(
    config: ConvEConfig, labels: Labels, answers: Int[Tensor, " examples"], *, like: Tensor, num_entities: int
) -> Deltas:
    """Deltas of 1-vs-all examples: the query's loss with this one answer."""
    ones = torch.ones(len(answers)).to(like)
    offsets = torch.arange(len(answers) + 1, device=answers.device)
    factor = _factor(config, num_entities)
    return Deltas(ones * factor, offsets, answers, ones * (-labels.positive * factor))


def of_labels(
    config: ConvEConfig,
    labels: Labels,
    of: Int[Tensor, " examples"],
    answers: Int[Tensor, " examples"],
    offsets: Int[Tensor, " bounds"],
    row: Int[Tensor, " row_entries"],
    *,
    like: Tensor,
    num_entities: int,
) -> Deltas:
    """Deltas of answers within the rows of their queries.

    Args:
        of: query of each example.
        offsets: the known answers of query i, the examples' own among them, are `row[offsets[i]:offsets[i + 1]]`.

    Memory: where answers of a row weigh on each other (binary cross-entropy by triple, cross-entropy by query) as many
    entries an example as its row has answers, else one.
    """
    additive = config.loss == "cross_entropy" and config.weight == "triple"
    if config.examples == "1vsall" or additive:
        return of_examples(config, labels, answers, like=like, num_entities=num_entities)
    counts = offsets.diff()[of]
    count, positive = counts.to(like), labels.positive
    ones = torch.ones_like(count)
    if config.loss == "cross_entropy":  # a mean over the answers: without one of them the others count more
        more = (count - 1).clamp(min=1)
        alone = count == 1
        alpha = alone.to(like)
        own = torch.where(alone, -positive * ones, -positive / more)
        shared = torch.where(alone, 0 * ones, positive * (1 / more - 1 / count))
    elif config.weight == "triple":  # the row counts once more for this answer
        alpha, own, shared = ones, -positive * (count - 1), -positive * ones
    else:
        alpha, own, shared = (count == 1).to(like), -positive * ones, 0 * ones
    factor = _factor(config, num_entities)
    if not shared.any():
        each = torch.arange(len(answers) + 1, device=answers.device)
        return Deltas(alpha * factor, each, answers, own * factor)
    bounds = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    example = torch.repeat_interleave(torch.arange(len(answers), device=answers.device), counts)
    ids = row[torch.arange(len(example), device=row.device) + (offsets[:-1][of] - bounds[:-1])[example]]
    values = shared[example] + torch.where(ids == answers[example], own[example], 0 * own[example])
    return Deltas(alpha * factor, bounds, ids, values * factor)


def _factor(config: ConvEConfig, num_entities: int) -> float:
    """Of the loss as it is trained on."""
    mean = config.loss == "binary_cross_entropy" and config.reduction == "mean"
    return 1 / num_entities if mean else 1.0


def of_scores(
    answers: Int[Tensor, " examples"], rivals: Int[Tensor, " examples"] | None, *, like: Tensor
) -> Deltas:
    """Targets that are scores: minus the score of the answer, plus that of its rival where there is one.

    Minus, so that an influence above zero supports the answer, as it does where the target is a loss.
    """
    count = len(answers)
    if rivals is None:
        ids, values, each = answers, like.new_full((count,), -1.0), 1
    else:
        ids = torch.stack([answers, rivals], 1).flatten()
        values, each = like.new_tensor([-1.0, 1.0]).repeat(count), 2
    offsets = torch.arange(0, each * count + 1, each, device=answers.device)
    return Deltas(like.new_zeros(count), offsets, ids, values)
