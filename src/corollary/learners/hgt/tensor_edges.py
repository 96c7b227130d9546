"""The sums over edges of one segment by tensor code, on any device: some edges at a time, cut between rows, so that arrays
of edges x width stay small whatever the segment."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import leaky_relu

from corollary.graph.typed_links import Segment, TypedLinks
from corollary.learners.hgt.edges import CompiledEdges, Edges, Removed
from corollary.learners.hgt.heads import by_weight, heads_dot

EDGES_PER_CHUNK = 1 << 16
"""Edges at hand at once, where no single row has more."""


def edges_of(links: TypedLinks, removed: Removed, device: torch.device) -> Edges:
    """The way that goes with the device."""
    return CompiledEdges(links, removed) if device.type == "cpu" else TensorEdges(links, removed, device)


class TensorEdges:
    """Any device's way. Sums over edges of a row run in whatever order the device adds in."""

    def __init__(self, links: TypedLinks, removed: Removed, device: torch.device) -> None:
        self._links, self._removed, self._device = links, removed, device

    def attend(
        self,
        segment: Segment,
        query: Tensor,
        projected: tuple[Tensor, ...],
        top: Tensor,
        mass: Tensor,
        *,
        slope: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        keys, values = projected
        gathered, shrink = query.new_zeros(len(query), values.shape[1]), torch.empty_like(top[: len(query)])
        for part, place, source in self._chunks(segment):
            logits = _logits(query[part][place], keys[source], top.shape[1], slope)
            weight, shrink[part] = self._softmax(segment, part, place, logits, top, mass)
            gathered[part] = gathered[part].index_add_(0, place, by_weight(values[source], weight))
        return gathered, shrink

    def attend_backward(
        self,
        segment: Segment,
        query: Tensor,
        gradient: Tensor,
        projected: tuple[Tensor, ...],
        log_mass: Tensor,
        inner: Tensor,
        back: tuple[Tensor, ...],
        *,
        slope: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        attn, (keys, values), (key_gradient, value_gradient) = log_mass.shape[1], projected, back
        gathered, query_gradient = torch.zeros_like(gradient), torch.zeros_like(query)
        targets = torch.from_numpy(segment.rows.astype(np.int64)).to(self._device)
        for part, place, source in self._chunks(segment):
            row, own, grad, key = (
                targets[part][place],
                query[part][place],
                gradient[part][place],
                keys[source],
            )
            logits = _logits(own, key, attn, slope)
            weight = (logits - log_mass[row]).exp()
            steep = weight * (heads_dot(grad, values[source], attn) - inner[row])
            gathered[part] = gathered[part].index_add_(0, place, by_weight(values[source], weight))
            value_gradient.index_add_(0, source, by_weight(grad, weight))
            if slope is None:
                to_query, to_key = by_weight(key, steep), by_weight(own, steep)
            else:
                to_query = to_key = torch.where(logits < 0, slope * steep, steep)
            query_gradient[part] = query_gradient[part].index_add_(0, place, to_query)
            key_gradient.index_add_(0, source, to_key)
        return gathered, query_gradient

    def mean(self, segment: Segment, values: Tensor) -> Tensor:
        out = values.new_zeros(len(segment.rows), values.shape[1])
        for part, place, source in self._chunks(segment):
            out[part] = out[part].index_add_(0, place, values[source]) / _counts(part, place)
        return out

    def mean_backward(self, segment: Segment, gradient: Tensor, value_gradient: Tensor) -> None:
        for part, place, source in self._chunks(segment):
            value_gradient.index_add_(0, source, (gradient[part] / _counts(part, place))[place])

    def _chunks(
        self, segment: Segment
    ) -> Iterator[tuple[slice, Int[Tensor, " edges"], Int[Tensor, " edges"]]]:
        """Rows of the segment, and for each of their edges its row among these and its source."""
        first = 0
        while first < len(segment.rows):
            reach = np.searchsorted(segment.bounds, segment.bounds[first] + EDGES_PER_CHUNK, side="right") - 1
            last = max(first + 1, min(int(reach), len(segment.rows)))
            where = slice(int(segment.bounds[first]), int(segment.bounds[last]))
            place = np.repeat(np.arange(last - first), np.diff(segment.bounds[first : last + 1]))
            source = self._links.sources[where]
            if self._removed is not None:
                kept = self._removed[self._links.edges[where]] == 0
                place, source = place[kept], source[kept]
            to = [torch.from_numpy(a.astype(np.int64)).to(self._device) for a in (place, source)]
            yield slice(first, last), to[0], to[1]
            first = last

    def _softmax(
        self, segment: Segment, part: slice, place: Tensor, logits: Tensor, top: Tensor, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights under the new maximum of each row, and what older sums shrink by."""
        rows = torch.from_numpy(segment.rows[part].astype(np.int64)).to(self._device)
        before = top[rows]
        highest = before.clone().scatter_reduce_(0, place[:, None].expand_as(logits), logits, "amax")
        weight = (logits - highest[place]).exp()
        shrink = (before - highest).exp()
        mass[rows] = (mass[rows] * shrink).index_add_(0, place, weight)
        top[rows] = highest
        return weight, shrink


def _logits(
    own: Float[Tensor, "edges parts"], key: Float[Tensor, "edges parts"], attn: int, slope: float | None
) -> Float[Tensor, "edges attn"]:
    """Products, or a LeakyReLU of sums."""
    return heads_dot(own, key, attn) if slope is None else leaky_relu(own + key, slope)


def _counts(part: slice, place: Int[Tensor, " edges"]) -> Int[Tensor, "rows 1"]:
    """Edges of each row, at least one."""
    return torch.bincount(place, minlength=part.stop - part.start).clamp_(min=1)[:, None]
