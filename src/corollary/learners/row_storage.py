"""Where the rows of an entity table live: on the device, in host memory beside it, or in memory-mapped files.

The table asks for an array once and then takes rows of it to the device and gives them back. On its own device that
is a view and nothing moves; from elsewhere rows are copied, block by block. The numbers are the same bytes everywhere.
"""

import errno
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from corollary.budget import MIB, show_bytes
from corollary.errors import StorageError

Living = Literal["device", "host", "disk"]
WINDOW_BYTES = 48 * MIB
"""Mapped pages touched before they are dropped from memory; 24 MiB and 96 MiB were not faster (measured)."""
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of Linux 5.14, not among Python 3.11's names


class RowStorage:
    """Arrays whose first axis is entities.

    Resident memory: `device` and `host` all of it; `disk` at most `WINDOW_BYTES` and the block in use, since a page
    of a mapped file that is dropped keeps its content in the file.
    """

    def __init__(
        self, device: torch.device | str = "cpu", place: Living = "device", folder: Path | None = None
    ) -> None:
        assert (folder is not None) == (place == "disk")
        self.device, self.place, self.folder = torch.device(device), place, folder
        self._files: dict[int, tuple[int, mmap.mmap]] = {}
        self._touched = 0

    @property
    def home(self) -> torch.device:
        """The device that the arrays are tensors of."""
        return self.device if self.place == "device" else torch.device("cpu")

    def allocate(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """An array of zeros. Raises `StorageError` where the disk has no room for it."""
        if self.folder is None:
            return torch.zeros(shape, dtype=dtype, device=self.home)
        size = dtype.itemsize
        for length in shape:
            size *= length
        file, mapped = _map(self.folder, max(size, 1))
        array = torch.frombuffer(mapped, dtype=dtype, count=size // dtype.itemsize).view(shape)
        self._files[array.data_ptr()] = (file, mapped)
        weakref.finalize(self, os.close, file)
        return array

    def another(self) -> "RowStorage":
        """An empty one of the same place; its files go with it."""
        return RowStorage(self.device, self.place, self.folder)

    def like(self, array: Tensor) -> Tensor:
        """An array of zeros of the same shape and type."""
        return self.allocate(*array.shape, dtype=array.dtype)

    def view(self, array: Shaped[Tensor, "rows *rest"], rows: slice) -> Shaped[Tensor, "some *rest"]:
        """Consecutive rows where they live."""
        found = array[rows]
        if self.place == "disk":
            self._bring(array, found)
        return found

    def fetch(self, array: Shaped[Tensor, "rows *rest"], rows: slice) -> Shaped[Tensor, "some *rest"]:
        """Consecutive rows on the device: a view where the array lives there."""
        return self.view(array, rows).to(self.device)

    def store(self, array: Tensor, rows: slice, values: Tensor) -> None:
        """Rows given back after a change; nothing to do for a view."""
        target = array[rows]
        if target.data_ptr() != values.data_ptr():
            target.copy_(values)

    def gather(
        self, array: Shaped[Tensor, "rows *rest"], ids: Int[Tensor, " n"]
    ) -> Shaped[Tensor, "n *rest"]:
        """Copies of rows by id, on the device."""
        if self.place != "disk":
            return array.index_select(0, ids.to(self.home)).to(self.device)
        found = array.new_empty(len(ids), *array.shape[1:])
        for row, place, file in self._rows_on_disk(array, ids, found):
            os.preadv(file, [row], place)
        return found

    def scatter(self, array: Tensor, ids: Tensor, values: Tensor) -> None:
        """Rows by id given back; no id may come twice."""
        if self.place != "disk":
            array.index_copy_(0, ids.to(self.home), values.to(self.home))
            return
        for row, place, file in self._rows_on_disk(array, ids, values.contiguous()):
            os.pwritev(file, [row], place)

    def _rows_on_disk(self, array: Tensor, ids: Tensor, values: Tensor) -> Iterator[tuple[Any, int, int]]:
        """Rows of `values`, their places in the file, and the file. Read and written, not mapped: around a row that is
        touched through a map the system maps up to half a megabyte (measured), and a batch looks up hundreds."""
        file, width = self._files[array.data_ptr()][0], array[0].numel() * array.element_size()
        rows = values.numpy().reshape(len(values), -1)
        for number, entity in enumerate(ids.tolist()):
            yield rows[number], entity * width, file

    def _bring(self, array: Tensor, part: Tensor) -> None:
        """Ask for the pages of some rows at once: single faults cost more than the copy (measured)."""
        if not part.numel():
            return
        size = part.numel() * part.element_size()
        self._note(size)
        start = part.data_ptr() - array.data_ptr()
        begin = start - start % mmap.PAGESIZE
        try:
            self._files[array.data_ptr()][1].madvise(_POPULATE_WRITE, begin, start + size - begin)
        except (OSError, KeyError):
            return  # an older kernel, or macOS: pages come one by one

    def _note(self, size: int) -> None:
        if self.place != "disk":
            return
        self._touched += size
        if self._touched > WINDOW_BYTES:
            self.drop()

    def drop(self) -> None:
        """Let go of all mapped pages; they come back from the file when they are touched."""
        for _, mapped in self._files.values():
            mapped.madvise(mmap.MADV_DONTNEED)
        self._touched = 0


def _map(folder: Path, size: int) -> tuple[int, mmap.mmap]:
    """A mapped file that has no name, so that nothing is left of it whatever ends the process."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".partial-") as file:
            _reserve(file.fileno(), size)
            return os.dup(file.fileno()), mmap.mmap(file.fileno(), size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise StorageError(
            f"{folder}: no room for {show_bytes(size)} of the entity table; free some space, or allow more memory, so "
            f"that the table need not lie on disk"
        ) from None


def _reserve(descriptor: int, size: int) -> None:
    """Give a file its size with real space behind it: a full disk is found here and not at some later page."""
    os.ftruncate(descriptor, size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = bytes(MIB)
    for start in range(0, size, len(zeros)):
        os.pwrite(descriptor, zeros[: size - start], start)
