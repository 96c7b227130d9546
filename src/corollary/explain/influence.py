"""TracIn: how much each training triple pulled the model towards, or away from, each triple that is asked about.

    influence(z, z') = sum over checkpoints k of rate_k * <gradient of z's loss, gradient of z'> at checkpoint k

Above zero: z supports z'. Exact over all parameters that training moves, by the factors of `factors.py`: no gradient of
an example, no training x test matrix and no queries x entities exist. A triple owns one example a direction; both
directions of a block of triples go by together.

Source: Pruthi, Liu, Sundararajan & Kale 2020, "Estimating Training Data Influence by Tracing Gradient Descent"
(TracInCP). Differs: gradients are those of the loss the model was trained with, over all its parameters, with batch
norm as each checkpoint left it and dropout off.

Other scores, named for what they are (`Measure`):

- `output`: the part of TracIn that the entity table and its bias make as output layer.
- `output-kfac`: the same with encoder outputs measured by the inverse of their second moment over the training
  examples, one factor of K-FAC (Martens & Grosse 2015), damped by `DAMPING` of its mean eigenvalue.
- `cosine`: the cosine between the gradients of the two triples in place of their inner product; rates weigh it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.explain import deltas as meaning
from corollary.explain.deltas import Deletion, Deltas
from corollary.explain.factors import (
    Encoded,
    Factors,
    Frozen,
    factors,
    output_products,
    products,
    with_bias,
)
from corollary.graph.answers import AnswerIndex, Side, directed
from corollary.learners.protocol import Batch, Place, Queries
from corollary.losses.workspace import Workspace

Target = Literal["loss", "score", "contrast"]
Measure = Literal["tracin", "output", "output-kfac", "cosine"]
SIDES: tuple[Side, ...] = ("tail", "head")
SELF_ROWS = 64
"""Triples whose products are all made to read their diagonal: the arithmetic is still less than the forward pass's."""
DAMPING = 0.1
"""Of the second moment; agreed best with retraining on UMLS."""
MOMENT_ROWS = 1024
"""Queries encoded at a time for the second moment."""


@dataclass(frozen=True)
class Checkpoint:
    """A model as it stood, and the learning rate it was trained with then."""

    name: str
    frozen: Frozen
    learning_rate: float


@dataclass(frozen=True)
class Asked:
    """Triples whose support is asked for.

    Args:
        target: their loss as if each were a training example; their score; or the lead of their score over that of
            `rivals` on the same side.
        sides: directions in which they are asked: both for a loss, one for a score.
    """

    triples: Int[np.ndarray, "asked 3"]
    target: Target = "loss"
    sides: tuple[Side, ...] = SIDES
    rivals: Int[np.ndarray, " asked"] | None = None


@dataclass(frozen=True)
class Reference:
    """What training triples are compared with: the examples of the asked triples, side after side, by checkpoint."""

    num_asked: int
    factors: list[Factors]
    norms: list[Float[Tensor, " asked"]]
    """Lengths of the gradients of the asked triples, for the cosine; empty otherwise."""


