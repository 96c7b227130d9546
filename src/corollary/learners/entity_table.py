"""The entity table: one vector, and perhaps one bias, for every entity, with its optimiser state.

It is not an `nn.Parameter` that any code may index. Everything outside asks for three things: rows by id, blocks
to sweep, an update of the blocks. So the rows can lie on the device, in host memory or in mapped files
(`row_storage`), or be cut over processes.

Three ways to train it. In one a whole gradient is kept beside the table: what clipping, several batches a step and a
loss scaler need. In the other no such gradient exists: a 1-N loss gives every entity a gradient, and the sweep that
makes it for a block updates the block at once. Only the rows that the batch looked up as heads, at most one a query,
have to wait for the gradient that comes back through the encoder: they are put aside and updated last. Equal to
dense training over several steps in float64 (tests/learners/test_sweep.py). The third is for a loss that reads only
some rows (sampled negatives): their gradient is gathered, each id once, and all other rows stay as they are. Which of
the three is used follows from what is asked, never from the memory at hand.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.learners.planning import ROW_FILE_BLOCKS
from corollary.learners.protocol import Files, UpdateRule
from corollary.learners.row_storage import RowStorage
from corollary.losses.one_to_all import Block
from corollary.randomness import generator


class EntityTable:
    """Rows of the table, cut into fixed blocks of `block_rows`.

    Bytes in float32, wherever the rows live: 4 * rows * (dim + bias) for the weights, the same for each moment of the
    optimiser (4 * rows where it is one number a row), for an average of the weights, and for a gradient that is kept
    whole.

    Args:
        sampled: losses name the rows that they read, with `gathered` and `add_gradient`; only those are updated.
    """

    def __init__(
        self,
        num_rows: int,
        dim: int,
        *,
        bias: bool,
        block_rows: int,
        device: torch.device | str = "cpu",
        storage: RowStorage | None = None,
        sampled: bool = False,
    ) -> None:
        self.num_rows, self.dim, self.block_rows, self.sampled = num_rows, dim, block_rows, sampled
        self.storage = storage or RowStorage(device)
        self.parts: dict[str, Tensor] = {"weight": self.storage.allocate(num_rows, dim)}
        if bias:
            self.parts["bias"] = self.storage.allocate(num_rows)
        self._gradients: dict[str, Tensor] = {}
        self._states: dict[str, dict[str, Tensor]] = {}
        self._fresh = True
        self._in_sweep: _UpdateInSweep | None = None
        self._touched: _TouchedRows | None = None

    @property
    def device(self) -> torch.device:
        return self.storage.device

    def initialise(self, seed: int, std: float) -> None:
        """Normal rows, bias zero. Block by block, so that how the table is cut changes nothing."""
        for number, rows in enumerate(self.block_slices()):
            values = generator(seed, "entities", number).standard_normal(
                (rows.stop - rows.start, self.dim), np.float32
            )
            block = self.storage.fetch(self.parts["weight"], rows)
            block.copy_(torch.from_numpy(values * np.float32(std)))
            self.storage.store(self.parts["weight"], rows, block)

    def block_slices(self) -> list[slice]:
        """The fixed blocks, in the order in which every sum over entities runs."""
        return [
            slice(start, min(start + self.block_rows, self.num_rows))
            for start in range(0, self.num_rows, self.block_rows)
        ]

    @property
    def starts(self) -> list[int]:
        """First row of every block."""
        return [rows.start for rows in self.block_slices()]

    def rows(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n dim"]:
        """Rows by id; while training and recording gradients, theirs go into the table's own gradient."""
        fetched = self.storage.gather(self.parts["weight"], ids)
        if torch.is_grad_enabled() and (self._gradients or self._in_sweep or self._touched):
            if self._in_sweep is not None:
                self._in_sweep.put_aside(ids, fetched)
            fetched.requires_grad_()
            fetched.register_hook(lambda gradient: self._add_rows(ids, gradient))
        return fetched

    def gathered(self, ids: Int[Tensor, " n"]) -> tuple[Float[Tensor, "n dim"], Float[Tensor, " n"] | None]:
        """Copies of weights and biases by id; their gradient is given back with `add_gradient`."""
        found = {name: self.storage.gather(part, ids) for name, part in self.parts.items()}
        return found["weight"], found.get("bias")

    def add_gradient(
        self, ids: Int[Tensor, " n"], weight: Float[Tensor, "n dim"], bias: Float[Tensor, " n"] | None
    ) -> None:
        """Take in the gradient of rows that were gathered, each given once. Nothing to do before training."""
        if self._touched is not None:
            self._touched.add("weight", ids, weight)
            if bias is not None:
                self._touched.add("bias", ids, bias)

    def _add_rows(self, ids: Int[Tensor, " n"], gradient: Float[Tensor, "n dim"]) -> None:
        if self._touched is not None:
            self._touched.add("weight", *_summed(ids, gradient))
            return
        assert not self._fresh, "the loss sweeps the blocks before head rows are added"
        if self._in_sweep is not None:
            self._in_sweep.add(ids, gradient)
        else:
            home = self.storage.home
            self._gradients["weight"].index_add_(0, ids.to(home), gradient.to(home))

    def block(self, rows: slice) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, " rows"] | None]:
        """Weights and biases of consecutive rows, on the device."""
        found = self._fetch(self.parts, rows)
        return found["weight"], found.get("bias")

    def sweep(self, *, gradient: bool) -> Iterator[Block]:
        """Every block in order; with `gradient`, what the caller wrote into one is taken in when it asks for the next.

        The caller overwrites the gradient of a block that is `fresh`, and adds to it elsewhere.
        """
        for rows in self.block_slices():
            parts = self._fetch(self.parts, rows)
            if self._in_sweep is not None:
                gradients = self._in_sweep.places(rows) if gradient else {}
            else:
                gradients = self._fetch(self._gradients, rows) if gradient else {}
            yield Block(
                rows.start, parts["weight"], parts.get("bias"), gradients.get("weight"), gradients.get("bias"),
                self._fresh,
            )  # fmt: skip
            if self._in_sweep is not None and gradient:
                self._in_sweep.update_block(rows, parts, gradients)
            else:
                self._store(self._gradients, rows, gradients)
        self._fresh = self._fresh and not gradient

    def prepare_training(self, rule: UpdateRule, *, in_sweep: bool = False) -> None:
        """Allocate the optimiser's state, and a whole gradient unless blocks are to be updated in the sweep.

        A sampled table needs neither: its gradient is that of the rows which a step names.
        """
        self._states = {
            name: {
                moment: self.storage.allocate(self.num_rows, *one.shape[1:], dtype=one.dtype)
                for moment, one in rule.state(part[:1]).items()
            }
            for name, part in self.parts.items()
        }
        if self.sampled:
            self._touched = _TouchedRows(self)
        elif in_sweep:
            self._in_sweep = _UpdateInSweep(self, rule)
        else:
            self._gradients = {name: self.storage.like(part) for name, part in self.parts.items()}

    def begin_step(self, *, step: int, lr: float) -> None:
        """Say which optimiser step the next sweep belongs to, for blocks that are updated in the sweep."""
        if self._in_sweep is not None:
            self._in_sweep.begin(step=step, lr=lr)

    def squared_gradient_norm(self) -> Float[Tensor, ""]:
        """Sum of squares of the whole gradient, block by block in order."""
        total = torch.zeros((), device=self.device)
        if self._touched is not None:
            return sum((gradient.square().sum() for _, _, gradient in self._touched.merged()), total)
        for rows in self.block_slices():
            for gradient in self._fetch(self._gradients, rows).values():
                total += gradient.square().sum()
        return total

    def forget_gradient(self) -> None:
        """Use up a whole gradient without an update."""
        assert self._in_sweep is None
        self._fresh = True
        if self._touched is not None:
            self._touched.forget()

    def update(self, rule: UpdateRule, *, step: int, lr: float, factor: Tensor | None = None) -> None:
        """Finish an optimiser step: over all blocks, over the rows that were put aside in the sweep, or over those named.

        A whole gradient is used up; `factor` scales it first (clipping).
        """
        self._fresh = True
        if self._touched is not None:
            self._touched.update(rule, step=step, lr=lr, factor=factor)
            return
        if self._in_sweep is not None:
            assert factor is None, "a gradient that does not exist as a whole cannot be scaled"
            self._in_sweep.update_aside()
            return
        for rows in self.block_slices():
            parts, gradients = self._fetch(self.parts, rows), self._fetch(self._gradients, rows)
            if factor is not None:
                for gradient in gradients.values():
                    gradient.mul_(factor)
            self.update_block(rule, rows, parts, gradients, step=step, lr=lr)

    def update_block(
        self,
        rule: UpdateRule,
        rows: slice,
        parts: dict[str, Tensor],
        gradients: dict[str, Tensor],
        *,
        step: int,
        lr: float,
        keep: Int[Tensor, " kept"] | None = None,
    ) -> None:
        """One optimiser step of one block, whose weights have been fetched; `keep` are rows that stay as they are."""
        for name, part in parts.items():
            state = self._fetch(self._states[name], rows)
            spared = [part, *state.values()] if keep is not None and name == "weight" else []
            before = [array[keep] for array in spared]
            rule.update(part, gradients[name], state, step=step, lr=lr)
            for array, values in zip(spared, before, strict=True):
                array[keep] = values
            self._store(self._states[name], rows, state)
        self._store(self.parts, rows, parts)

    def update_gathered(
        self,
        rule: UpdateRule,
        ids: Int[Tensor, " n"],
        gradient: Float[Tensor, "n *dim"],
        *,
        step: int,
        lr: float,
        part: str = "weight",
    ) -> None:
        """One optimiser step of the weights, or the biases, of single rows, each given once."""
        storage, weight, states = self.storage, self.parts[part], self._states[part]
        rows = storage.gather(weight, ids)
        state = {name: storage.gather(values, ids) for name, values in states.items()}
        rule.update(rows, gradient, state, step=step, lr=lr)
        storage.scatter(weight, ids, rows)
        for name, values in state.items():
            storage.scatter(states[name], ids, values)

    @property
    def moments(self) -> dict[str, Tensor]:
        """State of the optimiser, whole, named `part.moment`; empty before training."""
        return {f"{name}.{m}": state for name, states in self._states.items() for m, state in states.items()}

    def files(self) -> Files:
        """The rows, for a checkpoint."""
        return self.row_files(self.parts)

    def row_files(self, values: Mapping[str, Tensor], prefix: str = "") -> Files:
        """`PREFIXentities-0000000.safetensors`, ...: some whole blocks each, named by the first row.

        Args:
            values: tensors with a row an entity, stored as the table is: its parts, moments, or an average of them.
        """
        step = ROW_FILE_BLOCKS * self.block_rows
        for start in range(0, self.num_rows, step):
            rows = slice(start, start + step)
            views = {name: self.storage.view(value, rows) for name, value in values.items()}
            yield f"{prefix}entities-{start:07d}.safetensors", views

    def _fetch(self, arrays: dict[str, Tensor], rows: slice) -> dict[str, Tensor]:
        return {name: self.storage.fetch(array, rows) for name, array in arrays.items()}

    def _store(self, arrays: dict[str, Tensor], rows: slice, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.storage.store(arrays[name], rows, value)


class _UpdateInSweep:
    """One optimiser step that is made while the sweep goes by.

    `_ids` are the rows looked up as heads, sorted, each once; `_gradient` is theirs, first from the sweep, then from
    the encoder too.
    """

    def __init__(self, table: EntityTable, rule: UpdateRule) -> None:
        self._table, self._rule = table, rule
        rows = min(table.block_rows, table.num_rows)
        self._buffers = {
            name: torch.empty(rows, *part.shape[1:], dtype=part.dtype, device=table.device)
            for name, part in table.parts.items()
        }
        self._step, self._lr = 0, 0.0
        self._ids: Tensor | None = None

    def begin(self, *, step: int, lr: float) -> None:
        self._step, self._lr, self._ids = step, lr, None

    def put_aside(self, ids: Int[Tensor, " n"], like: Float[Tensor, "n dim"]) -> None:
        """Rows that the sweep must not update, for more gradient will come."""
        assert self._step, "begin_step comes before the loss"
        assert self._ids is None, "one batch a step: several need a whole gradient"
        self._ids = torch.unique(ids)
        bounds = torch.tensor([*self._table.starts, self._table.num_rows], device=ids.device)
        self._cuts = torch.searchsorted(self._ids, bounds).tolist()
        self._gradient = like.new_zeros(len(self._ids), self._table.dim)

    def places(self, rows: slice) -> dict[str, Tensor]:
        return {name: buffer[: rows.stop - rows.start] for name, buffer in self._buffers.items()}

    def update_block(self, rows: slice, parts: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        """Update a block but for the rows put aside, whose gradient is kept."""
        number = rows.start // self._table.block_rows
        assert self._ids is not None, "a sweep with gradients follows a look-up of heads"
        part = slice(self._cuts[number], self._cuts[number + 1])
        inside = self._ids[part] - rows.start
        self._gradient[part] = gradients["weight"][inside]
        self._table.update_block(
            self._rule, rows, parts, gradients, step=self._step, lr=self._lr, keep=inside
        )

    def add(self, ids: Int[Tensor, " n"], gradient: Float[Tensor, "n dim"]) -> None:
        """The encoder's part of the gradient."""
        assert self._ids is not None
        self._gradient.index_add_(0, torch.searchsorted(self._ids, ids), gradient)

    def update_aside(self) -> None:
        """Update the rows that were put aside; the step is finished."""
        assert self._ids is not None
        self._table.update_gathered(self._rule, self._ids, self._gradient, step=self._step, lr=self._lr)
        self._ids = None


class _TouchedRows:
    """The gradient of the rows that the batches of one step named; all others stay as they are.

    Pieces are kept as they come, each id once in a piece, and added up in that order when the step ends.
    """

    def __init__(self, table: EntityTable) -> None:
        self._table = table
        self._pieces: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def add(self, part: str, ids: Int[Tensor, " n"], gradient: Float[Tensor, "n *dim"]) -> None:
        self._pieces.setdefault(part, []).append((ids, gradient))

    def merged(self) -> Iterator[tuple[str, Int[Tensor, " n"], Float[Tensor, "n *dim"]]]:
        """For each part the rows named, ascending, each once, and their gradient."""
        for part, pieces in self._pieces.items():
            if len(pieces) > 1:
                ids = torch.cat([ids for ids, _ in pieces]).unique()
                total = pieces[0][1].new_zeros(len(ids), *pieces[0][1].shape[1:])
                while pieces:
                    named, gradient = pieces.pop(0)
                    total.index_add_(0, torch.searchsorted(ids, named), gradient)
                pieces.append((ids, total))
            yield part, *pieces[0]

    def forget(self) -> None:
        self._pieces.clear()

    def update(self, rule: UpdateRule, *, step: int, lr: float, factor: Tensor | None) -> None:
        """Update the rows named, some at a time, and use their gradient up."""
        for part, ids, gradient in self.merged():
            if factor is not None:
                gradient.mul_(factor)
            for start in range(0, len(ids), self._table.block_rows):
                rows = slice(start, start + self._table.block_rows)
                self._table.update_gathered(rule, ids[rows], gradient[rows], step=step, lr=lr, part=part)
        self.forget()


def _summed(
    ids: Int[Tensor, " n"], gradient: Float[Tensor, "n dim"]
) -> tuple[Int[Tensor, " each"], Float[Tensor, "each dim"]]:
    """Each id once, ascending, with the sum of its gradients, in an order that does not depend on threads."""
    order = ids.argsort(stable=True)
    each, counts = torch.unique_consecutive(ids[order], return_counts=True)
    return each, torch.segment_reduce(gradient[order], "sum", lengths=counts)
