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
- `adam`: the training triple's gradient as Adam takes it, divided entry by entry by sqrt(second moment) + eps of the
  checkpoint: one forward-mode pass over the training triples an asked triple (`tangents.py`). First moments are left
  out: over the steps that follow they add up to the gradient.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.explain import deltas as meaning
from corollary.explain import products as inner
from corollary.explain.deltas import Deletion
from corollary.explain.encoding import Encoded, Frozen, with_bias
from corollary.explain.factors import Factors, factors
from corollary.explain.losses import example_losses
from corollary.explain.tangents import tangents
from corollary.explain.weights import Weights
from corollary.graph.answers import AnswerIndex, Side, directed
from corollary.learners.protocol import Queries
from corollary.losses.workspace import Workspace

Target = Literal["loss", "score", "contrast"]
Measure = Literal["tracin", "output", "output-kfac", "cosine", "adam"]
SIDES: tuple[Side, ...] = ("tail", "head")
UNIT = 512
"""Triples that go by together: every product is of one unit, so that the memory at hand changes no byte."""
DAMPING = 0.1
"""Of the second moment's mean eigenvalue."""
MOMENT_ROWS = 1024
"""Queries encoded at a time for the second moment."""


@dataclass(frozen=True)
class Checkpoint:
    """A model as it stood, and the learning rate it was trained with then.

    Args:
        metric: what each entry of a gradient is scaled by, for `adam`.
    """

    name: str
    frozen: Frozen
    learning_rate: float
    metric: Weights | None = None


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
class Hold:
    """What is held because it fits, in place of being made again for every unit. Changes time, no byte.

    Args:
        maps: feature maps of a unit's queries.
        deltas: of the asked examples at all entities.
        directions: of the asked triples, for `adam`: a value a parameter each.
    """

    maps: bool = True
    deltas: bool = True
    directions: bool = True


