"""How fast the loss of training examples changes along a direction in the parameters: one forward-mode pass.

For a direction w the derivative of example i's loss is <gradient of i, w>. With w the gradient of an asked triple,
scaled entry by entry, that is the inner product under a diagonal metric, exact, which factors alone cannot give: an
entry-wise scaling breaks the outer products that they rest on. Adam's metric is 1 / (sqrt(v) + eps).

With the names of `encoding.py`, and a dot for a change along w:

    dx = a [dE_h; dR_r], du = conv(x, da w + a dw) + conv(dx, a w) + ..., df = [f > 0] du, dz = dW f + W df, dq = ...
    change of the loss = dL/dq . dq + (sum of delta_n dE_n) . q + delta . dbias
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from corollary.explain.encoding import Frozen
from corollary.explain.factors import Factors, wide_part
from corollary.explain.weights import Weights
from corollary.learners.projection import CHUNK_ROWS
from corollary.losses.workspace import Workspace


@torch.no_grad()
def tangents(
    frozen: Frozen, some: Factors, directions: Sequence[Weights], workspace: Workspace
) -> Float[Tensor, "examples directions"]:
    """The change of every example's loss along every direction.

    Memory: a tile of scores, two chunks of feature maps, queries x dim for each direction.
    """
    along = _entity_sums(frozen, some, directions, workspace)
    found = []
    for direction, sums in zip(directions, along, strict=True):
        moved = _encoder(frozen, some, direction, workspace)
        found.append(torch.linalg.vecdot(some.of_q, moved[some.of]) + _output(frozen, some, direction, sums))
    return torch.stack(found, 1)


def _entity_sums(
    frozen: Frozen, some: Factors, directions: Sequence[Weights], workspace: Workspace
) -> list[Float[Tensor, "queries width"]]:
    """p times the direction's entity rows, with its biases as a last column, over all entities."""
    q, table = some.encoded.q, frozen.entities
    sums = [q.new_zeros(len(q), q.shape[1] + int("bias" in table.parts)) for _ in directions]
    for rows in table.block_slices():
        weight, bias = table.block(rows)
        p = wide_part(frozen, q, weight, bias, some.wide.log_total, workspace)
        for direction, out in zip(directions, sums, strict=True):
            parts = {name: table.storage.fetch(part, rows) for name, part in direction.entities.items()}
            out[:, : q.shape[1]] += p @ parts["weight"]
            if "bias" in parts:
                out[:, -1] += p @ parts["bias"]
    return sums


def _output(frozen: Frozen, some: Factors, direction: Weights, sums: Tensor) -> Float[Tensor, " examples"]:
    """What the change of the output layer does to the losses."""
    deltas, storage = some.deltas, frozen.entities.storage

    def rows(ids: Tensor) -> Tensor:
        parts = [storage.gather(part, ids) for part in direction.entities.values()]
        return torch.cat([part.view(len(ids), -1) for part in parts], 1)

    whole = deltas.alpha[:, None] * sums[some.of] + deltas.sums(rows(deltas.ids))
    if deltas.rows is not None:
        by_row = deltas.rows.sums(sums.shape[1], sums, lambda _, ids: rows(ids))
        whole += by_row[some.of] * deltas.beta[:, None]
    dim = some.encoded.q.shape[1]
    return torch.linalg.vecdot(whole[:, :dim], some.q) + whole[:, dim:].sum(1)


def _encoder(
    frozen: Frozen, some: Factors, direction: Weights, workspace: Workspace
) -> Float[Tensor, "queries dim"]:
    """The change of the encoder's output."""
    encoded, learner, config = some.encoded, frozen.learner, frozen.config
    queries, rest = encoded.queries, list(direction.rest)
    filters = frozen.scale[:, None] * rest.pop(0)
    shift = torch.zeros_like(frozen.scale)
    if learner.norm_features.weight is not None:
        by_scale, by_shift = rest.pop(0) * frozen.rate, rest.pop(0)
        filters = filters + by_scale[:, None] * frozen.filters
        shift = by_shift - by_scale * frozen.mean
    both = torch.stack([filters, frozen.scaled], 1).unflatten(2, (config.kernel, config.kernel))
    head = frozen.entities.storage.gather(direction.entities["weight"], queries.entity_ids)
    image = learner.stack(head, direction.relations[queries.relation_ids]) * frozen.input_scale
    images, raw = torch.cat([encoded.maps.image, image], 1), torch.empty_like(encoded.q)
    for start in range(0, len(queries), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        chosen = torch.arange(len(queries), device=raw.device)[part]
        f = encoded.maps_of(frozen, chosen, workspace)[1]
        moved = F.conv2d(images[part], both, shift).flatten(1).mul_(f > 0)
        raw[part] = f @ direction.projection.T + moved @ frozen.projection.T
    moved = raw * frozen.hidden_scale
    if learner.norm_hidden.weight is not None:
        moved = moved + rest.pop(0) * encoded.z + rest.pop(0)
    return moved * encoded.open
