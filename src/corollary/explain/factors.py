"""Gradients of single examples of ConvE as factors: exact inner products without a gradient ever existing.

In evaluation mode ConvE is, for a query (h, r): x = a * [E_h; R_r] + c, u = affine(conv(x)), f = relu(u), z = W f + b,
y = affine(z), q = relu(y), s = E q + bias. The gradient of an example's loss by each parameter is a product of few
vectors, and the inner product of two examples' gradients is a sum of products of inner products:

    (delta . delta') (q . q' + [entity bias])                  the entity table as output
    + delta[h'] (q . u') + delta'[h] (u . q')                  ... and as input: E is both
    + [h = h'] (u . u') + [r = r'] (v . v')                    heads, relations
    + (g . g') (f . f')                                        projection
    + k . k'                                                   filters and affine parameters, written out

with delta = dL/ds, g = dL/dz, u = dL/dE_h and v = dL/dR_r through the input. Parameters that a later batch norm cancels
in training (bias of filters and projection, scale and shift of the input's batch norm) have no part: training never
moved them. Equal to autograd's per-example gradients in float64 (tests/explain/test_factors.py).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from corollary.explain.deltas import Deltas
from corollary.learners.conve import ConvE
from corollary.learners.projection import CHUNK_ROWS, Maps
from corollary.learners.protocol import Queries
from corollary.losses import tiles
from corollary.losses.workspace import Workspace


class Frozen:
    """A ConvE in evaluation mode: its batch norms as fixed affine maps."""

    def __init__(self, learner: ConvE) -> None:
        assert not learner.training
        self.learner, self.config, self.entities = learner, learner.config, learner.entities
        self.paper = self.config.variant == "paper"
        norm = learner.norm_features
        self.rate, self.scale = _affine(norm)
        self.mean = _running_mean(norm) - (0 if learner.filter_bias is None else learner.filter_bias.detach())
        shift = 0 if norm.bias is None else norm.bias.detach()
        self.offset = shift - self.scale * self.mean
        self.filters = learner.filters.detach().flatten(1)
        self.scaled = (self.filters * self.scale[:, None]).contiguous()
        self.hidden_rate, self.hidden_scale = _affine(learner.norm_hidden)
        norm_input = learner.norm_input
        self.input_scale = (
            _affine(norm_input)[1]
            if isinstance(norm_input, nn.BatchNorm2d)
            else torch.ones_like(self.rate[:1])
        )


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """1 / deviation, and that times the learned scale."""
    assert norm.running_var is not None
    rate = (norm.running_var + norm.eps).rsqrt()
    return rate, rate if norm.weight is None else rate * norm.weight.detach()


def _running_mean(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    assert norm.running_mean is not None
    return norm.running_mean


@dataclass(frozen=True)
class Encoded:
    """Distinct queries, forward."""

    queries: Queries
    maps: Maps
    f: Float[Tensor, "queries features"]
    z: Float[Tensor, "queries dim"]
    """Normalised, before scale and shift."""
    open: Float[Tensor, "queries dim"]
    """1 where the last ReLU passes."""
    q: Float[Tensor, "queries dim"]

    @classmethod
    @torch.no_grad()
    def of(cls, frozen: Frozen, queries: Queries) -> "Encoded":
        learner, config = frozen.learner, frozen.config
        head, relation = learner.entities.rows(queries.entity_ids), learner.relations[queries.relation_ids]
        maps = Maps(learner.norm_input(learner.stack(head, relation)), config.kernel)
        f = head.new_empty(len(queries), config.channels, maps.patches)
        keep = head.new_ones(min(len(queries), CHUNK_ROWS), config.channels)
        for rows in maps.chunks():
            maps.activate(rows, frozen.scaled, frozen.offset, keep[: rows.stop - rows.start], f[rows])
        flat = f.flatten(1)
        norm = learner.norm_hidden
        raw = torch.addmm(learner.projection_bias, flat, learner.projection.T)
        z = (raw - _running_mean(norm)) * frozen.hidden_rate
        y = z if norm.weight is None else z * norm.weight + norm.bias
        opened = (y > 0).to(y) if frozen.paper else torch.ones_like(y)
        return cls(queries, maps, flat, z, opened, y * opened)


@dataclass(frozen=True)
class Factors:
    """Some examples, each of one of the encoded queries."""

    encoded: Encoded
    of: Int[Tensor, " examples"]
    """The query of each example."""
    deltas: Deltas
    log_total: Float[Tensor, " queries"]
    """Log-sum-exp of each query's scores under cross-entropy; empty under binary cross-entropy."""
    u: Float[Tensor, "examples dim"]
    v: Float[Tensor, "examples dim"]
    g: Float[Tensor, "examples dim"]
    k: Float[Tensor, "examples rest"]

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
def factors(frozen: Frozen, queries: Queries, of: Tensor, deltas: Deltas, workspace: Workspace) -> Factors:
    """Forward over distinct queries, backward over examples.

    Memory: queries * features entries for the maps, one chunk of examples' maps and their gradient, one tile of scores.
    """
    encoded = Encoded.of(frozen, queries)
    table = frozen.entities
    pull, log_total = _pull(frozen, encoded.q, workspace)
    entries = table.storage.gather(table.parts["weight"], deltas.ids)
    of_q = pull[of] * deltas.alpha[:, None] + deltas.sums(entries)
    return Factors(encoded, of, deltas, log_total, *_backward(frozen, encoded, of, of_q, workspace))


