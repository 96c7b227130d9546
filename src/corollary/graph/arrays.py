"""Arrays on disk, written and read piece by piece: nothing is mapped, so nothing but the piece is resident."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Shaped
from numpy.lib import format as npy

PIECE = 1 << 18  # rows at a time; 1 << 20 was no faster (measured, 20 million triples)


class ArrayWriter:
    """A .npy file whose length is known only at its end; in the end the same bytes as `np.save` of the whole.

    Args:
        columns: None for one axis.
    """

    def __init__(self, path: Path, dtype: np.dtype | type, columns: int | None = None) -> None:
        self.path = path
        self.rows = 0
        self._dtype = np.dtype(dtype)
        self._columns = columns

    def append(self, rows: Shaped[np.ndarray, "n ..."]) -> None:
        """Write some rows behind those that are there, as the array's own type."""
        part = np.ascontiguousarray(rows, dtype=self._dtype)
        assert part.shape[1:] == (() if self._columns is None else (self._columns,))
        self._file.write(part.data.cast("B") if part.size else b"")
        self.rows += len(part)

    def __enter__(self) -> Self:
        self._file = self.path.open("wb")
        self._write_header()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        start = self._start
        with self._file:  # it is closed even where the disk has no room for the rest
            self._file.seek(0)
            self._write_header()
        assert self._start == start, "numpy leaves room in the header for any number of rows"

    def _write_header(self) -> None:
        shape = (self.rows,) if self._columns is None else (self.rows, self._columns)
        header: dict[str, Any] = {
            "descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape
        }  # fmt: skip
        npy.write_array_header_1_0(self._file, header)
        self._start = self._file.tell()


def array_shape(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a .npy file."""
    with path.open("rb") as file:
        npy.read_magic(file)
        shape, _, dtype = npy.read_array_header_1_0(file)
    return shape, dtype


def pieces(path: Path) -> Iterator[Shaped[np.ndarray, "n ..."]]:
    """The rows of a .npy file, PIECE at a time, each in fresh memory."""
    with path.open("rb") as file:
        npy.read_magic(file)
        shape, _, dtype = npy.read_array_header_1_0(file)
        width = int(np.prod(shape[1:], dtype=np.int64))
        for first in range(0, shape[0], PIECE):
            count = min(PIECE, shape[0] - first)
            yield np.fromfile(file, dtype, count * width).reshape(count, *shape[1:])
