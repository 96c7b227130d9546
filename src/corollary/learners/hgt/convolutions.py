"""How messages are made of neighbours: HGT, GAT and R-GCN, forward and backward, block by block.

A convolution first projects all rows (keys, values), then takes the segments of one block of rows after the other.
Relation matrices are applied on the side where messages arrive: to the query before, to the sum after the walk over the
edges. So nothing is ever made an edge, and keys and values exist once, not once a relation. The backward pass makes the
logits again; all it needs of the forward pass is each row's log of the sum of exponentials.

Sources: Hu et al. 2020 (HGT); Veličković et al. 2018 (GAT); Schlichtkrull et al. 2018 (R-GCN, block-diagonal).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from corollary.graph.typed_links import EdgeType, Segment, TypedRows
from corollary.kernels.hgt import LOWEST
from corollary.learners.hgt.config import HgtConfig
from corollary.learners.hgt.edges import Edges
from corollary.learners.layers import uniform

Rows = tuple[Tensor, ...]
"""What a convolution makes of all rows before it walks over edges; gradients come in the same shapes."""


class Convolution(Protocol):
    """One way to make messages. Its weights are those of an `nn.Module`; gradients are added to their `.grad`."""

    attn: int

    def project(self, x: Float[Tensor, "rows width"], nodes: TypedRows) -> Rows: ...

    def messages(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        rows: slice,
        segments: Sequence[Segment],
        edges: Edges,
        projected: Rows,
    ) -> tuple[Float[Tensor, "block width"], Float[Tensor, "block attn"]]:
        """Messages into one block, and the log of each row's sum of exponentials."""
        ...

    def messages_backward(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        rows: slice,
        segments: Sequence[Segment],
        edges: Edges,
        projected: Rows,
        messages: Float[Tensor, "block width"],
        log_mass: Float[Tensor, "block attn"],
        gradient: Float[Tensor, "block width"],
        back: Rows,
        x_gradient: Float[Tensor, "block width"],
    ) -> None:
        """Add to `back` (gradients of what was projected), to `x_gradient` and to the weights' gradients."""
        ...

    def project_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        back: Rows,
        x_gradient: Float[Tensor, "rows width"],
    ) -> None: ...


class TypedLinear(nn.Module):
    """A linear map of its own for every node type."""

    def __init__(self, seed: int, name: str, types: int, out: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(uniform(seed, name, types, out, width, bound=width**-0.5))
        self.bias = nn.Parameter(uniform(seed, f"{name} bias", types, out, bound=width**-0.5))

    def block(self, x: Float[Tensor, "block width"], kind: int) -> Float[Tensor, "block out"]:
        """Rows of one type."""
        return torch.addmm(self.bias[kind].detach(), x, self.weight[kind].detach().T)

    def rows(self, x: Float[Tensor, "rows width"], nodes: TypedRows) -> Float[Tensor, "rows out"]:
        """All rows."""
        out = x.new_empty(len(x), self.weight.shape[1])
        for kind, rows in nodes.blocks():
            torch.addmm(self.bias[kind].detach(), x[rows], self.weight[kind].detach().T, out=out[rows])
        return out

    def block_backward(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        gradient: Float[Tensor, "block out"],
        x_gradient: Float[Tensor, "block width"] | None,
    ) -> None:
        """Add to the gradients of the weights, and of x where it is wanted."""
        grad_of(self.weight)[kind].addmm_(gradient.T, x)
        grad_of(self.bias)[kind].add_(gradient.sum(0))
        if x_gradient is not None:
            x_gradient.addmm_(gradient, self.weight[kind].detach())

    def rows_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        gradient: Float[Tensor, "rows out"],
        x_gradient: Float[Tensor, "rows width"] | None,
    ) -> None:
        """The same over all rows, block by block in order."""
        for kind, rows in nodes.blocks():
            self.block_backward(
                x[rows], kind, gradient[rows], None if x_gradient is None else x_gradient[rows]
            )


