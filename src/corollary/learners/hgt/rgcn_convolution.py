"""Means by relation with the same machinery, to compare. Source: Schlichtkrull et al. 2018, "Modeling relational data with
graph convolutional networks", block-diagonal."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from corollary.graph.typed_links import TypedLinks, TypedRows
from corollary.learners.hgt.config import HgtConfig
from corollary.learners.hgt.convolution import Block, Pull, Rows, Sums
from corollary.learners.hgt.heads import add_outer, by_head
from corollary.learners.hgt.typed_linear import TypedLinear, grad_of
from corollary.learners.layers import uniform


class RgcnConvolution(nn.Module):
    """Sum over relations of the mean neighbour times a block-diagonal matrix of the relation, and the node's own map."""

    def __init__(self, config: HgtConfig, links: TypedLinks, directed: int, seed: int, name: str) -> None:
        super().__init__()
        width, depth = config.hidden_dim, config.depth
        self.attn, self._relation_of = config.attn, [kind.relation for kind in links.edge_types]
        self.own = TypedLinear(seed, f"{name} own", links.nodes.num_types, width, width)
        shape, bound = (directed, config.attn, depth, depth), math.sqrt(3 / depth)
        self.message = nn.Parameter(uniform(seed, f"{name} message", *shape, bound=bound))

    def project(self, x: Float[Tensor, "rows width"], nodes: TypedRows) -> Rows:
        return (x,)

    def messages(self, block: Block, projected: Rows) -> Sums:
        out = self.own.block(block.x, block.kind)
        for segment in block.segments:
            matrices = self.message[self._relation_of[segment.kind]].detach()
            out[block.listed(segment)] += by_head(block.edges.mean(segment, projected[0]), matrices)
        return Sums(out, out.new_zeros(len(out), self.attn))

    def messages_backward(self, block: Block, projected: Rows, sums: Sums, pull: Pull) -> None:
        for segment in block.segments:
            grad, relation = pull.gradient[block.listed(segment)], self._relation_of[segment.kind]
            add_outer(grad_of(self.message)[relation], block.edges.mean(segment, projected[0]), grad)
            pulled = by_head(grad, self.message[relation].detach(), transposed=True)
            block.edges.mean_backward(segment, pulled, pull.back[0])
        self.own.block_backward(block.x, block.kind, pull.gradient, pull.x)

    def project_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        back: Rows,
        x_gradient: Float[Tensor, "rows width"],
    ) -> None:
        x_gradient.add_(back[0])
