"""The entity table: one vector, and perhaps one bias, for every entity, with gradient and optimiser state.

It is not an `nn.Parameter` that any code may index. Everything outside asks for three things: rows by id, blocks
to sweep, an update of the blocks. So the rows can lie in memory, in a mapped file, or be cut over processes.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.learners.protocol import UpdateRule
from corollary.losses.one_to_all import Block
from corollary.randomness import generator


class EntityTable:
    """Rows of the table in memory, cut into fixed blocks of `block_rows`.

    Bytes in float32: 4 * rows * (dim + bias) for the weights, the same for the gradient once training starts, and
    the same for each moment of the optimiser and for an average of the weights.
    """

    def __init__(
        self, num_rows: int, dim: int, *, bias: bool, block_rows: int, device: torch.device | str
    ) -> None:
        self.num_rows, self.dim, self.block_rows = num_rows, dim, block_rows
        self.parts: dict[str, Tensor] = {"weight": torch.zeros(num_rows, dim, device=device)}
        if bias:
            self.parts["bias"] = torch.zeros(num_rows, device=device)
        self._gradients: dict[str, Tensor] = {}
        self._fresh = True
        self._states: dict[str, dict[str, Tensor]] = {}

    @property
    def device(self) -> torch.device:
        return self.parts["weight"].device

    def initialise(self, seed: int, std: float) -> None:
        """Normal rows, bias zero. Block by block, so that how the table is cut changes nothing."""
        for number, rows in enumerate(self.block_slices()):
            values = generator(seed, "entities", number).standard_normal(
                (rows.stop - rows.start, self.dim), np.float32
            )
            self.parts["weight"][rows] = torch.from_numpy(values * np.float32(std))

    def block_slices(self) -> list[slice]:
        """The fixed blocks, in the order in which every sum over entities runs."""
        return [
            slice(start, min(start + self.block_rows, self.num_rows))
            for start in range(0, self.num_rows, self.block_rows)
        ]

    def rows(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n dim"]:
        """Rows by id; while gradients are recorded, theirs go into the table's own gradient."""
        fetched = self.parts["weight"].index_select(0, ids)
        if torch.is_grad_enabled() and self._gradients:
            fetched.requires_grad_()
            fetched.register_hook(lambda gradient: self._add_rows(ids, gradient))
        return fetched

    def _add_rows(self, ids: Int[Tensor, " n"], gradient: Float[Tensor, "n dim"]) -> None:
        assert not self._fresh, "the loss sweeps the blocks before head rows are added"
        self._gradients["weight"].index_add_(0, ids, gradient)

    def block(self, rows: slice) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, " rows"] | None]:
        """Weights and biases of consecutive rows, as views."""
        bias = self.parts.get("bias")
        return self.parts["weight"][rows], None if bias is None else bias[rows]

    def blocks(self) -> Iterator[Block]:
        """Every block with the place of its gradient; the caller writes or, when not `fresh`, adds to all of them."""
        fresh, self._fresh = self._fresh, False
        for rows in self.block_slices():
            weight, bias = self.block(rows)
            yield Block(
                rows.start,
                weight,
                bias,
                self._gradients["weight"][rows] if self._gradients else None,
                self._gradients["bias"][rows] if self._gradients and bias is not None else None,
                fresh,
            )

    def prepare_training(self, rule: UpdateRule) -> None:
        """Allocate the gradient and the optimiser's state."""
        self._gradients = {name: torch.zeros_like(part) for name, part in self.parts.items()}
        self._states = {name: rule.state(part) for name, part in self.parts.items()}

    def squared_gradient_norm(self) -> Float[Tensor, ""]:
        """Sum of squares of the gradient, block by block in order."""
        total = torch.zeros((), device=self.device)
        for rows in self.block_slices():
            for gradient in self._gradients.values():
                total += gradient[rows].square().sum()
        return total

    def update(self, rule: UpdateRule, *, step: int, lr: float, factor: Tensor | None = None) -> None:
        """One optimiser step over all blocks; the gradient is used up. `factor` scales it first (clipping)."""
        for rows in self.block_slices():
            for name, part in self.parts.items():
                gradient = self._gradients[name][rows]
                if factor is not None:
                    gradient.mul_(factor)
                state = {moment: values[rows] for moment, values in self._states[name].items()}
                rule.update(part[rows], gradient, state, step=step, lr=lr)
        self._fresh = True

    @property
    def moments(self) -> dict[str, Tensor]:
        """State of the optimiser, whole, named `part.moment`; empty before training."""
        return {f"{name}.{m}": state for name, states in self._states.items() for m, state in states.items()}