@dataclass(frozen=True)
class Reference:
    """What training triples are compared with: the examples of the asked triples, side after side, by checkpoint."""

    num_asked: int
    asked: list[inner.Asked]
    norms: list[Float[Tensor, " asked"]]
    """Lengths of the gradients of the asked triples, for the cosine; empty otherwise."""
    directions: list[list[Weights]] = field(default_factory=list)
    """For `adam`: by checkpoint, of every asked triple, or one that is made again and again."""


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
        hold: Hold = Hold(),
    ) -> None:
        """Get ready; `output-kfac` encodes every query of the index once.

        Args:
            index: answers of the training triples.
        """
        self.checkpoints, self.index, self.deletion, self.measure = checkpoints, index, deletion, measure
        self.workspace, self.hold = workspace or Workspace(), hold
        config = checkpoints[0].frozen.config
        self.sides: tuple[Side, ...] = SIDES if config.sides == "both" else ("tail",)
        self._metrics = [
            self._metric(point.frozen) if measure == "output-kfac" else None for point in checkpoints
        ]

    @torch.no_grad()
    def ask(self, asked: Asked) -> Reference:
        """Factors of the asked triples, for every checkpoint. Memory: those of as many queries a side."""
        sides = tuple(side for side in asked.sides if side in self.sides)
        count = len(asked.triples)
        found, norms, directions = [], [], []
        for point in self.checkpoints:
            theirs = self._asked(point.frozen, asked, sides)
            found.append(inner.Asked(point.frozen, theirs, self.workspace, hold=self.hold.deltas))
            if self.measure == "cosine":
                norms.append(self._squares(point.frozen, theirs, len(sides)).clamp_(min=0).sqrt())
            if self.measure == "adam":
                held = count if self.hold.directions else 1
                made = [Weights.zeros(point.frozen) for _ in range(held)]
                for number in range(held):
                    _aim(made[number], point, found[-1], number, count)
                directions.append(made)
        return Reference(count, found, norms, directions)

    @torch.no_grad()
    def scores(self, triples: Int[np.ndarray, "unit 3"], reference: Reference) -> Float[Tensor, "unit asked"]:
        """Influence of every triple of a unit on every asked one, on the device of the model."""
        parts = self.scores_by_checkpoint(triples, reference)
        total = next(parts)
        for part in parts:
            total += part
        return total

    @torch.no_grad()
    def scores_by_checkpoint(
        self, triples: Int[np.ndarray, "unit 3"], reference: Reference
    ) -> Iterator[Float[Tensor, "unit asked"]]:
        """What each checkpoint adds to `scores`, its learning rate among it."""
        for number, point in enumerate(self.checkpoints):
            theirs = reference.asked[number]
            ours = self._training(point.frozen, triples, against=None if self.measure == "adam" else theirs)
            if self.measure == "adam":
                summed = self._tangents(point, ours, reference, number)
            else:
                found = self._products(ours, theirs, self._metrics[number])
                summed = _fold(found, len(triples), reference.num_asked)
            if self.measure == "cosine":
                norms = self._squares(point.frozen, ours, len(self.sides)).clamp_(min=0).sqrt()
                smallest = torch.finfo(summed.dtype).tiny
                summed /= (norms[:, None] * reference.norms[number]).clamp_(min=smallest)
            yield summed.mul_(point.learning_rate)

    @torch.no_grad()
    def self_influence(
        self, triples: Int[np.ndarray, "n 3"], *, deletion: Deletion | None = None
    ) -> Float[Tensor, " n"]:
        """TracIn of every triple on its own loss: large for what the model had to learn by heart.

        Args:
            deletion: what is meant by the triple's loss; that of the training triples when not given.
        """
        total = self._like.new_zeros(len(triples))
        for start in range(0, len(triples), UNIT):
            rows = slice(start, start + UNIT)
            for point in self.checkpoints:
                ours = self._training(point.frozen, triples[rows], deletion)
                total[rows] += point.learning_rate * self._squares(point.frozen, ours, len(self.sides))
        return total

    @torch.no_grad()
    def losses(self, triples: Int[np.ndarray, "n 3"]) -> Float[Tensor, " n"]:
        """Loss of every triple under the last checkpoint, as an example of its own, summed over directions."""
        frozen = self.checkpoints[-1].frozen
        total = self._like.new_zeros(len(triples))
        for start in range(0, len(triples), UNIT):
            some = triples[start : start + UNIT]
            for side in self.sides:
                given, relation, answers = self._examples(some, (side,))
                queries = self._queries(given, relation)
                q = Encoded.of(frozen, queries, self.workspace, keep=False).q
                found = example_losses(frozen, q, self._ids(answers), self.workspace)
                total[start : start + len(some)] += found
        return total

    @property
    def _like(self) -> Tensor:
        return self.checkpoints[0].frozen.filters

    @property
    def _device(self) -> torch.device:
        return self._like.device

    def _ids(self, ids: np.ndarray) -> Int[Tensor, " n"]:
        """On the device of the model."""
        return torch.from_numpy(ids).to(self._device)

    def _queries(self, entity: np.ndarray, relation: np.ndarray) -> Queries:
        return Queries(self._ids(entity), self._ids(relation))

    def _products(
        self, ours: Factors, theirs: inner.Asked, metric: Tensor | None
    ) -> Float[Tensor, "train test"]:
        if self.measure in ("tracin", "cosine"):
            return inner.products(ours, theirs, self.workspace)
        return inner.output_products(ours, theirs, self.workspace, metric)

    def _tangents(
        self, point: Checkpoint, ours: Factors, reference: Reference, number: int
    ) -> Float[Tensor, "unit asked"]:
        """Changes of losses along the asked triples' directions, one after the other where one is held."""
        held, count = reference.directions[number], reference.num_asked
        triples = len(ours.of) // len(self.sides)
        if len(held) == count:
            return _fold(tangents(point.frozen, ours, held, self.workspace), triples, count)
        found = []
        for asked in range(count):
            _aim(held[0], point, reference.asked[number], asked, count)
            found.append(_fold(tangents(point.frozen, ours, held, self.workspace), triples, 1))
        return torch.cat(found, 1)

    def _squares(self, frozen: Frozen, some: Factors, sides: int) -> Float[Tensor, " triples"]:
        """Squared lengths of the gradients of triples that come side after side."""
        count = len(some.of) // sides
        every = torch.arange(len(some.of), device=self._device)
        found = inner.pair_products(frozen, some, every, every, self.workspace).view(sides, count).sum(0)
        if sides == 2:
            found += 2 * inner.pair_products(frozen, some, every[:count], every[count:], self.workspace)
        return found

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
            queries = self._queries(entity, relation)
            q = with_bias(frozen, Encoded.of(frozen, queries, self.workspace, keep=False).q).double().cpu()
            weights = torch.from_numpy(answers).double()
            moment += (q * weights[:, None]).T @ q
            count += float(weights.sum())
        moment /= count
        damping = DAMPING * float(moment.trace()) / frozen.config.embedding_dim
        return torch.linalg.inv(moment + damping * torch.eye(width, dtype=torch.float64)).to(self._like)

    def _training(
        self,
        frozen: Frozen,
        triples: Int[np.ndarray, "unit 3"],
        deletion: Deletion | None = None,
        *,
        against: inner.Asked | None = None,
    ) -> Factors:
        """Factors of training triples, side after side; triples that share a query share its forward pass."""
        given, relation, answers = self._examples(triples, self.sides)
        entity, directed_relation, of = self._distinct(given, relation)
        config, labels, like = frozen.config, frozen.learner.labels, self._like
        count, found = frozen.entities.num_rows, self._ids(answers)
        if (deletion or self.deletion) == "example":
            deltas = meaning.of_examples(config, labels, found, like=like, num_entities=count)
        else:
            offsets, row = self.index.gather(self.index.find(entity, directed_relation))
            known = self._ids(offsets), self._ids(row.astype(np.int64))
            deltas = meaning.of_labels(config, labels, of, found, *known, like=like, num_entities=count)
        queries = self._queries(entity, directed_relation)
        return factors(frozen, queries, of, deltas, self.workspace, against=against, keep=self.hold.maps)

    def _asked(self, frozen: Frozen, asked: Asked, sides: tuple[Side, ...]) -> Factors:
        given, relation, answers = self._examples(asked.triples, sides)
        entity, directed_relation, of = self._distinct(given, relation)
        if asked.target == "loss":
            deltas = meaning.of_examples(
                frozen.config, frozen.learner.labels, self._ids(answers),
                like=self._like, num_entities=frozen.entities.num_rows,
            )  # fmt: skip
        else:
            rivals = None
            if asked.rivals is not None:
                rivals = self._ids(np.tile(asked.rivals.astype(np.int64), len(sides)))
            deltas = meaning.of_scores(self._ids(answers), rivals, like=self._like)
        return factors(frozen, self._queries(entity, directed_relation), of, deltas, self.workspace)

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
        return keys // count, keys % count, self._ids(of)


