"""Labels and names of entities or relations: memory-mapped text, found in both directions.

A table of strings is three files, `NAME.text` (UTF-8, joined), `NAME.offsets.npy`, and `NAME.sorted.npy`, the ids in
byte order; `tables.write_strings` writes them. Ten million labels cost no resident memory until they are read.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Int

from corollary.errors import GraphDamaged, InputError, UnknownName, unknown

_SUGGESTION_LIMIT = 200_000  # labels that are compared for a suggestion: about two seconds
_ROWS_PER_CHUNK = 1 << 16  # read at a time when a whole table is walked through


class StringTable(Sequence[str]):
    """Strings by row, read from disk one at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        self._place = folder / name
        text = folder / f"{name}.text"
        try:
            self._offsets = np.asarray(np.load(folder / f"{name}.offsets.npy", mmap_mode="r"))
            empty = text.stat().st_size == 0
            self._text = np.asarray(np.zeros(0, np.uint8) if empty else np.memmap(text, np.uint8, "r"))
            self._order = np.asarray(np.load(folder / f"{name}.sorted.npy", mmap_mode="r"))
        except (OSError, ValueError):
            raise self._damaged() from None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if not isinstance(row, slice):
            return self._decode(self._bytes(int(row)))
        start, stop, step = row.indices(len(self))
        if step != 1:
            return [self[i] for i in range(start, stop, step)]
        return self._run(start, max(start, stop))

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _ROWS_PER_CHUNK):
            yield from self._run(start, min(start + _ROWS_PER_CHUNK, len(self)))

    def _run(self, start: int, stop: int) -> list[str]:
        """Neighbouring rows, from one read."""
        bounds = self._offsets[start : stop + 1].tolist()
        text = self._text[bounds[0] : bounds[-1]].tobytes()
        places = [bound - bounds[0] for bound in bounds]
        return [self._decode(text[low:high]) for low, high in pairwise(places)]

    def _decode(self, text: bytes) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise self._damaged() from None

    def _damaged(self) -> GraphDamaged:
        return GraphDamaged(f"{self._place}.* cannot be read: import the graph again")

    def _bytes(self, row: int) -> bytes:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a table of {len(self)}")
        return self._text[self._offsets[row] : self._offsets[row + 1]].tobytes()

    def rows_of(self, value: str) -> list[int]:
        """All rows that hold `value`, by binary search."""
        wanted, low, high = value.encode(), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(int(self._order[middle])) < wanted:
                low = middle + 1
            else:
                high = middle
        rows = []
        while low < len(self) and self._bytes(int(self._order[low])) == wanted:
            rows.append(int(self._order[low]))
            low += 1
        return rows


class Vocabulary:
    """The entities or the relations of a graph: dense ids, their labels, and names where the source gave them."""

    def __init__(self, kind: str, labels: StringTable, names: StringTable | None = None) -> None:
        self.kind = kind
        self.labels = labels
        self.names = names

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, row: int) -> str:
        return self.labels[row]

    def name(self, row: int) -> str:
        """What people read: the name where there is one, else the label."""
        return (self.names[row] if self.names is not None else "") or self.labels[row]

    def find(self, text: str, *, where: str = "") -> int:
        """The id of a label, or of a name that only one row bears. Raises `UnknownName` with the nearest label."""
        if rows := self.labels.rows_of(text):
            return rows[0]
        rows = self.names.rows_of(text) if self.names is not None and text else []
        if len(rows) > 1:
            bearers = ", ".join(self.labels[row] for row in rows[:5])
            place = f"{where}: " if where else ""
            raise InputError(
                f"{place}{text!r} names {len(rows)} {self.kind} rows: {bearers}. Give the label of one."
            )
        if rows:
            return rows[0]
        raise UnknownName(unknown(self.kind, text, self._candidates(), where=where))

    def find_all(self, texts: Iterable[str], *, where: str = "") -> Int[np.ndarray, " rows"]:
        return np.array([self.find(text, where=where) for text in texts], dtype=np.int64)

    def _candidates(self) -> list[str]:
        known = self.labels[:_SUGGESTION_LIMIT]
        return known if self.names is None else known + [n for n in self.names[:_SUGGESTION_LIMIT] if n]
