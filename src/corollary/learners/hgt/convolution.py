"""What a convolution is: how the messages into a block of rows are made of their neighbours, and its gradient.

A convolution first projects all rows (keys, values), then takes the segments of one block of rows after the other.
Relation matrices are applied on the side where messages arrive: to the query before, to the sum after the walk over the
edges. So nothing is ever made an edge, and keys and values exist once, not once a relation. The backward pass makes the
logits again; all it needs of the forward pass is each row's log of the sum of exponentials.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.graph.typed_links import Segment, TypedRows
from corollary.kernels.hgt import LOWEST
from corollary.learners.hgt.edges import Edges

Rows = tuple[Tensor, ...]
"""What a convolution makes of all rows before it walks over edges; gradients come in the same shapes."""


class Block(NamedTuple):
    """Some rows of one type, and the edges into them."""

    x: Float[Tensor, "block width"]
    kind: int
    """Node type."""
    rows: slice
    segments: Sequence[Segment]
    edges: Edges

    def listed(self, segment: Segment) -> Int[Tensor, " active"]:
        """The rows of a segment as an index on the device."""
        return torch.from_numpy(segment.rows).long().to(self.x.device)


class Sums(NamedTuple):
    """What came of a block, and the backward pass needs."""

    messages: Float[Tensor, "block width"]
    log_mass: Float[Tensor, "block attn"]
    """Log of each row's sum of exponentials; 0 without a softmax."""


class Pull(NamedTuple):
    """What the backward pass of a block is given, and where it adds its gradients."""

    gradient: Float[Tensor, "block width"]
    """Of the messages."""
    back: Rows
    """Of all that was projected; added to."""
    x: Float[Tensor, "block width"]
    """Of the block's rows; added to."""


class Convolution(Protocol):
    """One way to make messages. Its weights are those of an `nn.Module`; gradients are added to their `.grad`."""

    attn: int

    def project(self, x: Float[Tensor, "rows width"], nodes: TypedRows) -> Rows: ...

    def messages(self, block: Block, projected: Rows) -> Sums:
        """Messages into one block."""
        ...

    def messages_backward(self, block: Block, projected: Rows, sums: Sums, pull: Pull) -> None:
        """Add to the gradients in `pull` and to those of the weights."""
        ...

    def project_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        back: Rows,
        x_gradient: Float[Tensor, "rows width"],
    ) -> None: ...


class RunningSoftmax:
    """Messages into one block under one softmax over all edges of a row, segment after segment.

    `top` is the largest logit so far and `mass` the sum of exponentials below it; a walk over a segment moves both on.
    """

    def __init__(self, block: Block, attn: int) -> None:
        x = block.x
        self._out, self._depth = torch.zeros_like(x), x.shape[1] // attn
        self.top = x.new_full((len(x), attn), LOWEST)
        self.mass = x.new_zeros(len(x), attn)

    def add(
        self,
        listed: Int[Tensor, " active"],
        made: Float[Tensor, "active width"],
        shrink: Float[Tensor, "active attn"],
    ) -> None:
        """Take in what a segment made; what was there shrinks, since `top` has grown."""
        so_far = self._out[listed].mul_(shrink.repeat_interleave(self._depth, 1))
        self._out[listed] = so_far.add_(made)

    def sums(self) -> Sums:
        """Divide; a row without edges has messages of zero. Uses up the sums."""
        mass = self.mass.clamp_(min=torch.finfo(self.mass.dtype).tiny)
        self._out.div_(mass.repeat_interleave(self._depth, 1))
        return Sums(self._out, self.top.add_(mass.log_()))