class HgtConvolution(nn.Module):
    """Softmax over all edges into a node of (query . key W_r) prior / sqrt(depth); messages are values W'_r.

    Differs from the paper in nothing but the order of products; a relation has its matrices, and a (source type,
    relation, target type) its prior.
    """

    def __init__(
        self,
        config: HgtConfig,
        types: int,
        relations: int,
        edge_types: Sequence[EdgeType],
        seed: int,
        name: str,
    ) -> None:
        super().__init__()
        width, depth = config.hidden_dim, config.depth
        self.attn, self.relation_of = config.attn, [kind.relation for kind in edge_types]
        self.query, self.key, self.value = (
            TypedLinear(seed, f"{name} {part}", types, width, width) for part in ("query", "key", "value")
        )
        shape, bound = (relations, config.attn, depth, depth), math.sqrt(3 / depth)
        self.attention = nn.Parameter(uniform(seed, f"{name} attention", *shape, bound=bound))
        self.message = nn.Parameter(uniform(seed, f"{name} message", *shape, bound=bound))
        self.prior = nn.Parameter(torch.ones(len(edge_types), config.attn))

    def project(self, x: Float[Tensor, "rows width"], nodes: TypedRows) -> Rows:
        return self.key.rows(x, nodes), self.value.rows(x, nodes)

    def _scale(self, kind: int, depth: int) -> Float[Tensor, " width"]:
        """Prior over the root of the depth, for every column."""
        return (self.prior[kind].detach() / math.sqrt(depth)).repeat_interleave(depth)

    def messages(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        rows: slice,
        segments: Sequence[Segment],
        edges: Edges,
        projected: Rows,
    ) -> tuple[Float[Tensor, "block width"], Float[Tensor, "block attn"]]:
        depth, (keys, values) = x.shape[1] // self.attn, projected
        query, out = self.query.block(x, kind), torch.zeros_like(x)
        top, mass = x.new_full((len(x), self.attn), LOWEST), x.new_zeros(len(x), self.attn)
        for segment in segments:
            listed, relation = listed_rows(segment, x), self.relation_of[segment.kind]
            asked = by_head(query[listed], self.attention[relation].detach(), transposed=True)
            asked.mul_(self._scale(segment.kind, depth))
            gathered, shrink = edges.attend(segment, asked, keys, values, top, mass)
            so_far = out[listed].mul_(shrink.repeat_interleave(depth, 1))
            out[listed] = so_far.add_(by_head(gathered, self.message[relation].detach()))
        out.div_(mass.clamp(min=torch.finfo(mass.dtype).tiny).repeat_interleave(depth, 1))
        return out, top.add_(mass.clamp_(min=torch.finfo(mass.dtype).tiny).log_())

    def messages_backward(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        rows: slice,
        segments: Sequence[Segment],
        edges: Edges,
        projected: Rows,
        messages: Float[Tensor, "block width"],
        log_mass: Float[Tensor, "block attn"],
        gradient: Float[Tensor, "block width"],
        back: Rows,
        x_gradient: Float[Tensor, "block width"],
    ) -> None:
        depth, (keys, values) = x.shape[1] // self.attn, projected
        query, query_back = self.query.block(x, kind), torch.zeros_like(x)
        inner = heads_dot(messages, gradient, self.attn)
        for segment in segments:
            listed, relation = listed_rows(segment, x), self.relation_of[segment.kind]
            own, pull, scale = query[listed], gradient[listed], self._scale(segment.kind, depth)
            raw = by_head(own, self.attention[relation].detach(), transposed=True)
            gathered, asked_back = edges.attend_backward(
                segment, raw * scale, by_head(pull, self.message[relation].detach(), transposed=True),
                keys, values, log_mass, inner, back[0], back[1],
            )  # fmt: skip
            add_outer(grad_of(self.message)[relation], gathered, pull)
            slopes = heads_dot(raw, asked_back, self.attn).sum(0) / math.sqrt(depth)
            grad_of(self.prior)[segment.kind].add_(slopes)
            asked_back.mul_(scale)
            add_outer(grad_of(self.attention)[relation], asked_back, own)
            query_back[listed] += by_head(asked_back, self.attention[relation].detach())
        self.query.block_backward(x, kind, query_back, x_gradient)

    def project_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        back: Rows,
        x_gradient: Float[Tensor, "rows width"],
    ) -> None:
        self.key.rows_backward(x, nodes, back[0], x_gradient)
        self.value.rows_backward(x, nodes, back[1], x_gradient)


