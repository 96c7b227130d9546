"""One layer: messages, then each type's update with a learned gate; its backward is written by hand.

    out = gate * (W gelu(messages) + b) + (1 - gate) * x

Rows of the output are made block by block. What the backward pass needs is the input, the messages and a number a row
and head; keys, values and all else are made again. Everything that grows with the graph is a few arrays of rows x width.
Source: Hu et al. 2020, equations 1 to 5.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from corollary.graph.typed_links import TypedLinks
from corollary.learners.hgt.config import HgtConfig
from corollary.learners.hgt.convolution import Block, Convolution, Pull, Sums
from corollary.learners.hgt.edges import Edges
from corollary.learners.hgt.gat_convolution import GatConvolution
from corollary.learners.hgt.hgt_convolution import HgtConvolution
from corollary.learners.hgt.rgcn_convolution import RgcnConvolution
from corollary.learners.hgt.typed_linear import TypedLinear, grad_of
from corollary.learners.layers import Dropout
from corollary.learners.protocol import Place
from corollary.learners.row_storage import RowStorage

CONVOLUTIONS: dict[str, Callable[..., Any]] = {
    "hgt": HgtConvolution,
    "gat": GatConvolution,
    "rgcn": RgcnConvolution,
}


class Saved(NamedTuple):
    """What the backward pass of a layer needs. Bytes: 4 * rows * (width + attn), and the input."""

    x: Float[Tensor, "rows width"]
    messages: Float[Tensor, "rows width"]
    log_mass: Float[Tensor, "rows attn"]


class Layer(nn.Module):
    """Weights of one layer.

    Bytes at the top of a pass, in float32 with C = rows * width * 4: forward the input, the output, the messages if they
    are kept, and the projections (2 C for hgt); backward in addition the projections' gradients (2 C). The gradient of
    the input takes the place of that of the output.
    """

    convolution: Convolution

    def __init__(self, config: HgtConfig, links: TypedLinks, directed: int, seed: int, number: int) -> None:
        """Fresh weights.

        Args:
            directed: relations, each direction counted.
            number: of the layer, from 0.
        """
        super().__init__()
        name, width, types = f"layer {number}", config.hidden_dim, links.nodes.num_types
        self.convolution = CONVOLUTIONS[config.convolution](config, links, directed, seed, name)
        self.update = TypedLinear(seed, f"{name} update", types, width, width)
        self.gate = nn.Parameter(torch.ones(types))
        self.dropout = Dropout(name, config.dropout)

    def forward(
        self, x: Float[Tensor, "rows width"], links: TypedLinks, edges: Edges, place: Place | None = None
    ) -> tuple[Float[Tensor, "rows width"], Saved]:
        """All rows, and what `backward` needs. `place` is for dropout; none without."""
        out = torch.empty_like(x)
        saved = Saved(x, torch.empty_like(x), x.new_empty(len(x), self.convolution.attn))
        for rows, sums, made in self._blocks(x, links, edges, place):
            out[rows], saved.messages[rows], saved.log_mass[rows] = made, *sums
        return out, saved

    def infer(
        self, x: Float[Tensor, "rows width"], links: TypedLinks, edges: Edges, storage: RowStorage
    ) -> Float[Tensor, "rows width"]:
        """All rows, nothing kept; where they lie in mapped files, pages are let go of block by block."""
        out = storage.like(x)
        for rows, _, made in self._blocks(x, links, edges, None):
            out[rows] = made
            storage.drop()
        return out

    def _blocks(
        self, x: Float[Tensor, "rows width"], links: TypedLinks, edges: Edges, place: Place | None
    ) -> Iterator[tuple[slice, Sums, Float[Tensor, "block width"]]]:
        """Rows, messages and output of every block."""
        projected = self.convolution.project(x, links.nodes)
        for number, (kind, rows) in enumerate(links.nodes.blocks(links.block_rows)):
            block = Block(x[rows], kind, rows, list(links.segments(number)), edges)
            sums = self.convolution.messages(block, projected)
            added = self.update.block(gelu(sums.messages), kind)
            mask = self._mask(rows, place, added)
            added = added if mask is None else added.mul_(mask)
            yield rows, sums, torch.lerp(x[rows], added, self.gate[kind].detach().sigmoid())

    def backward(
        self,
        gradient: Float[Tensor, "rows width"],
        saved: Saved,
        links: TypedLinks,
        edges: Edges,
        place: Place | None = None,
    ) -> Float[Tensor, "rows width"]:
        """The gradient of the input, in the memory of `gradient`; those of weights are added to their `.grad`."""
        x, convolution = saved.x, self.convolution
        projected = convolution.project(x, links.nodes)
        back = tuple(torch.zeros_like(part) for part in projected)
        for number, (kind, rows) in enumerate(links.nodes.blocks(links.block_rows)):
            messages, pull = saved.messages[rows], gradient[rows]
            gate = self.gate[kind].detach().sigmoid()
            active = gelu(messages)
            added, mask = self.update.block(active, kind), self._mask(rows, place, x)
            added = added if mask is None else added.mul_(mask)
            slope = (pull * added.sub_(x[rows])).sum() * gate * (1 - gate)
            grad_of(self.gate)[kind].add_(slope)
            through = pull * gate if mask is None else (pull * gate).mul_(mask)
            active_back = torch.zeros_like(active)
            self.update.block_backward(active, kind, through, active_back)
            pull.mul_(1 - gate)
            block = Block(x[rows], kind, rows, list(links.segments(number)), edges)
            sums = Sums(messages, saved.log_mass[rows])
            message_back = active_back.mul_(gelu_slope(messages))
            convolution.messages_backward(block, projected, sums, Pull(message_back, back, pull))
        convolution.project_backward(x, links.nodes, back, gradient)
        return gradient

    def _mask(self, rows: slice, place: Place | None, like: Tensor) -> Tensor | None:
        """Dropout's mask of some rows: a function of the place and the row."""
        return self.dropout.scaled_rows(rows, like.shape[1], place, like=like)


def gelu_slope(x: Tensor) -> Tensor:
    """Derivative of the exact GELU: Phi(x) + x phi(x)."""
    normal = torch.erf(x * 0.5**0.5).add_(1).mul_(0.5)
    return normal.addcmul_(x, (x.square() * -0.5).exp_().mul_(0.3989422804014327))