def _fold(found: Float[Tensor, "train test"], triples: int, asked: int) -> Float[Tensor, "triples asked"]:
    """The sum over directions of examples that come side after side on both axes."""
    result: Tensor = found.view(-1, triples, len(found[0]) // asked, asked).sum((0, 2))
    return result


def _aim(direction: Weights, point: Checkpoint, asked: inner.Asked, number: int, count: int) -> None:
    """Make it the gradient of one asked triple, as Adam scales it."""
    assert point.metric is not None, "adam needs the second moments of its checkpoints"
    direction.fill(asked, range(number, asked.count, count))
    direction.scale(point.frozen, point.metric)


def influences(
    influence: Any,
    triples: Int[np.ndarray, "train 3"],
    reference: Any,
    *,
    block: int = UNIT,
    start: int = 0,
) -> Iterator[tuple[Int[np.ndarray, " block"], Float[Tensor, "block asked"]]]:
    """Rows and scores, block by block from the `start`th block on, in the order in which most queries are shared."""
    order = shared_order(triples)
    for first in range(start * block, len(triples), block):
        rows = order[first : first + block]
        yield rows, influence.scores(np.asarray(triples[rows]), reference)


def shared_order(triples: Int[np.ndarray, "train 3"]) -> Int[np.ndarray, " train"]:
    """Rows of triples so that neighbours share queries for tails and for heads.

    By relation, then by the side with more distinct entities: those of the other side come again within a block anyway.
    FB15k-237 in blocks of 512 has 207,029 queries so, and 329,515 by head, relation, tail; 149,689 are distinct.
    """
    head, relation, tail = (np.asarray(triples[:, column]).astype(np.int64) for column in range(3))
    count = int(relation.max(initial=0)) + 1
    heads, tails = (
        np.bincount(np.unique(np.stack([relation, side], 1), axis=0)[:, 0], minlength=count)
        for side in (head, tail)
    )
    more_heads = (heads > tails)[relation]
    many, few = np.where(more_heads, head, tail), np.where(more_heads, tail, head)
    return np.lexsort((few, many, relation))