class GatConvolution(nn.Module):
    """Softmax over all edges into a node of LeakyReLU(a . value + b . neighbour's value + c_edge type)."""

    def __init__(
        self,
        config: HgtConfig,
        types: int,
        relations: int,
        edge_types: Sequence[EdgeType],
        seed: int,
        name: str,
    ) -> None:
        super().__init__()
        width, depth = config.hidden_dim, config.depth
        self.attn = config.attn
        self.value = TypedLinear(seed, f"{name} value", types, width, width)
        self.own, self.other = (
            nn.Parameter(uniform(seed, f"{name} {part}", types, width, bound=depth**-0.5))
            for part in ("own", "other")
        )
        self.offset = nn.Parameter(torch.zeros(len(edge_types), config.attn))

    def project(self, x: Float[Tensor, "rows width"], nodes: TypedRows) -> Rows:
        values, other = self.value.rows(x, nodes), x.new_empty(len(x), self.attn)
        for kind, rows in nodes.blocks():
            other[rows] = heads_dot(values[rows], self.other[kind].detach(), self.attn)
        return values, other

    def messages(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        rows: slice,
        segments: Sequence[Segment],
        edges: Edges,
        projected: Rows,
    ) -> tuple[Float[Tensor, "block width"], Float[Tensor, "block attn"]]:
        values, other = projected
        depth, out = x.shape[1] // self.attn, torch.zeros_like(x)
        own = heads_dot(values[rows], self.own[kind].detach(), self.attn)
        top, mass = x.new_full((len(x), self.attn), LOWEST), x.new_zeros(len(x), self.attn)
        for segment in segments:
            listed = listed_rows(segment, x)
            asked = own[listed] + self.offset[segment.kind].detach()
            gathered, shrink = edges.add(segment, asked, other, values, top, mass)
            out[listed] = out[listed].mul_(shrink.repeat_interleave(depth, 1)).add_(gathered)
        out.div_(mass.clamp(min=torch.finfo(mass.dtype).tiny).repeat_interleave(depth, 1))
        return out, top.add_(mass.clamp_(min=torch.finfo(mass.dtype).tiny).log_())

    def messages_backward(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        rows: slice,
        segments: Sequence[Segment],
        edges: Edges,
        projected: Rows,
        messages: Float[Tensor, "block width"],
        log_mass: Float[Tensor, "block attn"],
        gradient: Float[Tensor, "block width"],
        back: Rows,
        x_gradient: Float[Tensor, "block width"],
    ) -> None:
        values, other = projected
        depth = x.shape[1] // self.attn
        own = heads_dot(values[rows], self.own[kind].detach(), self.attn)
        own_back, inner = torch.zeros_like(own), heads_dot(messages, gradient, self.attn)
        for segment in segments:
            listed = listed_rows(segment, x)
            asked = own[listed] + self.offset[segment.kind].detach()
            slopes = edges.add_backward(
                segment, asked, other, gradient[listed], values, log_mass, inner, back[1], back[0]
            )
            own_back[listed] += slopes
            grad_of(self.offset)[segment.kind].add_(slopes.sum(0))
        wide = own_back.repeat_interleave(depth, 1)
        grad_of(self.own)[kind].add_((wide * values[rows]).sum(0))
        back[0][rows].addcmul_(wide, self.own[kind].detach())

    def project_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        back: Rows,
        x_gradient: Float[Tensor, "rows width"],
    ) -> None:
        depth = x.shape[1] // self.attn
        for kind, rows in nodes.blocks():
            wide, values = back[1][rows].repeat_interleave(depth, 1), self.value.block(x[rows], kind)
            grad_of(self.other)[kind].add_((wide * values).sum(0))
            back[0][rows].addcmul_(wide, self.other[kind].detach())
        self.value.rows_backward(x, nodes, back[0], x_gradient)


