"""How the loss of one triple pulls at the scores of all entities, without a vector of all entities.

The gradient of an example's loss by its query's scores is

    alpha * p + beta * (1 at every known answer of the query) + a few entries at single entities

with p, the same for all examples of a query, what the loss gives every entity (softmax or sigmoid, less the smoothed
label of every entity). What the parts are depends on what is meant by taking the triple away:

- `example`: the triple's own 1-vs-all example is left out, its positive with all its negatives.
- `label`: the triple is taken from the labels of its query's row, whose other answers stay (kvsall): the row's loss with
  it minus the row's loss without it, at the same weights.

For 1vsall, and for kvsall with cross-entropy and weight `triple`, whose row is a sum of such examples, both are the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.learners.conve_config import ConvEConfig
from corollary.losses.labels import Labels

Deletion = Literal["example", "label"]
PAIRS = 4096
"""Answers of rows that are looked at together: part of the rounding, so it depends on nothing."""


@dataclass(frozen=True)
class Rows:
    """Known answers of some queries: those of query i are `ids[offsets[i]:offsets[i + 1]]`."""

    offsets: Int[Tensor, " bounds"]
    ids: Int[Tensor, " answers"]

    @property
    def counts(self) -> Int[Tensor, " queries"]:
        return self.offsets.diff()

    def pairs(self) -> Iterator[tuple[Int[Tensor, " some"], Int[Tensor, " some"]]]:
        """Queries and answers, `PAIRS` at a time."""
        query = torch.repeat_interleave(
            torch.arange(len(self.offsets) - 1, device=self.ids.device), self.counts
        )
        yield from zip(query.split(PAIRS), self.ids.split(PAIRS), strict=True)

    def sums(
        self, width: int, like: Tensor, values: Callable[[Tensor, Tensor], Tensor]
    ) -> Float[Tensor, "queries width"]:
        """For each query the sum over its answers of `values(queries, answers)`. Memory: `PAIRS` rows of them."""
        out = like.new_zeros(len(self.offsets) - 1, width)
        for query, answer in self.pairs():
            out.index_add_(0, query, values(query, answer))
        return out


@dataclass(frozen=True)
class Deltas:
    """Deltas of some examples: the entries of example i are `offsets[i]` to `offsets[i + 1]`.

    Args:
        beta: weight of the known answers of each example's query; empty where they have none.
        rows: these answers, by query.
    """

    alpha: Float[Tensor, " examples"]
    offsets: Int[Tensor, " bounds"]
    ids: Int[Tensor, " entries"]
    values: Float[Tensor, " entries"]
    beta: Float[Tensor, " row_weights"]
    rows: Rows | None = None

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
    factor = _factor(config, num_entities)
    alpha = like.new_full((len(answers),), factor)
    return _at_answers(alpha, answers, alpha * -labels.positive)


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
    """
    additive = config.loss == "cross_entropy" and config.weight == "triple"
    if config.examples == "1vsall" or additive:
        return of_examples(config, labels, answers, like=like, num_entities=num_entities)
    count, positive = offsets.diff()[of].to(like), labels.positive
    factor = _factor(config, num_entities)
    if config.loss == "binary_cross_entropy" and config.weight == "query":
        return _at_answers(
            (count == 1).to(like) * factor, answers, like.new_full((len(of),), -positive * factor)
        )
    if config.weight == "triple":  # the row counts once more for this answer
        alpha, beta = torch.ones_like(count), torch.full_like(count, -positive)
        own = -positive * (count - 1)
    else:  # a mean over the answers: without one of them the others count more
        more, alone = (count - 1).clamp(min=1), count == 1
        alpha = alone.to(like)
        beta = torch.where(alone, 0.0, positive * (1 / more - 1 / count))
        own = torch.where(alone, -positive, -positive / more)
    found = _at_answers(alpha * factor, answers, own * factor)
    return Deltas(found.alpha, found.offsets, found.ids, found.values, beta * factor, Rows(offsets, row))


def of_scores(
    answers: Int[Tensor, " examples"], rivals: Int[Tensor, " examples"] | None, *, like: Tensor
) -> Deltas:
    """Targets that are scores: minus the score of the answer, plus that of its rival where there is one.

    Minus, so that an influence above zero supports the answer, as it does where the target is a loss.
    """
    count = len(answers)
    alpha = like.new_zeros(count)
    if rivals is None:
        return _at_answers(alpha, answers, like.new_full((count,), -1.0))
    ids = torch.stack([answers, rivals], 1).flatten()
    values = like.new_tensor([-1.0, 1.0]).repeat(count)
    offsets = torch.arange(0, 2 * count + 1, 2, device=answers.device)
    return Deltas(alpha, offsets, ids, values, alpha[:0])


def _at_answers(
    alpha: Float[Tensor, " examples"], answers: Int[Tensor, " examples"], own: Float[Tensor, " examples"]
) -> Deltas:
    """One entry an example."""
    return Deltas(alpha, torch.arange(len(answers) + 1, device=answers.device), answers, own, alpha[:0])


def _factor(config: ConvEConfig, num_entities: int) -> float:
    """Of the loss as it is trained on."""
    mean = config.loss == "binary_cross_entropy" and config.reduction == "mean"
    return 1 / num_entities if mean else 1.0