def _pull(
    frozen: Frozen, q: Float[Tensor, "queries dim"], workspace: Workspace
) -> tuple[Float[Tensor, "queries dim"], Float[Tensor, " log_totals"]]:
    """What p makes of the entity rows, and the log-sum-exp of scores under cross-entropy, in one pass over entities.

    Under cross-entropy with the largest score so far taken out: sums so far are scaled down where a larger one comes.
    """
    table, pull = frozen.entities, torch.zeros_like(q)
    labels = frozen.learner.labels
    if frozen.config.loss == "binary_cross_entropy":
        for rows in table.block_slices():
            weight, bias = table.block(rows)
            p = _wide(frozen, q, weight, bias, q.new_zeros(0), workspace)
            workspace.product(p, weight, pull, add=pull)
        return pull, q.new_zeros(0)
    top, total, every = q.new_full((len(q),), -torch.inf), q.new_zeros(len(q)), q.new_zeros(q.shape[1])
    for rows in table.block_slices():
        weight, bias = table.block(rows)
        scores = workspace.product(q, weight.T, workspace.take("scores", q, len(q), len(weight)), add=bias)
        higher = torch.maximum(top, scores.amax(1))
        smaller = (top - higher).exp()
        tiles.softmax_(scores, higher, torch.ones_like(total))
        total = total * smaller + scores.sum(1)
        workspace.product(scores, weight, pull, add=pull.mul_(smaller[:, None]))
        every += weight.sum(0)
        top = higher
    mass = labels.positive + labels.every * table.num_rows
    return pull.mul_((mass / total)[:, None]).sub_(every * labels.every), top + total.log()


