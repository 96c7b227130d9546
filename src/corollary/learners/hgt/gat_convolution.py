"""Additive attention with the same machinery, to compare. Sources: Veličković et al. 2018, "Graph attention networks"; a
bias of the edge type as in Lv et al. 2021."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from corollary.graph.typed_links import TypedLinks, TypedRows
from corollary.learners.hgt.config import HgtConfig
from corollary.learners.hgt.convolution import Block, Pull, Rows, RunningSoftmax, Sums
from corollary.learners.hgt.heads import heads_dot
from corollary.learners.hgt.typed_linear import TypedLinear, grad_of
from corollary.learners.layers import uniform

SLOPE = 0.2
"""Of the LeakyReLU below zero."""


class GatConvolution(nn.Module):
    """Softmax over all edges into a node of LeakyReLU(a . value + b . neighbour's value + c_edge type)."""

    def __init__(self, config: HgtConfig, links: TypedLinks, directed: int, seed: int, name: str) -> None:
        super().__init__()
        width, types = config.hidden_dim, links.nodes.num_types
        self.attn = config.attn
        self.value = TypedLinear(seed, f"{name} value", types, width, width)
        self.own, self.other = (
            nn.Parameter(uniform(seed, f"{name} {part}", types, width, bound=config.depth**-0.5))
            for part in ("own", "other")
        )
        self.offset = nn.Parameter(torch.zeros(len(links.edge_types), config.attn))

    def project(self, x: Float[Tensor, "rows width"], nodes: TypedRows) -> Rows:
        """The neighbour's number, then its value."""
        values, other = self.value.rows(x, nodes), x.new_empty(len(x), self.attn)
        for kind, rows in nodes.blocks():
            other[rows] = heads_dot(values[rows], self.other[kind].detach(), self.attn)
        return other, values

    def _asked(self, block: Block, values: Float[Tensor, "rows width"]) -> Float[Tensor, "block attn"]:
        return heads_dot(values[block.rows], self.own[block.kind].detach(), self.attn)

    def messages(self, block: Block, projected: Rows) -> Sums:
        own, running = self._asked(block, projected[1]), RunningSoftmax(block, self.attn)
        for segment in block.segments:
            listed = block.listed(segment)
            asked = own[listed] + self.offset[segment.kind].detach()
            gathered, shrink = block.edges.attend(
                segment, asked, projected, running.top, running.mass, slope=SLOPE
            )
            running.add(listed, gathered, shrink)
        return running.sums()

    def messages_backward(self, block: Block, projected: Rows, sums: Sums, pull: Pull) -> None:
        own = self._asked(block, projected[1])
        inner = heads_dot(sums.messages, pull.gradient, self.attn)
        own_back = torch.zeros_like(own)
        for segment in block.segments:
            listed = block.listed(segment)
            asked = own[listed] + self.offset[segment.kind].detach()
            _, slopes = block.edges.attend_backward(
                segment, asked, pull.gradient[listed], projected, sums.log_mass, inner, pull.back, slope=SLOPE
            )
            own_back[listed] += slopes
            grad_of(self.offset)[segment.kind].add_(slopes.sum(0))
        self._values_back(self.own, block.kind, projected[1][block.rows], own_back, pull.back[1][block.rows])

    def project_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        back: Rows,
        x_gradient: Float[Tensor, "rows width"],
    ) -> None:
        for kind, rows in nodes.blocks():
            values = self.value.block(x[rows], kind)
            self._values_back(self.other, kind, values, back[0][rows], back[1][rows])
        self.value.rows_backward(x, nodes, back[1], x_gradient)

    def _values_back(
        self,
        weight: nn.Parameter,
        kind: int,
        values: Float[Tensor, "block width"],
        gradient: Float[Tensor, "block attn"],
        back: Float[Tensor, "block width"],
    ) -> None:
        """Gradients of a type's weight and of the values it was multiplied with."""
        wide = gradient.repeat_interleave(values.shape[1] // self.attn, 1)
        grad_of(weight)[kind].add_((wide * values).sum(0))
        back.addcmul_(wide, weight[kind].detach())
