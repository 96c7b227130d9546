"""Losses of a query against every entity, exactly, without ever holding batch x entities.

The entity table is walked in fixed blocks and the batch in fixed strips; the scores of one strip against one block,
a tile, are all that exists at a time, forward or backward. Sums run in the order of blocks and strips, so memory at
hand never changes a result.

Two forms of each loss. `cross_entropy` and `binary_cross_entropy` give one loss a query and are differentiable as
usual (backward computes the tiles again). `fused` makes the gradients in the forward pass: what training uses.

Label of entity j for a query with answers A: positive * [j in A] + every (see `labels`). Cross-entropy shares
`positive` evenly among the answers. A query without answers has loss 0 and no gradient.

Sources: Milakov & Gimelshein 2018 for the running log-sum-exp; Dettmers et al. 2018 for 1-N scoring.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.losses import tiles
from corollary.losses.labels import Labels
from corollary.losses.workspace import Workspace

STRIP_ROWS = 512
"""Queries whose scores against one block exist at a time; like the blocks, part of the result's rounding."""

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


class Rows(Protocol):
    """What a sweep needs of a table: its blocks, in order, as often as it asks."""

    @property
    def num_rows(self) -> int: ...

    @property
    def starts(self) -> list[int]:
        """First row of every block."""
        ...

    def sweep(self, *, gradient: bool) -> Iterator[Block]:
        """Every block once; with `gradient` each with a place for its gradient, complete when the next is asked for."""
        ...


@dataclass(frozen=True)
class Whole:
    """A table that lies in memory as one tensor, and the tensors for its gradient."""

    weight: Float[Tensor, "entities dim"]
    bias: Float[Tensor, " entities"] | None
    block_rows: int
    weight_gradient: Float[Tensor, "entities dim"] | None = None
    bias_gradient: Float[Tensor, " entities"] | None = None
    fresh: bool = True

    @property
    def num_rows(self) -> int:
        return len(self.weight)

    @property
    def starts(self) -> list[int]:
        return list(range(0, len(self.weight), self.block_rows))

    def sweep(self, *, gradient: bool) -> Iterator[Block]:
        for start in self.starts:
            rows = slice(start, start + self.block_rows)
            weight_gradient, bias_gradient = (
                part[rows] if gradient and part is not None else None
                for part in (self.weight_gradient, self.bias_gradient)
            )
            bias = None if self.bias is None else self.bias[rows]
            yield Block(start, self.weight[rows], bias, weight_gradient, bias_gradient, self.fresh)


