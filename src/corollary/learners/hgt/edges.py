"""The sums over edges of one segment: by compiled loops on the CPU, by tensor code elsewhere (`tensor_edges`).

Both give the same numbers up to rounding (tests/learners/hgt/test_layer.py).
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from corollary.graph.typed_links import Segment, TypedLinks
from corollary.kernels import hgt, hgt_mean

Removed = np.ndarray | None
"""A byte for each triple, 1 where its edges carry no message; None: all of them do."""
_NOTHING = np.zeros(0, np.uint8)


class Edges(Protocol):
    """What a layer asks of the edges of a segment; arrays as `kernels.hgt` describes them."""

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
        """`gathered` and `shrink`; `top` and `mass` go on running. `projected`: keys and values."""
        ...

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
        """`gathered` (of products alone) and the gradient of the query; those of keys and values are added to `back`."""
        ...

    def mean(self, segment: Segment, values: Tensor) -> Tensor: ...

    def mean_backward(self, segment: Segment, gradient: Tensor, value_gradient: Tensor) -> None: ...


class CompiledEdges:
    """By numba, on the CPU."""

    def __init__(self, links: TypedLinks, removed: Removed) -> None:
        self._links = (links.sources, links.edges, _NOTHING if removed is None else removed)
        self._longest = links.longest

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
        gathered, shrink = query.new_empty(len(query), values.shape[1]), torch.empty_like(top[: len(query)])
        hgt.attend(
            slope, query.numpy(), keys.numpy(), values.numpy(), segment.rows, segment.bounds, *self._links,
            self._longest, top.numpy(), mass.numpy(), gathered.numpy(), shrink.numpy(),
        )  # fmt: skip
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
        (keys, values), (key_gradient, value_gradient) = projected, back
        gathered, query_gradient = torch.empty_like(gradient), torch.empty_like(query)
        hgt.attend_backward(
            slope, query.numpy(), gradient.numpy(), keys.numpy(), values.numpy(), segment.rows, segment.bounds,
            *self._links, log_mass.numpy(), inner.numpy(), gathered.numpy(), query_gradient.numpy(),
            key_gradient.numpy(), value_gradient.numpy(),
        )  # fmt: skip
        return gathered, query_gradient

    def mean(self, segment: Segment, values: Tensor) -> Tensor:
        out = values.new_empty(len(segment.rows), values.shape[1])
        hgt_mean.mean(values.numpy(), segment.bounds, *self._links, out.numpy())
        return out

    def mean_backward(self, segment: Segment, gradient: Tensor, value_gradient: Tensor) -> None:
        hgt_mean.mean_backward(gradient.numpy(), segment.bounds, *self._links, value_gradient.numpy())