def _wide(
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
    labels, ones = frozen.learner.labels, q.new_ones(len(q))
    if frozen.config.loss == "binary_cross_entropy":
        return tiles.sigmoid_(scores, ones, torch.zeros_like(ones)).sub_(labels.every)
    mass = labels.positive + labels.every * frozen.entities.num_rows
    return tiles.softmax_(scores, log_total, ones * mass).sub_(labels.every)


def _backward(
    frozen: Frozen, encoded: Encoded, of: Tensor, of_q: Tensor, workspace: Workspace
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u, v, g and k of examples from the gradients of their encoder outputs."""
    config, learner, maps = frozen.config, frozen.learner, encoded.maps
    of_y = of_q * encoded.open[of]
    g = of_y * frozen.hidden_scale
    shape = (config.channels, maps.patches)
    image_gradient = of_q.new_empty(len(of), maps.pixels.shape[1])
    by_tap, by_channel = (
        of_q.new_empty(len(of), *frozen.filters.shape),
        of_q.new_empty(len(of), config.channels),
    )
    for start in range(0, len(of), CHUNK_ROWS):
        rows = slice(start, min(start + CHUNK_ROWS, len(of)))
        flowing = workspace.take("gradient of maps", of_q, rows.stop - rows.start, *shape)
        workspace.product(g[rows], learner.projection.detach(), flowing.flatten(1))
        chunk = maps.select(of[rows])
        keep = of_q.new_ones(rows.stop - rows.start, config.channels)
        whole = slice(0, rows.stop - rows.start)
        chunk.activate_backward(
            whole, frozen.scaled, keep, encoded.f[of[rows]].view(-1, *shape), flowing, image_gradient[rows],
            by_tap[rows], by_channel[rows],
        )  # fmt: skip
    rest = [(by_tap * frozen.scale[:, None]).flatten(1)]
    if learner.norm_features.weight is not None:
        by_scale = ((by_tap * frozen.filters).sum(2) - frozen.mean * by_channel) * frozen.rate
        rest += [by_scale, by_channel]
    if learner.norm_hidden.weight is not None:
        rest += [of_y * encoded.z[of], of_y]
    u, v = learner.unstack(image_gradient * frozen.input_scale)
    return u, v, g, torch.cat(rest, 1)


@torch.no_grad()
def products(
    frozen: Frozen, train: Factors, test: Factors, workspace: Workspace
) -> Float[Tensor, "train test"]:
    """Inner products of the gradients of every training example with every test example.

    Memory: two tiles of scores and a few arrays of train x test; nothing of examples x entities.
    """
    result = output_products(frozen, train, test, workspace)
    result += _delta_at(frozen, train, test.heads, workspace) * (train.q @ test.u.T)
    result += _delta_at(frozen, test, train.heads, workspace).T * (train.u @ test.q.T)
    result += (train.heads[:, None] == test.heads) * (train.u @ test.u.T)
    result += (train.relations[:, None] == test.relations) * (train.v @ test.v.T)
    f = workspace.product(
        train.encoded.f, test.encoded.f.T, train.u.new_empty(len(train.encoded.f), len(test.encoded.f))
    )
    result += (train.g @ test.g.T) * f[train.of][:, test.of]
    return result.addmm_(train.k, test.k.T)


@torch.no_grad()
def output_products(
    frozen: Frozen,
    train: Factors,
    test: Factors,
    workspace: Workspace,
    metric: Float[Tensor, "width width"] | None = None,
) -> Float[Tensor, "train test"]:
    """The part of the inner products that comes from the entity table and its bias as output layer.

    Args:
        metric: between encoder outputs, with a last row and column for the bias where there is one; the identity when
            not given.
    """
    delta = train.deltas.alpha[:, None] * _wide_products(frozen, train, test, workspace)[train.of]
    at_entries = _delta_at(frozen, test, train.deltas.ids, workspace)
    delta += train.deltas.sums(at_entries.T.contiguous())
    ours = with_bias(frozen, train.encoded.q)
    theirs = with_bias(frozen, test.encoded.q)
    near = (ours if metric is None else ours @ metric) @ theirs.T
    return delta.mul_(near[train.of][:, test.of])


def with_bias(frozen: Frozen, q: Float[Tensor, "queries dim"]) -> Float[Tensor, "queries width"]:
    """Encoder outputs as the output layer reads them: a one beside them where entities have a bias."""
    return torch.cat([q, torch.ones_like(q[:, :1])], 1) if frozen.config.entity_bias else q


def _wide_products(
    frozen: Frozen, train: Factors, test: Factors, workspace: Workspace
) -> Float[Tensor, "queries test"]:
    """p of every training query times the whole delta of every test example."""
    table, out = frozen.entities, train.u.new_zeros(len(train.encoded.q), len(test.of))
    for rows in table.block_slices():
        weight, bias = table.block(rows)
        theirs = _wide(frozen, test.encoded.q, weight, bias, test.log_total, workspace, "their scores")
        dense = theirs[test.of] * test.deltas.alpha[:, None]
        inside = (test.deltas.ids >= rows.start) & (test.deltas.ids < rows.stop)
        where = (test.deltas.example[inside], test.deltas.ids[inside] - rows.start)
        dense.index_put_(where, test.deltas.values[inside], accumulate=True)
        p = _wide(frozen, train.encoded.q, weight, bias, train.log_total, workspace)
        workspace.product(p, dense.T, out, add=out)
    return out


def _delta_at(
    frozen: Frozen, some: Factors, ids: Int[Tensor, " places"], workspace: Workspace
) -> Float[Tensor, "examples places"]:
    """The deltas of examples at some entities."""
    table, deltas = frozen.entities, some.deltas
    distinct, place = torch.unique(ids, return_inverse=True)
    weight = table.storage.gather(table.parts["weight"], distinct)
    bias = table.storage.gather(table.parts["bias"], distinct) if "bias" in table.parts else None
    wide = _wide(frozen, some.encoded.q, weight, bias, some.log_total, workspace, "scores at places")
    found = wide[some.of] * deltas.alpha[:, None]
    at = torch.searchsorted(distinct, deltas.ids).clamp(max=len(distinct) - 1)
    hit = distinct[at] == deltas.ids
    found.index_put_((deltas.example[hit], at[hit]), deltas.values[hit], accumulate=True)
    return found[:, place]