class RgcnConvolution(nn.Module):
    """Sum over relations of the mean neighbour times a block-diagonal matrix of the relation, and the node's own map."""

    def __init__(
        self,
        config: HgtConfig,
        types: int,
        relations: int,
        edge_types: Sequence[EdgeType],
        seed: int,
        name: str,
    ) -> None:
        super().__init__()
        width, depth = config.hidden_dim, config.depth
        self.attn, self.relation_of = config.attn, [kind.relation for kind in edge_types]
        self.own = TypedLinear(seed, f"{name} own", types, width, width)
        shape, bound = (relations, config.attn, depth, depth), math.sqrt(3 / depth)
        self.message = nn.Parameter(uniform(seed, f"{name} message", *shape, bound=bound))

    def project(self, x: Float[Tensor, "rows width"], nodes: TypedRows) -> Rows:
        return (x,)

    def messages(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        rows: slice,
        segments: Sequence[Segment],
        edges: Edges,
        projected: Rows,
    ) -> tuple[Float[Tensor, "block width"], Float[Tensor, "block attn"]]:
        out = self.own.block(x, kind)
        for segment in segments:
            listed, relation = listed_rows(segment, x), self.relation_of[segment.kind]
            out[listed] += by_head(edges.mean(segment, projected[0]), self.message[relation].detach())
        return out, x.new_zeros(len(x), self.attn)

    def messages_backward(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        rows: slice,
        segments: Sequence[Segment],
        edges: Edges,
        projected: Rows,
        messages: Float[Tensor, "block width"],
        log_mass: Float[Tensor, "block attn"],
        gradient: Float[Tensor, "block width"],
        back: Rows,
        x_gradient: Float[Tensor, "block width"],
    ) -> None:
        for segment in segments:
            listed, relation = listed_rows(segment, x), self.relation_of[segment.kind]
            pull = gradient[listed]
            add_outer(grad_of(self.message)[relation], edges.mean(segment, projected[0]), pull)
            pulled = by_head(pull, self.message[relation].detach(), transposed=True)
            edges.mean_backward(segment, pulled, back[0])
        self.own.block_backward(x, kind, gradient, x_gradient)

    def project_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        back: Rows,
        x_gradient: Float[Tensor, "rows width"],
    ) -> None:
        x_gradient.add_(back[0])


CONVOLUTIONS: dict[str, Callable[..., Any]] = {
    "hgt": HgtConvolution,
    "gat": GatConvolution,
    "rgcn": RgcnConvolution,
}


def grad_of(parameter: nn.Parameter) -> Tensor:
    """Its gradient, zero before the first addition."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def listed_rows(segment: Segment, like: Tensor) -> Tensor:
    """The rows of a segment as an index on the device."""
    return torch.from_numpy(segment.rows).long().to(like.device)


def by_head(
    x: Float[Tensor, "rows width"], matrices: Float[Tensor, "attn depth depth"], *, transposed: bool = False
) -> Float[Tensor, "rows width"]:
    """Each head's columns times its matrix, or its transposed matrix."""
    depth, out = matrices.shape[1], torch.empty_like(x)
    for head, matrix in enumerate(matrices):
        columns = slice(head * depth, (head + 1) * depth)
        torch.mm(x[:, columns], matrix.T if transposed else matrix, out=out[:, columns])
    return out


def add_outer(
    matrices: Float[Tensor, "attn depth depth"],
    a: Float[Tensor, "rows width"],
    b: Float[Tensor, "rows width"],
) -> None:
    """Add the sum of outer products of rows to each head's matrix."""
    depth = matrices.shape[1]
    for head, matrix in enumerate(matrices):
        columns = slice(head * depth, (head + 1) * depth)
        matrix.addmm_(a[:, columns].T, b[:, columns])


def heads_dot(
    a: Float[Tensor, "rows width"], b: Float[Tensor, "*rows width"], attn: int
) -> Float[Tensor, "rows attn"]:
    """Products of rows, by head."""
    return (a * b).view(len(a), attn, a.shape[1] // attn).sum(-1)
