"""Inner products of the gradients of training examples with those of asked ones, from their factors.

See `factors.py` for the formula. Nothing of examples x entities exists beyond a tile, unless the deltas of the asked
examples are held because they fit; they are made by the same products of the same shapes either way.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.explain.encoding import Frozen, with_bias
from corollary.explain.factors import Factors, rows_of, wide_part
from corollary.learners.projection import CHUNK_ROWS
from corollary.losses.workspace import Workspace


class Asked:
    """Factors of asked examples, and their whole deltas block by block of entities.

    Memory: with `hold` 4 * asked * entities bytes; without, a tile of asked x block.
    """

    def __init__(self, frozen: Frozen, found: Factors, workspace: Workspace, *, hold: bool = True) -> None:
        self.frozen, self.found = frozen, found
        self.workspace = workspace
        self._held: dict[int, Tensor] | None = None
        self.totals = found.u.new_zeros(len(found.of))
        held: dict[int, Tensor] = {}
        for rows in frozen.entities.block_slices():
            dense = self.block(rows)
            self.totals += dense.sum(1)
            if hold:
                held[rows.start] = dense.clone()
        self._held = held if hold else None

    @property
    def count(self) -> int:
        """Examples."""
        return len(self.found.of)

    @property
    def maps(self) -> Float[Tensor, "queries features"] | None:
        """Feature maps of their queries."""
        return self.found.encoded.kept

    def block(self, rows: slice) -> Float[Tensor, "asked rows"]:
        """Deltas at consecutive entities, which the next call overwrites."""
        if self._held is not None:
            return self._held[rows.start]
        return _deltas(self.frozen, self.found, rows, self.workspace)


@torch.no_grad()
def products(train: Factors, test: Asked, workspace: Workspace) -> Float[Tensor, "train asked"]:
    """Inner products of the gradients of training examples, made against `test`, with those of every asked example.

    Memory: a few arrays of train x asked.
    """
    frozen, theirs = test.frozen, test.found
    result = output_products(train, test, workspace)
    result += delta_at(frozen, train, theirs.heads, workspace) * (train.q @ theirs.u.T)
    result += delta_at(frozen, theirs, train.heads, workspace).T * (train.u @ theirs.q.T)
    result += (train.heads[:, None] == theirs.heads) * (train.u @ theirs.u.T)
    result += (train.relations[:, None] == theirs.relations) * (train.v @ theirs.v.T)
    result += (train.g @ theirs.g.T) * train.map_products[train.of][:, theirs.of]
    return result.addmm_(train.k, theirs.k.T)


@torch.no_grad()
def output_products(
    train: Factors,
    test: Asked,
    workspace: Workspace,
    metric: Float[Tensor, "width width"] | None = None,
) -> Float[Tensor, "train asked"]:
    """The part that comes from the entity table and its bias as output layer.

    Args:
        metric: between encoder outputs, with a last row and column for the bias where there is one; the identity when
            not given.
    """
    frozen, theirs, deltas = test.frozen, test.found, train.deltas
    near = train.deltas.alpha[:, None] * train.wide.products[train.of]
    near += deltas.sums(delta_at(frozen, theirs, deltas.ids, workspace).T.contiguous())
    if deltas.rows is not None:
        by_row = deltas.rows.sums(
            test.count, near, lambda _, ids: delta_at(frozen, theirs, ids, workspace).T.contiguous()
        )
        near += by_row[train.of] * deltas.beta[:, None]
    ours, others = with_bias(frozen, train.encoded.q), with_bias(frozen, theirs.encoded.q)
    outputs = (ours if metric is None else ours @ metric) @ others.T
    return near.mul_(outputs[train.of][:, theirs.of])


@torch.no_grad()
def pair_products(
    frozen: Frozen,
    some: Factors,
    left: Int[Tensor, " pairs"],
    right: Int[Tensor, " pairs"],
    workspace: Workspace,
) -> Float[Tensor, " pairs"]:
    """Inner products of the gradients of example `left[i]` with those of `right[i]`: of each with itself, say.

    Memory: two tiles of examples x block of entities, two chunks of feature maps.
    """
    ones, others = some.heads[left], some.heads[right]
    between, ones_at_other, others_at_one = (some.u.new_zeros(len(left)) for _ in range(3))
    for rows in frozen.entities.block_slices():
        dense = _deltas(frozen, some, rows, workspace)
        for start in range(0, len(left), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            between[part] += torch.linalg.vecdot(dense[left[part]], dense[right[part]])
        for out, example, heads in ((ones_at_other, left, others), (others_at_one, right, ones)):
            inside = (heads >= rows.start) & (heads < rows.stop)
            out[inside] = dense[example[inside], heads[inside] - rows.start]
    dot = torch.linalg.vecdot
    result = between * dot(with_bias(frozen, some.q)[left], with_bias(frozen, some.q)[right])
    result += ones_at_other * dot(some.q[left], some.u[right]) + others_at_one * dot(
        some.u[left], some.q[right]
    )
    result += (ones == others) * dot(some.u[left], some.u[right])
    result += (some.relations[left] == some.relations[right]) * dot(some.v[left], some.v[right])
    result += dot(some.g[left], some.g[right]) * _map_dots(frozen, some, left, right, workspace)
    return result + dot(some.k[left], some.k[right])


def _map_dots(
    frozen: Frozen, some: Factors, left: Tensor, right: Tensor, workspace: Workspace
) -> Float[Tensor, " pairs"]:
    """Products of the feature maps of two examples' queries."""
    found = some.u.new_empty(len(left))
    for start in range(0, len(left), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        one = some.encoded.maps_of(frozen, some.of[left[part]], workspace)[1].clone()
        found[part] = torch.linalg.vecdot(
            one, some.encoded.maps_of(frozen, some.of[right[part]], workspace)[1]
        )
    return found


def _deltas(
    frozen: Frozen, some: Factors, rows: slice, workspace: Workspace
) -> Float[Tensor, "examples rows"]:
    """Whole deltas at consecutive entities, in a buffer that the next call overwrites."""
    deltas = some.deltas
    weight, bias = frozen.entities.block(rows)
    p = wide_part(frozen, some.encoded.q, weight, bias, some.wide.log_total, workspace, "their scores")
    out = workspace.take("their deltas", p, len(some.of), len(weight))
    torch.index_select(p, 0, some.of, out=out).mul_(deltas.alpha[:, None])
    if deltas.rows is not None:
        known = torch.zeros_like(p)
        for query, answer in deltas.rows.pairs():
            inside = (answer >= rows.start) & (answer < rows.stop)
            known[query[inside], answer[inside] - rows.start] = 1
        out.addcmul_(known[some.of], deltas.beta[:, None])
    inside = (deltas.ids >= rows.start) & (deltas.ids < rows.stop)
    where = (deltas.example[inside], deltas.ids[inside] - rows.start)
    return out.index_put_(where, deltas.values[inside], accumulate=True)


def delta_at(
    frozen: Frozen, some: Factors, ids: Int[Tensor, " places"], workspace: Workspace
) -> Float[Tensor, "examples places"]:
    """The deltas of examples at some entities."""
    table, deltas = frozen.entities, some.deltas
    distinct, place = torch.unique(ids, return_inverse=True)
    weight = rows_of(frozen, distinct)
    bias = table.storage.gather(table.parts["bias"], distinct) if "bias" in table.parts else None
    wide = wide_part(frozen, some.encoded.q, weight, bias, some.wide.log_total, workspace, "scores at places")
    found = wide[some.of] * deltas.alpha[:, None]
    if deltas.rows is not None:
        known = wide.new_zeros(len(wide), len(distinct))
        for query, answer in deltas.rows.pairs():
            at, hit = _places(distinct, answer)
            known[query[hit], at[hit]] = 1
        found += known[some.of] * deltas.beta[:, None]
    at, hit = _places(distinct, deltas.ids)
    found.index_put_((deltas.example[hit], at[hit]), deltas.values[hit], accumulate=True)
    return found[:, place]


def _places(distinct: Int[Tensor, " distinct"], ids: Int[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """Where ids stand among distinct ones, and whether they do."""
    at = torch.searchsorted(distinct, ids).clamp(max=len(distinct) - 1)
    return at, distinct[at] == ids
