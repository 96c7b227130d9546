"""ConvE in evaluation mode, for a query (h, r):

    x = a * [E_h; R_r] + c, u = affine(conv(x)), f = relu(u), z = W f + b, y = affine(z), q = relu(y), s = E q + bias

Batch norms are fixed affine maps, dropout is off. Queries go through in chunks of `CHUNK_ROWS`, each product by chunk, so
that keeping the feature maps f of all queries, or making them again chunk by chunk, gives the same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from corollary.learners.conve import ConvE
from corollary.learners.projection import Maps
from corollary.learners.protocol import Queries
from corollary.losses.workspace import Workspace


class Frozen:
    """A ConvE in evaluation mode: its batch norms as fixed affine maps."""

    def __init__(self, learner: ConvE) -> None:
        assert not learner.training
        self.learner, self.config, self.entities = learner, learner.config, learner.entities
        self.paper = self.config.variant == "paper"
        self.projection = learner.projection.detach()
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

    @property
    def device(self) -> torch.device:
        return self.projection.device

    @property
    def mass(self) -> float:
        """Sum of the labels of a query with one answer."""
        labels = self.learner.labels
        return labels.positive + labels.every * self.entities.num_rows


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
    z: Float[Tensor, "queries dim"]
    """Normalised, before scale and shift."""
    open: Float[Tensor, "queries dim"]
    """1 where the last ReLU passes."""
    q: Float[Tensor, "queries dim"]
    kept: Float[Tensor, "queries features"] | None
    """Feature maps, unless they are made again."""

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        frozen: Frozen,
        queries: Queries,
        workspace: Workspace,
        *,
        keep: bool = True,
        each: Callable[[slice, Tensor], None] | None = None,
    ) -> "Encoded":
        """Encode queries.

        Args:
            keep: hold the feature maps of all of them: queries * features entries in place of one chunk's.
            each: shown every chunk and its feature maps.
        """
        learner, config = frozen.learner, frozen.config
        head, relation = learner.entities.rows(queries.entity_ids), learner.relations[queries.relation_ids]
        maps = Maps(learner.norm_input(learner.stack(head, relation)), config.kernel)
        width = config.channels * maps.patches
        kept = head.new_empty(len(queries), width) if keep else None
        raw = torch.empty_like(head)
        for rows in maps.chunks():
            size = rows.stop - rows.start
            f = workspace.take("maps", head, size, width) if kept is None else kept[rows]
            activate(frozen, maps, rows, f)
            torch.addmm(learner.projection_bias, f, frozen.projection.T, out=raw[rows])
            if each is not None:
                each(rows, f)
        norm = learner.norm_hidden
        z = (raw - _running_mean(norm)) * frozen.hidden_rate
        y = z if norm.weight is None else z * norm.weight + norm.bias
        opened = (y > 0).to(y) if frozen.paper else torch.ones_like(y)
        return cls(queries, maps, z, opened, y * opened, kept)

    def maps_of(
        self, frozen: Frozen, chosen: Int[Tensor, " some"], workspace: Workspace
    ) -> tuple[Maps, Float[Tensor, "some features"]]:
        """Images and feature maps of a few queries, at most `CHUNK_ROWS`."""
        maps = self.maps.select(chosen)
        width = frozen.config.channels * maps.patches
        f = workspace.take("chosen maps", self.q, len(chosen), width)
        if self.kept is not None:
            torch.index_select(self.kept, 0, chosen, out=f)
        else:
            activate(frozen, maps, slice(0, len(chosen)), f)
        return maps, f


def activate(frozen: Frozen, maps: Maps, rows: slice, out: Float[Tensor, "some features"]) -> None:
    """Feature maps of some of the images."""
    channels = frozen.config.channels
    ones = out.new_ones(len(out), channels)
    maps.activate(rows, frozen.scaled, frozen.offset, ones, out.view(len(out), channels, -1))


def with_bias(frozen: Frozen, q: Float[Tensor, "queries dim"]) -> Float[Tensor, "queries width"]:
    """Encoder outputs as the output layer reads them: a one beside them where entities have a bias."""
    return torch.cat([q, torch.ones_like(q[:, :1])], 1) if frozen.config.entity_bias else q
