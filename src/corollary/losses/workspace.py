"""Where the large arrays of a training step live, and how their products are made.

Fresh large allocations cost more than the arithmetic on them (page faults), so buffers are kept between steps. Products
run in the precision of the training; everything between them is float32 whatever the precision.
"""

from typing import Literal

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16", "fp16"]
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Workspace:
    """Buffers by name, and matrix products.

    `precision` is of the products' factors: their sums, and all tensors, stay float32. On the CPU bf16 is what
    oneDNN does inside a float32 product; elsewhere the factors are cast. fp16 needs a loss scaler (`training.scaling`).
    """

    def __init__(self, precision: Precision = "fp32") -> None:
        self.precision: Precision = precision
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """An uninitialised contiguous tensor of this shape, of the type and device of `like`."""
        size = 1
        for length in shape:
            size *= length
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size or buffer.dtype != like.dtype or buffer.device != like.device:
            buffer = self._buffers[name] = torch.empty(size, dtype=like.dtype, device=like.device)
        return buffer[:size].view(shape)

    def lend(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """As `take`, but no other call gets this buffer until it is given back with `restore`."""
        lent = self.take(name, like, *shape)
        del self._buffers[name]
        return lent

    def restore(self, name: str, lent: Tensor) -> None:
        """Give back what was lent; a buffer that never comes back is simply freed with its last use."""
        self._buffers[name] = lent.view(-1)

    def release(self) -> None:
        """Free every buffer that is not lent; the next step makes them anew."""
        self._buffers.clear()

    def product(self, a: Tensor, b: Tensor, out: Tensor, *, add: Tensor | None = None) -> Tensor:
        """out = a @ b, plus `add` (a row, or `out` itself), with float32 sums."""
        if self.precision == "fp32" or a.dtype == torch.float64:
            return _product(a, b, out, add)
        if a.device.type == "cpu" and self.precision == "bf16":
            setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
            before, setting.fp32_precision = setting.fp32_precision, "bf16"
            try:
                return _product(a, b, out, add)
            finally:
                setting.fp32_precision = before
        half = _HALF[self.precision]
        found = (a.to(half) @ b.to(half)).to(out.dtype)
        return torch.add(found, add, out=out) if add is not None else out.copy_(found)


def _product(a: Tensor, b: Tensor, out: Tensor, add: Tensor | None) -> Tensor:
    return torch.mm(a, b, out=out) if add is None else torch.addmm(add, a, b, out=out)
