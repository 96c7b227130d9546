"""The sums over edges of one segment, by compiled loops on the CPU and by tensor code elsewhere.

Both give the same numbers up to rounding (tests/learners/hgt/test_layer.py). The tensor code goes over some edges at a
time, cut between rows, so that its arrays of edges x width stay small whatever the segment.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.graph.typed_links import Segment, TypedLinks
from corollary.kernels import hgt, hgt_gat, hgt_mean

EDGES_PER_CHUNK = 1 << 16
"""Edges that the tensor code has at hand at once, where no single row has more."""

Removed = np.ndarray | None
"""A byte for each triple, 1 where its edges carry no message; None: all of them do."""
_NOTHING = np.zeros(0, np.uint8)


class Edges(Protocol):
    """What a layer asks of the edges of a segment; arrays as `kernels.hgt` describes them."""

    def attend(
        self, segment: Segment, query: Tensor, keys: Tensor, values: Tensor, top: Tensor, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`gathered` and `shrink`; `top` and `mass` go on running."""
        ...

    def attend_backward(
        self,
        segment: Segment,
        query: Tensor,
        gradient: Tensor,
        keys: Tensor,
        values: Tensor,
        log_mass: Tensor,
        inner: Tensor,
        key_gradient: Tensor,
        value_gradient: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """`gathered` and the gradient of the query; those of keys and values are added up."""
        ...

    def add(
        self, segment: Segment, own: Tensor, other: Tensor, values: Tensor, top: Tensor, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `attend`, with additive attention."""
        ...

    def add_backward(
        self,
        segment: Segment,
        own: Tensor,
        other: Tensor,
        gradient: Tensor,
        values: Tensor,
        log_mass: Tensor,
        inner: Tensor,
        other_gradient: Tensor,
        value_gradient: Tensor,
    ) -> Tensor:
        """The gradient of `own`; those of `other` and the values are added up."""
        ...

    def mean(self, segment: Segment, values: Tensor) -> Tensor: ...

    def mean_backward(self, segment: Segment, gradient: Tensor, value_gradient: Tensor) -> None: ...


def edges_of(links: TypedLinks, removed: Removed, device: torch.device) -> Edges:
    """The way that goes with the device."""
    return CompiledEdges(links, removed) if device.type == "cpu" else TensorEdges(links, removed, device)


class CompiledEdges:
    """By numba, on the CPU."""

    def __init__(self, links: TypedLinks, removed: Removed) -> None:
        self._links = (links.sources, links.edges, _NOTHING if removed is None else removed)
        self._longest = links.longest

    def attend(
        self, segment: Segment, query: Tensor, keys: Tensor, values: Tensor, top: Tensor, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        gathered, shrink = torch.empty_like(query), top.new_empty(len(query), top.shape[1])
        hgt.attend(
            query.numpy(), keys.numpy(), values.numpy(), segment.rows, segment.bounds, *self._links,
            self._longest, top.numpy(), mass.numpy(), gathered.numpy(), shrink.numpy(),
        )  # fmt: skip
        return gathered, shrink

    def attend_backward(
        self,
        segment: Segment,
        query: Tensor,
        gradient: Tensor,
        keys: Tensor,
        values: Tensor,
        log_mass: Tensor,
        inner: Tensor,
        key_gradient: Tensor,
        value_gradient: Tensor,
    ) -> tuple[Tensor, Tensor]:
        gathered, back = torch.empty_like(query), torch.empty_like(query)
        hgt.attend_backward(
            query.numpy(), gradient.numpy(), keys.numpy(), values.numpy(), segment.rows, segment.bounds,
            *self._links, log_mass.numpy(), inner.numpy(), gathered.numpy(), back.numpy(), key_gradient.numpy(),
            value_gradient.numpy(),
        )  # fmt: skip
        return gathered, back

    def add(
        self, segment: Segment, own: Tensor, other: Tensor, values: Tensor, top: Tensor, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        gathered, shrink = values.new_empty(len(own), values.shape[1]), torch.empty_like(own)
        hgt_gat.attend(
            own.numpy(), other.numpy(), values.numpy(), segment.rows, segment.bounds, *self._links, top.numpy(),
            mass.numpy(), gathered.numpy(), shrink.numpy(),
        )  # fmt: skip
        return gathered, shrink

    def add_backward(
        self,
        segment: Segment,
        own: Tensor,
        other: Tensor,
        gradient: Tensor,
        values: Tensor,
        log_mass: Tensor,
        inner: Tensor,
        other_gradient: Tensor,
        value_gradient: Tensor,
    ) -> Tensor:
        back = torch.empty_like(own)
        hgt_gat.attend_backward(
            own.numpy(), other.numpy(), gradient.numpy(), values.numpy(), segment.rows, segment.bounds,
            *self._links, log_mass.numpy(), inner.numpy(), back.numpy(), other_gradient.numpy(),
            value_gradient.numpy(),
        )  # fmt: skip
        return back

    def mean(self, segment: Segment, values: Tensor) -> Tensor:
        out = values.new_empty(len(segment.rows), values.shape[1])
        hgt_mean.mean(values.numpy(), segment.bounds, *self._links, out.numpy())
        return out

    def mean_backward(self, segment: Segment, gradient: Tensor, value_gradient: Tensor) -> None:
        hgt_mean.mean_backward(gradient.numpy(), segment.bounds, *self._links, value_gradient.numpy())


class TensorEdges:
    """By tensor code, on any device. Sums over edges of a row run in whatever order the device adds in."""

    def __init__(self, links: TypedLinks, removed: Removed, device: torch.device) -> None:
        self._links, self._removed, self._device = links, removed, device

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

    def attend(
        self, segment: Segment, query: Tensor, keys: Tensor, values: Tensor, top: Tensor, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        attn = top.shape[1]
        gathered, shrink = torch.zeros_like(query), top.new_empty(len(query), attn)
        for part, place, source in self._chunks(segment):
            logits = _dots(query[part][place], keys[source], attn)
            weight, shrink[part] = self._softmax(segment, part, place, logits, top, mass)
            gathered[part] = gathered[part].index_add_(0, place, _times(values[source], weight))
        return gathered, shrink

    def attend_backward(
        self,
        segment: Segment,
        query: Tensor,
        gradient: Tensor,
        keys: Tensor,
        values: Tensor,
        log_mass: Tensor,
        inner: Tensor,
        key_gradient: Tensor,
        value_gradient: Tensor,
    ) -> tuple[Tensor, Tensor]:
        attn = log_mass.shape[1]
        gathered, back = torch.zeros_like(query), torch.zeros_like(query)
        targets = torch.from_numpy(segment.rows.astype(np.int64)).to(self._device)
        for part, place, source in self._chunks(segment):
            row, own, grad = targets[part][place], query[part][place], gradient[part][place]
            weight = (_dots(own, keys[source], attn) - log_mass[row]).exp()
            slope = weight * (_dots(grad, values[source], attn) - inner[row])
            gathered[part] = gathered[part].index_add_(0, place, _times(values[source], weight))
            back[part] = back[part].index_add_(0, place, _times(keys[source], slope))
            key_gradient.index_add_(0, source, _times(own, slope))
            value_gradient.index_add_(0, source, _times(grad, weight))
        return gathered, back

    def add(
        self, segment: Segment, own: Tensor, other: Tensor, values: Tensor, top: Tensor, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        gathered, shrink = values.new_zeros(len(own), values.shape[1]), torch.empty_like(own)
        for part, place, source in self._chunks(segment):
            logits = torch.nn.functional.leaky_relu(own[part][place] + other[source], hgt_gat.SLOPE)
            weight, shrink[part] = self._softmax(segment, part, place, logits, top, mass)
            gathered[part] = gathered[part].index_add_(0, place, _times(values[source], weight))
        return gathered, shrink

    def add_backward(
        self,
        segment: Segment,
        own: Tensor,
        other: Tensor,
        gradient: Tensor,
        values: Tensor,
        log_mass: Tensor,
        inner: Tensor,
        other_gradient: Tensor,
        value_gradient: Tensor,
    ) -> Tensor:
        back = torch.zeros_like(own)
        targets = torch.from_numpy(segment.rows.astype(np.int64)).to(self._device)
        for part, place, source in self._chunks(segment):
            row, grad = targets[part][place], gradient[part][place]
            raw = own[part][place] + other[source]
            weight = (torch.nn.functional.leaky_relu(raw, hgt_gat.SLOPE) - log_mass[row]).exp()
            slope = weight * (_dots(grad, values[source], own.shape[1]) - inner[row])
            slope = torch.where(raw < 0, hgt_gat.SLOPE * slope, slope)
            back[part] = back[part].index_add_(0, place, slope)
            other_gradient.index_add_(0, source, slope)
            value_gradient.index_add_(0, source, _times(grad, weight))
        return back

    def mean(self, segment: Segment, values: Tensor) -> Tensor:
        out = values.new_zeros(len(segment.rows), values.shape[1])
        for part, place, source in self._chunks(segment):
            counts = torch.bincount(place, minlength=part.stop - part.start).clamp_(min=1)
            out[part] = out[part].index_add_(0, place, values[source]) / counts[:, None]
        return out

    def mean_backward(self, segment: Segment, gradient: Tensor, value_gradient: Tensor) -> None:
        for part, place, source in self._chunks(segment):
            counts = torch.bincount(place, minlength=part.stop - part.start).clamp_(min=1)
            value_gradient.index_add_(0, source, (gradient[part] / counts[:, None])[place])


def _dots(
    a: Float[Tensor, "edges width"], b: Float[Tensor, "edges width"], attn: int
) -> Float[Tensor, "edges attn"]:
    return (a * b).view(len(a), attn, a.shape[1] // attn).sum(-1)


def _times(
    values: Float[Tensor, "edges width"], weight: Float[Tensor, "edges attn"]
) -> Float[Tensor, "edges width"]:
    depth = values.shape[1] // weight.shape[1]
    return (values.view(len(values), weight.shape[1], depth) * weight[..., None]).flatten(1)
