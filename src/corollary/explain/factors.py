"""Gradients of single examples of ConvE as factors: exact inner products without a gradient ever existing.

With the names of `encoding.py`, the gradient of an example's loss by each parameter is a product of few vectors, and the
inner product of two examples' gradients is a sum of products of inner products:

    (delta . delta') (q . q' + [entity bias])                  the entity table as output
    + delta[h'] (q . u') + delta'[h] (u . q')                  ... and as input: E is both
    + [h = h'] (u . u') + [r = r'] (v . v')                    heads, relations
    + (g . g') (f . f')                                        projection
    + k . k'                                                   filters and affine parameters, written out

with delta = dL/ds, g = dL/dz, u = dL/dE_h and v = dL/dR_r through the input. Parameters that a later batch norm cancels
in training (bias of filters and projection, scale and shift of the input's batch norm) have no part: training never
moved them. Equal to autograd's per-example gradients in float64 (tests/explain/test_factors.py).

What belongs to training queries is made while entities and feature maps go by once (`products.py` reads it): their p
times the deltas of the asked examples, and their feature maps times theirs.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.explain.deltas import Deltas
from corollary.explain.encoding import Encoded, Frozen
from corollary.learners.projection import CHUNK_ROWS
from corollary.learners.protocol import Queries
from corollary.losses import tiles
from corollary.losses.workspace import Workspace


class Against(Protocol):
    """What training queries are compared with while they are encoded (`products.Asked`)."""

    @property
    def count(self) -> int: ...
    @property
    def maps(self) -> Float[Tensor, "asked_queries features"] | None: ...
    @property
    def totals(self) -> Float[Tensor, " asked"]: ...
    def block(self, rows: slice) -> Float[Tensor, "asked rows"]: ...


@dataclass(frozen=True)
class Wide:
    """What one pass over all entities tells of some queries."""

    pull: Float[Tensor, "queries dim"]
    """Sum over entities of p times their row."""
    log_total: Float[Tensor, " totals"]
    """Log-sum-exp of the scores under cross-entropy; empty under binary cross-entropy."""
    totals: Float[Tensor, " queries"]
    """Sum of p."""
    products: Float[Tensor, "queries asked"]
    """Sum over entities of p times the deltas of asked examples; without columns where there are none."""


@dataclass(frozen=True)
class Factors:
    """Some examples, each of one of the encoded queries."""

    encoded: Encoded
    of: Int[Tensor, " examples"]
    """The query of each example."""
    deltas: Deltas
    wide: Wide
    u: Float[Tensor, "examples dim"]
    v: Float[Tensor, "examples dim"]
    g: Float[Tensor, "examples dim"]
    k: Float[Tensor, "examples rest"]
    of_q: Float[Tensor, "examples dim"]
    """Gradient by the encoder's output."""
    map_products: Float[Tensor, "queries asked_queries"]
    """f . f' with asked queries; without columns where there are none."""

    @property
    def heads(self) -> Int[Tensor, " examples"]:
        return self.encoded.queries.entity_ids[self.of]

    @property
    def relations(self) -> Int[Tensor, " examples"]:
        return self.encoded.queries.relation_ids[self.of]

    @property
    def q(self) -> Float[Tensor, "examples dim"]:
        return self.encoded.q[self.of]


@torch.no_grad()
def factors(
    frozen: Frozen,
    queries: Queries,
    of: Tensor,
    deltas: Deltas,
    workspace: Workspace,
    *,
    against: Against | None = None,
    keep: bool = True,
) -> Factors:
    """Forward over distinct queries, backward over examples.

    Args:
        against: asked examples, for products with them on the way.
        keep: hold the feature maps of all queries until the backward pass; else they are made again. Same bytes.

    Memory: with `keep` queries * features entries; a chunk of maps and their gradient, one tile of scores.
    """
    theirs = None if against is None else against.maps
    near = deltas.alpha.new_empty(len(queries), 0 if theirs is None else len(theirs))

    def look(rows: slice, f: Tensor) -> None:
        if theirs is not None:
            workspace.product(f, theirs.T, near[rows])

    encoded = Encoded.of(frozen, queries, workspace, keep=keep, each=look)
    wide = sweep(frozen, encoded.q, workspace, against)
    of_q = wide.pull[of] * deltas.alpha[:, None] + deltas.sums(rows_of(frozen, deltas.ids))
    if deltas.rows is not None:
        by_row = deltas.rows.sums(of_q.shape[1], of_q, lambda _, ids: rows_of(frozen, ids))
        of_q += by_row[of] * deltas.beta[:, None]
    back = _backward(frozen, encoded, of, of_q, workspace)
    return Factors(encoded, of, deltas, wide, *back, of_q, near)


def rows_of(frozen: Frozen, ids: Int[Tensor, " n"]) -> Float[Tensor, "n dim"]:
    """Entity rows by id."""
    return frozen.entities.storage.gather(frozen.entities.parts["weight"], ids)