class Influence:
    """Inner products of training triples with asked ones, summed over checkpoints and directions."""

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        index: AnswerIndex,
        *,
        deletion: Deletion = "example",
        measure: Measure = "tracin",
        workspace: Workspace | None = None,
    ) -> None:
        """Get ready; `output-kfac` encodes every query of the index once.

        Args:
            index: answers of the training triples.
        """
        self.checkpoints, self.index, self.deletion, self.measure = checkpoints, index, deletion, measure
        self.workspace = workspace or Workspace()
        config = checkpoints[0].frozen.config
        self.sides: tuple[Side, ...] = SIDES if config.sides == "both" else ("tail",)
        self._metrics = [
            self._metric(point.frozen) if measure == "output-kfac" else None for point in checkpoints
        ]

    def ask(self, asked: Asked) -> Reference:
        """Factors of the asked triples, for every checkpoint. Memory: those of as many queries a side."""
        sides = tuple(side for side in asked.sides if side in self.sides)
        found = [self._asked(point.frozen, asked, sides) for point in self.checkpoints]
        norms = []
        if self.measure == "cosine":
            for point, theirs in zip(self.checkpoints, found, strict=True):
                norms.append(self._squares(point.frozen, theirs, len(sides)).sqrt())
        return Reference(len(asked.triples), found, norms)

    def scores(
        self, triples: Int[np.ndarray, "block 3"], reference: Reference
    ) -> Float[Tensor, "block asked"]:
        """Influence of every triple of a block on every asked one."""
        parts = self.scores_by_checkpoint(triples, reference)
        total = next(parts)
        for part in parts:
            total += part
        return total

    def scores_by_checkpoint(
        self, triples: Int[np.ndarray, "block 3"], reference: Reference
    ) -> Iterator[Float[Tensor, "block asked"]]:
        """What each checkpoint adds to `scores`, its learning rate among it."""
        for number, point in enumerate(self.checkpoints):
            ours, theirs = self._training(point.frozen, triples), reference.factors[number]
            found = self._products(point.frozen, ours, theirs, self._metrics[number])
            summed = _fold(found, len(triples), reference.num_asked)
            if self.measure == "cosine":
                norms = self._training_norms(point.frozen, triples)
                summed /= (norms[:, None] * reference.norms[number]).clamp_(
                    min=torch.finfo(summed.dtype).tiny
                )
            yield summed.mul_(point.learning_rate)

    def self_influence(
        self, triples: Int[np.ndarray, "n 3"], *, deletion: Deletion | None = None
    ) -> Float[Tensor, " n"]:
        """Influence of every triple on its own loss: large for what the model had to learn by heart.

        Args:
            deletion: what is meant by the triple's loss; that of the training triples when not given.
        """
        total = self._like.new_zeros(len(triples))
        for start in range(0, len(triples), SELF_ROWS):
            rows = slice(start, start + SELF_ROWS)
            for point in self.checkpoints:
                ours = self._training(point.frozen, triples[rows], deletion)
                total[rows] += point.learning_rate * self._squares(point.frozen, ours, len(self.sides))
        return total

    @torch.no_grad()
    def losses(self, triples: Int[np.ndarray, "n 3"]) -> Float[Tensor, " n"]:
        """Loss of every triple under the last checkpoint, as an example of its own, summed over directions."""
        learner = self.checkpoints[-1].frozen.learner
        total = self._like.new_zeros(len(triples))
        for start in range(0, len(triples), MOMENT_ROWS):
            some = triples[start : start + MOMENT_ROWS]
            for side in self.sides:
                given, relation, answers = self._examples(some, (side,))
                queries = Queries(torch.from_numpy(given), torch.from_numpy(relation))
                offsets = torch.arange(len(some) + 1)
                batch = Batch(queries, offsets, torch.from_numpy(answers), Place(0, 0, 0))
                total[start : start + len(some)] += learner.losses(batch)
        return total

    @property
    def _like(self) -> Tensor:
        return self.checkpoints[0].frozen.filters

    def _products(
        self, frozen: Frozen, ours: Factors, theirs: Factors, metric: Tensor | None
    ) -> Float[Tensor, "train test"]:
        if self.measure in ("tracin", "cosine"):
            return products(frozen, ours, theirs, self.workspace)
        return output_products(frozen, ours, theirs, self.workspace, metric)

    def _squares(self, frozen: Frozen, some: Factors, sides: int) -> Float[Tensor, " triples"]:
        """Squared lengths of the gradients of triples that come side after side."""
        count = len(some.of) // sides
        return _fold(products(frozen, some, some, self.workspace), count, count).diagonal()

    def _training_norms(self, frozen: Frozen, triples: Int[np.ndarray, "n 3"]) -> Float[Tensor, " n"]:
        squares = [
            self._squares(frozen, self._training(frozen, triples[start : start + SELF_ROWS]), len(self.sides))
            for start in range(0, len(triples), SELF_ROWS)
        ]
        return torch.cat(squares).clamp_(min=0).sqrt()

    def _metric(self, frozen: Frozen) -> Float[Tensor, "width width"]:
        """The inverse of the damped second moment of encoder outputs over the training examples."""
        width = len(with_bias(frozen, self._like.new_zeros(1, frozen.config.embedding_dim))[0])
        moment, count = torch.zeros(width, width, dtype=torch.float64), 0.0
        for start in range(0, self.index.num_queries, MOMENT_ROWS):
            rows = slice(start, start + MOMENT_ROWS)
            entity, relation = self.index.queries(rows)
            stop = start + len(entity)
            answers = np.diff(self.index.offsets[start : stop + 1])
            if self.sides == ("tail",):
                answers = np.where(relation < self.index.num_relations, answers, 0)
                relation = np.where(relation < self.index.num_relations, relation, 0)
            queries = Queries(torch.from_numpy(entity), torch.from_numpy(relation))
            q = with_bias(frozen, Encoded.of(frozen, queries).q).double()
            weights = torch.from_numpy(answers).double()
            moment += (q * weights[:, None]).T @ q
            count += float(weights.sum())
        moment /= count
        damping = DAMPING * float(moment.trace()) / frozen.config.embedding_dim
        return torch.linalg.inv(moment + damping * torch.eye(width, dtype=torch.float64)).to(self._like.dtype)

    def _training(
        self, frozen: Frozen, triples: Int[np.ndarray, "block 3"], deletion: Deletion | None = None
    ) -> Factors:
        """Factors of training triples, side after side; triples that share a query share its forward pass."""
        given, relation, answers = self._examples(triples, self.sides)
        entity, directed_relation, of = self._distinct(given, relation)
        config, labels, like = frozen.config, frozen.learner.labels, self._like
        count, found = frozen.entities.num_rows, torch.from_numpy(answers)
        if (deletion or self.deletion) == "example":
            deltas = meaning.of_examples(config, labels, found, like=like, num_entities=count)
        else:
            offsets, row = self.index.gather(self.index.find(entity, directed_relation))
            known = torch.from_numpy(offsets), torch.from_numpy(row.astype(np.int64))
            deltas = meaning.of_labels(config, labels, of, found, *known, like=like, num_entities=count)
        return self._factors(frozen, entity, directed_relation, of, deltas)

    def _asked(self, frozen: Frozen, asked: Asked, sides: tuple[Side, ...]) -> Factors:
        given, relation, answers = self._examples(asked.triples, sides)
        entity, directed_relation, of = self._distinct(given, relation)
        if asked.target == "loss":
            deltas = meaning.of_examples(
                frozen.config, frozen.learner.labels, torch.from_numpy(answers),
                like=self._like, num_entities=frozen.entities.num_rows,
            )  # fmt: skip
        else:
            rivals = None
            if asked.rivals is not None:
                rivals = torch.from_numpy(np.tile(asked.rivals.astype(np.int64), len(sides)))
            deltas = meaning.of_scores(torch.from_numpy(answers), rivals, like=self._like)
        return self._factors(frozen, entity, directed_relation, of, deltas)

    def _factors(
        self, frozen: Frozen, entity: np.ndarray, relation: np.ndarray, of: Tensor, deltas: Deltas
    ) -> Factors:
        queries = Queries(torch.from_numpy(entity), torch.from_numpy(relation))
        return factors(frozen, queries, of, deltas, self.workspace)

    def _examples(
        self, triples: Int[np.ndarray, "n 3"], sides: Sequence[Side]
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """Given entity, directed relation and answer of each triple, side after side."""
        head, relation, tail = (np.asarray(triples[:, column]).astype(np.int64) for column in range(3))
        count = self.index.num_relations
        return (
            np.concatenate([head if side == "tail" else tail for side in sides]),
            np.concatenate([directed(relation, side, count) for side in sides]),
            np.concatenate([tail if side == "tail" else head for side in sides]),
        )

    def _distinct(
        self, given: Int[np.ndarray, " n"], relation: Int[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, " queries"], Int[np.ndarray, " queries"], Int[Tensor, " n"]]:
        """Entities and relations of distinct queries, and which one belongs to each example."""
        count = 2 * self.index.num_relations
        keys, of = np.unique(given * count + relation, return_inverse=True)
        return keys // count, keys % count, torch.from_numpy(of)


def _fold(found: Float[Tensor, "train test"], triples: int, asked: int) -> Float[Tensor, "triples asked"]:
    """The sum over directions of examples that come side after side on both axes."""
    result: Tensor = found.view(-1, triples, len(found[0]) // asked, asked).sum((0, 2))
    return result


def influences(
    influence: Influence,
    triples: Int[np.ndarray, "train 3"],
    reference: Reference,
    *,
    block: int,
    start: int = 0,
) -> Iterator[tuple[Int[np.ndarray, " block"], Float[Tensor, "block asked"]]]:
    """Rows and scores, block by block from the `start`th block on, in the order in which most queries are shared."""
    order = shared_order(triples)
    for first in range(start * block, len(triples), block):
        rows = order[first : first + block]
        yield rows, influence.scores(np.asarray(triples[rows]), reference)


def shared_order(triples: Int[np.ndarray, "train 3"]) -> Int[np.ndarray, " train"]:
    """Rows of triples by head, relation, tail, so that neighbours share the query for their tails."""
    return np.lexsort((triples[:, 2], triples[:, 1], triples[:, 0]))
