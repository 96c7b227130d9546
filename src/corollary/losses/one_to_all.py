"""Losses of a query against every entity, exactly, without ever holding batch x entities.

The entity table is walked in fixed blocks; one block's scores, a [batch x block] tile, is all that exists at a
time, forward or backward. Sums run block by block in table order, so memory at hand never changes a result.

Two forms of each loss. `cross_entropy` and `binary_cross_entropy` give one loss a query and are differentiable as
usual (backward computes the tiles again). `fused` makes the gradients in the forward pass: what training uses.

Label of entity j for a query with answers A: positive * [j in A] + every (see `labels`). Cross-entropy shares
`positive` evenly among the answers. A query without answers has loss 0 and no gradient.

Sources: Milakov & Gimelshein 2018 for the running log-sum-exp; Dettmers et al. 2018 for 1-N scoring.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.losses.labels import Labels

Kind = Literal["cross_entropy", "binary_cross_entropy"]


@dataclass(frozen=True)
class Block:
    """Consecutive rows of the entity table, and where their gradient goes (both or none)."""

    start: int
    weight: Float[Tensor, "rows dim"]
    bias: Float[Tensor, " rows"] | None
    weight_gradient: Float[Tensor, "rows dim"] | None = None
    bias_gradient: Float[Tensor, " rows"] | None = None
    fresh: bool = True
    """Overwrite the gradient; otherwise add to it."""


class Scratch:
    """Buffers by name, kept between steps: fresh large allocations cost more than the arithmetic on them."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """An uninitialised contiguous tensor of this shape, of the type and device of `like`."""
        size = 1
        for length in shape:
            size *= length
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size or buffer.dtype != like.dtype or buffer.device != like.device:
            buffer = self._buffers[name] = torch.empty(size, dtype=like.dtype, device=like.device)
        return buffer[:size].view(shape)

    def lend(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """As `take`, but no other call gets this buffer until it is given back with `restore`."""
        lent = self.take(name, like, *shape)
        del self._buffers[name]
        return lent

    def restore(self, name: str, lent: Tensor) -> None:
        """Give back what was lent; a buffer that never comes back is simply freed with its last use."""
        self._buffers[name] = lent.view(-1)


class Positives:
    """The true answers of a batch, in table order, cut by block."""

    def __init__(
        self, offsets: Int[Tensor, " bounds"], answers: Int[Tensor, " answers"], block_starts: list[int]
    ) -> None:
        self.counts = offsets.diff()
        query = torch.repeat_interleave(torch.arange(len(self.counts), device=answers.device), self.counts)
        self._answer, order = torch.sort(answers.long(), stable=True)
        self._query = query[order]
        bounds = torch.tensor([*block_starts[1:]], device=answers.device, dtype=torch.long)
        cuts = torch.searchsorted(self._answer, bounds).tolist()
        self._cuts = [0, *cuts, len(self._answer)]

    def in_block(self, number: int, start: int) -> tuple[Int[Tensor, " found"], Int[Tensor, " found"]]:
        """Query rows and block columns of the positives in block `number`, which begins at row `start`."""
        part = slice(self._cuts[number], self._cuts[number + 1])
        return self._query[part], self._answer[part] - start


def fused(
    kind: Kind,
    query: Float[Tensor, "queries dim"],
    blocks: Iterable[Block],
    offsets: Int[Tensor, " bounds"],
    answers: Int[Tensor, " answers"],
    *,
    labels: Labels,
    scale: Float[Tensor, " queries"],
    scratch: Scratch,
) -> tuple[Float[Tensor, " queries"], Float[Tensor, "queries dim"]]:
    """Losses, and the gradients of `sum(scale * losses)`: of the queries returned, of the table put in the blocks.

    Scratch: two tiles of batch x block_rows (one for binary cross-entropy's gradient, one for a temporary).
    Products: cross-entropy 4 per block (its normaliser needs a pass of its own), binary cross-entropy 3.
    """
    sweep = _Sweep(query.detach(), list(blocks), offsets, answers, labels, scratch)
    if kind == "cross_entropy":
        losses, normaliser = sweep.cross_entropy()
        return losses, sweep.cross_entropy_gradient(normaliser, scale)
    return sweep.binary_cross_entropy(scale)


def cross_entropy(
    query: Float[Tensor, "queries dim"],
    entity: Float[Tensor, "entities dim"],
    bias: Float[Tensor, " entities"] | None,
    offsets: Int[Tensor, " bounds"],
    answers: Int[Tensor, " answers"],
    *,
    labels: Labels = Labels(),
    block_rows: int,
) -> Float[Tensor, " queries"]:
    """Softmax cross-entropy of each query against every entity, in nats; its answers share the label evenly.

    Scratch: 8 * queries * block_rows bytes in float32, forward or backward.
    """
    return _PerQuery.apply("cross_entropy", query, entity, bias, offsets, answers, labels, block_rows)


def binary_cross_entropy(
    query: Float[Tensor, "queries dim"],
    entity: Float[Tensor, "entities dim"],
    bias: Float[Tensor, " entities"] | None,
    offsets: Int[Tensor, " bounds"],
    answers: Int[Tensor, " answers"],
    *,
    labels: Labels = Labels(),
    block_rows: int,
) -> Float[Tensor, " queries"]:
    """One sigmoid per entity, summed over entities, in nats. Divide by the number of entities for ConvE's mean.

    Scratch: 8 * queries * block_rows bytes in float32, forward or backward.
    """
    return _PerQuery.apply("binary_cross_entropy", query, entity, bias, offsets, answers, labels, block_rows)


def cut(
    entity: Float[Tensor, "entities dim"], bias: Float[Tensor, " entities"] | None, block_rows: int
) -> Iterator[Block]:
    """A whole table as blocks, without gradients."""
    for start in range(0, len(entity), block_rows):
        rows = slice(start, start + block_rows)
        yield Block(start, entity[rows], None if bias is None else bias[rows])


class _Sweep:
    """One batch against one table. `q` queries, `z` a tile of scores, `w` what each query's loss counts."""

    def __init__(
        self,
        query: Tensor,
        blocks: list[Block],
        offsets: Tensor,
        answers: Tensor,
        labels: Labels,
        scratch: Scratch,
    ) -> None:
        self.query, self.blocks, self.labels, self.scratch = query, blocks, labels, scratch
        self.positives = Positives(offsets, answers, [block.start for block in blocks])
        self.answered = (self.positives.counts > 0).to(query.dtype)
        self.num_entities = blocks[-1].start + len(blocks[-1].weight)

    def tile(self, name: str, block: Block) -> Tensor:
        return self.scratch.take(name, self.query, len(self.query), len(block.weight))

    def scores(self, block: Block) -> Float[Tensor, "queries rows"]:
        tile = self.tile("scores", block)
        if block.bias is None:
            return torch.mm(self.query, block.weight.T, out=tile)
        return torch.addmm(block.bias, self.query, block.weight.T, out=tile)

    def mean_label(self) -> float:
        """What the labels of one query sum to under cross-entropy."""
        return self.labels.positive + self.labels.every * self.num_entities

    def score_sum(self, block: Block) -> Float[Tensor, " queries"]:
        """Sum of a block's scores for each query, in closed form: one product with the column sums."""
        total = self.query @ block.weight.sum(0)
        return total if block.bias is None else total + block.bias.sum()

    def cross_entropy(self) -> tuple[Float[Tensor, " queries"], Float[Tensor, " queries"]]:
        """Losses, and the log-sum-exp of every query's scores."""
        like = self.query.new_zeros
        top = torch.full_like(self.answered, -torch.inf)
        total, picked, everything = like(len(self.query)), like(len(self.query)), like(len(self.query))
        for number, block in enumerate(self.blocks):
            z = self.scores(block)
            rows, columns = self.positives.in_block(number, block.start)
            picked.index_add_(0, rows, z[rows, columns])
            if self.labels.every:
                everything += self.score_sum(block)
            higher = torch.maximum(top, z.amax(1))
            total.mul_((top - higher).exp_()).add_(z.sub_(higher[:, None]).exp_().sum(1))
            top = higher
        normaliser = top + total.log()
        counts = self.positives.counts.clamp(min=1)
        expected = self.labels.positive * picked / counts + self.labels.every * everything
        return self.answered * (self.mean_label() * normaliser - expected), normaliser

    def cross_entropy_gradient(
        self, normaliser: Float[Tensor, " queries"], scale: Float[Tensor, " queries"]
    ) -> Float[Tensor, "queries dim"]:
        """Gradients of `sum(scale * losses)`; d loss / d z = mean_label * softmax(z) - label."""
        w = self.answered * scale
        at_positive = self.labels.positive * w / self.positives.counts.clamp(min=1)
        shift = normaliser[:, None]
        factor = (self.mean_label() * w)[:, None]
        query_gradient = torch.zeros_like(self.query)
        for number, block in enumerate(self.blocks):
            g = self.scores(block).sub_(shift).exp_().mul_(factor)
            rows, columns = self.positives.in_block(number, block.start)
            g[rows, columns] -= at_positive[rows]
            self.collect(g, w, block, query_gradient)
        return query_gradient

    def binary_cross_entropy(
        self, scale: Float[Tensor, " queries"] | None
    ) -> tuple[Float[Tensor, " queries"], Float[Tensor, "queries dim"]]:
        """Losses and, with `scale`, the gradients of `sum(scale * losses)`; d loss / d z = sigmoid(z) - label."""
        losses = torch.zeros_like(self.answered)
        query_gradient = torch.zeros_like(self.query)
        w = self.answered if scale is None else self.answered * scale
        for number, block in enumerate(self.blocks):
            z = self.scores(block)
            rows, columns = self.positives.in_block(number, block.start)
            losses.index_add_(0, rows, z[rows, columns], alpha=-self.labels.positive)
            if self.labels.every:
                losses -= self.labels.every * self.score_sum(block)
            losses += _softplus(z, self.tile("temporary", block)).sum(1)
            if scale is not None:
                g = z.sigmoid_().mul_(w[:, None])
                g[rows, columns] -= self.labels.positive * w[rows]
                self.collect(g, w, block, query_gradient)
        return self.answered * losses, query_gradient

    def collect(
        self,
        g: Float[Tensor, "queries rows"],
        w: Float[Tensor, " queries"],
        block: Block,
        query_gradient: Float[Tensor, "queries dim"],
    ) -> None:
        """Adds one block's part: `g` is the gradient of its scores but for the `every` of the labels, which is the
        same for all entities and so has a closed form."""
        query_gradient.addmm_(g, block.weight)
        every = self.labels.every
        if every:
            query_gradient.addr_(w, block.weight.sum(0), alpha=-every)
        if block.weight_gradient is None:
            return
        torch.addmm(
            block.weight_gradient, g.T, self.query, beta=0 if block.fresh else 1, out=block.weight_gradient
        )
        if every:
            block.weight_gradient.sub_(every * (w @ self.query))
        if block.bias_gradient is not None:
            sums = g.sum(0).sub_(every * w.sum())
            block.bias_gradient.copy_(sums) if block.fresh else block.bias_gradient.add_(sums)


def _softplus(
    z: Float[Tensor, "queries rows"], out: Float[Tensor, "queries rows"]
) -> Float[Tensor, "queries rows"]:
    """max(z, 0) + log1p(exp(-|z|)): stable for scores of any size."""
    torch.abs(z, out=out)
    out.neg_().exp_().log1p_()
    return out.add_(z.clamp(min=0))


class _PerQuery(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kind: Kind,
        query: Tensor,
        entity: Tensor,
        bias: Tensor | None,
        offsets: Tensor,
        answers: Tensor,
        labels: Labels,
        block_rows: int,
    ) -> Tensor:
        sweep = _Sweep(query, list(cut(entity, bias, block_rows)), offsets, answers, labels, Scratch())
        if kind == "cross_entropy":
            losses, normaliser = sweep.cross_entropy()
        else:
            losses, normaliser = sweep.binary_cross_entropy(None)[0], query.new_zeros(0)
        ctx.save_for_backward(query, entity, bias, offsets, answers, normaliser)
        ctx.kind, ctx.labels, ctx.block_rows = kind, labels, block_rows
        return losses

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        query, entity, bias, offsets, answers, normaliser = ctx.saved_tensors
        entity_gradient = torch.empty_like(entity)
        bias_gradient = None if bias is None else torch.empty_like(bias)
        blocks = [
            Block(
                block.start,
                block.weight,
                block.bias,
                entity_gradient[block.start : block.start + ctx.block_rows],
                None if bias_gradient is None else bias_gradient[block.start : block.start + ctx.block_rows],
            )
            for block in cut(entity, bias, ctx.block_rows)
        ]
        sweep = _Sweep(query, blocks, offsets, answers, ctx.labels, Scratch())
        if ctx.kind == "cross_entropy":
            query_gradient = sweep.cross_entropy_gradient(normaliser, scale)
        else:
            query_gradient = sweep.binary_cross_entropy(scale)[1]
        return None, query_gradient, entity_gradient, bias_gradient, None, None, None, None