def sweep(
    frozen: Frozen, q: Float[Tensor, "queries dim"], workspace: Workspace, against: Against | None = None
) -> Wide:
    """One pass over entities. Memory: one tile of queries x block of entities."""
    table = frozen.entities
    pull = torch.zeros_like(q)
    found = q.new_zeros(len(q), 0 if against is None else against.count)
    if frozen.config.loss == "binary_cross_entropy":
        totals = q.new_zeros(len(q))
        for rows in table.block_slices():
            weight, bias = table.block(rows)
            p = wide_part(frozen, q, weight, bias, q.new_zeros(0), workspace)
            workspace.product(p, weight, pull, add=pull)
            if against is not None:
                workspace.product(p, against.block(rows).T, found, add=found)
            totals += p.sum(1)
        return Wide(pull, q.new_zeros(0), totals, found)
    return _softmax_sweep(frozen, q, pull, found, workspace, against)


def _softmax_sweep(
    frozen: Frozen, q: Tensor, pull: Tensor, found: Tensor, workspace: Workspace, against: Against | None
) -> Wide:
    """The largest score so far is taken out, and sums so far are scaled down where a larger one comes.

    Source: Milakov & Gimelshein 2018.
    """
    table, every = frozen.entities, frozen.learner.labels.every
    top, total = q.new_full((len(q),), -torch.inf), q.new_zeros(len(q))
    ones, column_sum = torch.ones_like(total), q.new_zeros(q.shape[1])
    for rows in table.block_slices():
        weight, bias = table.block(rows)
        scores = workspace.product(q, weight.T, workspace.take("scores", q, len(q), len(weight)), add=bias)
        higher = torch.maximum(top, scores.amax(1))
        smaller = (top - higher).exp()
        tiles.softmax_(scores, higher, ones)
        total.mul_(smaller).add_(scores.sum(1))
        workspace.product(scores, weight, pull, add=pull.mul_(smaller[:, None]))
        if against is not None:
            workspace.product(scores, against.block(rows).T, found, add=found.mul_(smaller[:, None]))
        if every:
            column_sum += weight.sum(0)
        top = higher
    scale = frozen.mass / total
    pull.mul_(scale[:, None])
    found.mul_(scale[:, None])
    if every:
        pull.sub_(column_sum * every)
        if against is not None:
            found.sub_(against.totals * every)
    sums = torch.full_like(total, frozen.mass - every * table.num_rows)
    return Wide(pull, top + total.log(), sums, found)


def wide_part(
    frozen: Frozen,
    q: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    log_total: Tensor,
    workspace: Workspace,
    name: str = "scores",
) -> Float[Tensor, "queries rows"]:
    """p over some entities: what the loss of a query gives each, but for its true answers."""
    scores = workspace.product(q, weight.T, workspace.take(name, q, len(q), len(weight)), add=bias)
    return as_p_(frozen, scores, log_total)


def as_p_(frozen: Frozen, scores: Tensor, log_total: Tensor) -> Float[Tensor, "queries rows"]:
    """Scores of queries turned into p, in place."""
    every, ones = frozen.learner.labels.every, scores.new_ones(len(scores))
    if frozen.config.loss == "binary_cross_entropy":
        return tiles.sigmoid_(scores, ones, torch.zeros_like(ones)).sub_(every)
    return tiles.softmax_(scores, log_total, ones * frozen.mass).sub_(every)


def _backward(
    frozen: Frozen, encoded: Encoded, of: Tensor, of_q: Tensor, workspace: Workspace
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u, v, g and k of examples from the gradients of their encoder outputs."""
    config, learner, maps = frozen.config, frozen.learner, encoded.maps
    of_y = of_q * encoded.open[of]
    g = of_y * frozen.hidden_scale
    shape = (config.channels, maps.patches)
    image_gradient = of_q.new_empty(len(of), maps.pixels.shape[1])
    by_tap = of_q.new_empty(len(of), *frozen.filters.shape)
    by_channel = of_q.new_empty(len(of), config.channels)
    for start in range(0, len(of), CHUNK_ROWS):
        rows = slice(start, min(start + CHUNK_ROWS, len(of)))
        size = rows.stop - rows.start
        flowing = workspace.take("gradient of maps", of_q, size, *shape)
        workspace.product(g[rows], frozen.projection, flowing.flatten(1))
        chunk, f = encoded.maps_of(frozen, of[rows], workspace)
        chunk.activate_backward(
            slice(0, size), frozen.scaled, of_q.new_ones(size, config.channels), f.view(-1, *shape), flowing,
            image_gradient[rows], by_tap[rows], by_channel[rows],
        )  # fmt: skip
    rest = [(by_tap * frozen.scale[:, None]).flatten(1)]
    if learner.norm_features.weight is not None:
        by_scale = ((by_tap * frozen.filters).sum(2) - frozen.mean * by_channel) * frozen.rate
        rest += [by_scale, by_channel]
    if learner.norm_hidden.weight is not None:
        rest += [of_y * encoded.z[of], of_y]
    u, v = learner.unstack(image_gradient * frozen.input_scale)
    return u, v, g, torch.cat(rest, 1)