class Positives:
    """The true answers of a batch, cut by block of the table and strip of the batch."""

    def __init__(
        self, offsets: Int[Tensor, " bounds"], answers: Int[Tensor, " answers"], block_starts: list[int]
    ) -> None:
        self.counts = offsets.diff()
        device, answers = answers.device, answers.long()
        query = torch.repeat_interleave(torch.arange(len(self.counts), device=device), self.counts)
        starts = torch.tensor(block_starts, device=device, dtype=torch.long)
        block = torch.searchsorted(starts, answers, right=True) - 1
        self._strips = -(-len(self.counts) // STRIP_ROWS)
        cell, order = torch.sort(block * self._strips + query // STRIP_ROWS, stable=True)
        self._query, self._answer = query[order] % STRIP_ROWS, (answers - starts[block])[order]
        cells = torch.arange(len(block_starts) * self._strips + 1, device=device)
        self._cuts = torch.searchsorted(cell, cells).tolist()

    def inside(self, block: int, strip: int) -> tuple[Int[Tensor, " found"], Int[Tensor, " found"]]:
        """Rows of the strip and columns of the block where the true answers of this tile stand."""
        cell = block * self._strips + strip
        part = slice(self._cuts[cell], self._cuts[cell + 1])
        return self._query[part], self._answer[part]


def fused(
    kind: Kind,
    query: Float[Tensor, "queries dim"],
    table: Rows,
    offsets: Int[Tensor, " bounds"],
    answers: Int[Tensor, " answers"],
    *,
    labels: Labels,
    scale: Float[Tensor, " queries"],
    workspace: Workspace,
) -> tuple[Float[Tensor, " queries"], Float[Tensor, "queries dim"]]:
    """Losses, and the gradients of `sum(scale * losses)`: of the queries returned, of the table put into its blocks.

    Scratch: one tile of min(batch, STRIP_ROWS) x block_rows. Products: cross-entropy 4 per block (its log-sum-exp
    needs a pass of its own), binary cross-entropy 3.
    """
    sweep = _Sweep(query.detach(), table, offsets, answers, labels, workspace)
    if kind == "cross_entropy":
        losses, log_total = sweep.cross_entropy()
        return losses, sweep.cross_entropy_gradient(log_total, scale)
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

    Scratch: one tile, 4 * min(queries, STRIP_ROWS) * block_rows bytes in float32, forward or backward.
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

    Scratch: one tile, 4 * min(queries, STRIP_ROWS) * block_rows bytes in float32, forward or backward.
    """
    return _PerQuery.apply("binary_cross_entropy", query, entity, bias, offsets, answers, labels, block_rows)


class _Sweep:
    """One batch against one table. `q` queries, `z` a tile of scores, `w` what each query's loss counts."""

    def __init__(
        self,
        query: Tensor,
        table: Rows,
        offsets: Tensor,
        answers: Tensor,
        labels: Labels,
        workspace: Workspace,
    ) -> None:
        self.query, self.table, self.labels, self.workspace = query, table, labels, workspace
        self.positives = Positives(offsets, answers, table.starts)
        self.answered = (self.positives.counts > 0).to(query.dtype)
        self.num_entities = table.num_rows
        self.strips = [
            slice(start, min(start + STRIP_ROWS, len(query))) for start in range(0, len(query), STRIP_ROWS)
        ]

    def tiles(self, block: Block) -> Iterator[tuple[int, slice, Float[Tensor, "strip rows"]]]:
        """Number and rows of each strip of the batch, and its scores. A tile lives until the next one."""
        for number, strip in enumerate(self.strips):
            tile = self.workspace.take("scores", self.query, strip.stop - strip.start, len(block.weight))
            yield (
                number,
                strip,
                self.workspace.product(self.query[strip], block.weight.T, tile, add=block.bias),
            )

    def mean_label(self) -> float:
        """What the labels of one query sum to under cross-entropy."""
        return self.labels.positive + self.labels.every * self.num_entities

    def score_sum(self, block: Block) -> Float[Tensor, " queries"]:
        """Sum of a block's scores for each query, in closed form: one product with the column sums."""
        total = self.query @ block.weight.sum(0)
        return total if block.bias is None else total + block.bias.sum()

    def cross_entropy(self) -> tuple[Float[Tensor, " queries"], Float[Tensor, " queries"]]:
        """Losses, and the log-sum-exp of every query's scores."""
        top = torch.full_like(self.answered, -torch.inf)
        total, picked, everything = (torch.zeros_like(self.answered) for _ in range(3))
        for number, block in enumerate(self.table.sweep(gradient=False)):
            if self.labels.every:
                everything += self.score_sum(block)
            for strip, part, z in self.tiles(block):
                rows, columns = self.positives.inside(number, strip)
                picked[part].index_add_(0, rows, z[rows, columns])
                higher = torch.maximum(top[part], z.amax(1))
                total[part] *= (top[part] - higher).exp_()
                total[part] += tiles.exponential_sums(z, higher)
                top[part] = higher
        log_total = top + total.log()
        counts = self.positives.counts.clamp(min=1)
        expected = self.labels.positive * picked / counts + self.labels.every * everything
        return self.answered * (self.mean_label() * log_total - expected), log_total

    def cross_entropy_gradient(
        self, log_total: Float[Tensor, " queries"], scale: Float[Tensor, " queries"]
    ) -> Float[Tensor, "queries dim"]:
        """Gradients of `sum(scale * losses)`; d loss / d z = mean_label * softmax(z) - label."""
        w = self.answered * scale
        at_positive = self.labels.positive * w / self.positives.counts.clamp(min=1)
        factor = self.mean_label() * w
        query_gradient = torch.zeros_like(self.query)
        for number, block in enumerate(self.table.sweep(gradient=True)):
            for strip, part, z in self.tiles(block):
                g = tiles.softmax_(z, log_total[part], factor[part])
                rows, columns = self.positives.inside(number, strip)
                g[rows, columns] -= at_positive[part][rows]
                self.collect(g, part, block, query_gradient)
            self.finish(w, block, query_gradient)
        return query_gradient

    def binary_cross_entropy(
        self, scale: Float[Tensor, " queries"] | None
    ) -> tuple[Float[Tensor, " queries"], Float[Tensor, "queries dim"]]:
        """Losses and, with `scale`, the gradients of `sum(scale * losses)`; d loss / d z = sigmoid(z) - label."""
        losses = torch.zeros_like(self.answered)
        query_gradient = torch.zeros_like(self.query)
        w = self.answered if scale is None else self.answered * scale
        for number, block in enumerate(self.table.sweep(gradient=scale is not None)):
            if self.labels.every:
                losses -= self.labels.every * self.score_sum(block)
            for strip, part, z in self.tiles(block):
                rows, columns = self.positives.inside(number, strip)
                losses[part].index_add_(0, rows, z[rows, columns], alpha=-self.labels.positive)
                g = tiles.sigmoid_(z, w[part], losses[part])
                if scale is not None:
                    g[rows, columns] -= self.labels.positive * w[part][rows]
                    self.collect(g, part, block, query_gradient)
            if scale is not None:
                self.finish(w, block, query_gradient)
        return self.answered * losses, query_gradient

    def collect(
        self,
        g: Float[Tensor, "strip rows"],
        part: slice,
        block: Block,
        query_gradient: Float[Tensor, "queries dim"],
    ) -> None:
        """Adds one tile's part: `g` is the gradient of its scores but for the `every` of the labels."""
        of_queries = query_gradient[part]
        self.workspace.product(g, block.weight, of_queries, add=of_queries)
        if block.weight_gradient is None:
            return
        fresh = block.fresh and part.start == 0
        self.workspace.product(
            g.T, self.query[part], block.weight_gradient, add=None if fresh else block.weight_gradient
        )
        if block.bias_gradient is not None:
            sums = g.sum(0)
            block.bias_gradient.copy_(sums) if fresh else block.bias_gradient.add_(sums)

    def finish(
        self, w: Float[Tensor, " queries"], block: Block, query_gradient: Float[Tensor, "queries dim"]
    ) -> None:
        """Adds what the labels' `every` brings to a block, the same for all entities and so in closed form."""
        every = self.labels.every
        if not every:
            return
        query_gradient.addr_(w, block.weight.sum(0), alpha=-every)
        if block.weight_gradient is not None:
            block.weight_gradient.sub_(every * (w @ self.query))
        if block.bias_gradient is not None:
            block.bias_gradient.sub_(every * w.sum())


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
        sweep = _Sweep(query, Whole(entity, bias, block_rows), offsets, answers, labels, Workspace())
        if kind == "cross_entropy":
            losses, log_total = sweep.cross_entropy()
        else:
            losses, log_total = sweep.binary_cross_entropy(None)[0], query.new_zeros(0)
        ctx.save_for_backward(query, entity, bias, offsets, answers, log_total)
        ctx.kind, ctx.labels, ctx.block_rows = kind, labels, block_rows
        return losses

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        query, entity, bias, offsets, answers, log_total = ctx.saved_tensors
        entity_gradient = torch.empty_like(entity)
        bias_gradient = None if bias is None else torch.empty_like(bias)
        table = Whole(entity, bias, ctx.block_rows, entity_gradient, bias_gradient)
        sweep = _Sweep(query, table, offsets, answers, ctx.labels, Workspace())
        if ctx.kind == "cross_entropy":
            query_gradient = sweep.cross_entropy_gradient(log_total, scale)
        else:
            query_gradient = sweep.binary_cross_entropy(scale)[1]
        return None, query_gradient, entity_gradient, bias_gradient, None, None, None, None
