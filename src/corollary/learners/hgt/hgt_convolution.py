"""The attention of the heterogeneous graph transformer. Source: Hu et al. 2020, equations 3 to 5."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from corollary.graph.typed_links import TypedLinks, TypedRows
from corollary.learners.hgt.config import HgtConfig
from corollary.learners.hgt.convolution import Block, Pull, Rows, RunningSoftmax, Sums
from corollary.learners.hgt.heads import add_outer, by_head, heads_dot
from corollary.learners.hgt.typed_linear import TypedLinear, grad_of
from corollary.learners.layers import uniform


class HgtConvolution(nn.Module):
    """Softmax over all edges into a node of (query . key W_r) prior / sqrt(depth); messages are values W'_r.

    Differs from the paper in nothing but the order of products; a relation has its matrices, and a (source type,
    relation, target type) its prior.
    """

    def __init__(self, config: HgtConfig, links: TypedLinks, directed: int, seed: int, name: str) -> None:
        super().__init__()
        width, depth = config.hidden_dim, config.depth
        self.attn, self._root = config.attn, math.sqrt(depth)
        self._relation_of = [kind.relation for kind in links.edge_types]
        self.query, self.key, self.value = (
            TypedLinear(seed, f"{name} {part}", links.nodes.num_types, width, width)
            for part in ("query", "key", "value")
        )
        shape, bound = (directed, config.attn, depth, depth), math.sqrt(3 / depth)
        self.attention = nn.Parameter(uniform(seed, f"{name} attention", *shape, bound=bound))
        self.message = nn.Parameter(uniform(seed, f"{name} message", *shape, bound=bound))
        self.prior = nn.Parameter(torch.ones(len(links.edge_types), config.attn))

    def project(self, x: Float[Tensor, "rows width"], nodes: TypedRows) -> Rows:
        return self.key.rows(x, nodes), self.value.rows(x, nodes)

    def _matrices(
        self, kind: int
    ) -> tuple[int, Float[Tensor, "attn depth depth"], Float[Tensor, "attn depth depth"]]:
        """Relation of an edge type, with its matrices of attention and message."""
        relation = self._relation_of[kind]
        return relation, self.attention[relation].detach(), self.message[relation].detach()

    def _scale(self, kind: int, width: int) -> Float[Tensor, " width"]:
        """Prior over the root of the depth, for every column."""
        return (self.prior[kind].detach() / self._root).repeat_interleave(width // self.attn)

    def messages(self, block: Block, projected: Rows) -> Sums:
        query, running = self.query.block(block.x, block.kind), RunningSoftmax(block, self.attn)
        for segment in block.segments:
            listed, (_, attention, message) = block.listed(segment), self._matrices(segment.kind)
            asked = by_head(query[listed], attention, transposed=True)
            asked.mul_(self._scale(segment.kind, query.shape[1]))
            gathered, shrink = block.edges.attend(segment, asked, projected, running.top, running.mass)
            running.add(listed, by_head(gathered, message), shrink)
        return running.sums()

    def messages_backward(self, block: Block, projected: Rows, sums: Sums, pull: Pull) -> None:
        query, query_back = self.query.block(block.x, block.kind), torch.zeros_like(block.x)
        inner = heads_dot(sums.messages, pull.gradient, self.attn)
        for segment in block.segments:
            listed, (relation, attention, message) = block.listed(segment), self._matrices(segment.kind)
            own, grad, scale = query[listed], pull.gradient[listed], self._scale(segment.kind, query.shape[1])
            raw = by_head(own, attention, transposed=True)
            gathered, asked_back = block.edges.attend_backward(
                segment, raw * scale, by_head(grad, message, transposed=True), projected, sums.log_mass, inner, pull.back
            )  # fmt: skip
            add_outer(grad_of(self.message)[relation], gathered, grad)
            slopes = heads_dot(raw, asked_back, self.attn).sum(0) / self._root
            grad_of(self.prior)[segment.kind].add_(slopes)
            asked_back.mul_(scale)
            add_outer(grad_of(self.attention)[relation], asked_back, own)
            query_back[listed] += by_head(asked_back, attention)
        self.query.block_backward(block.x, block.kind, query_back, pull.x)

    def project_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        back: Rows,
        x_gradient: Float[Tensor, "rows width"],
    ) -> None:
        self.key.rows_backward(x, nodes, back[0], x_gradient)
        self.value.rows_backward(x, nodes, back[1], x_gradient)
