"""The answer index of a graph of any size, by an external sort: the same bytes as `AnswerIndex.build` and `save`.

Both sides of every triple become one number, query before answer. The numbers are dealt into buckets of rising
ranges, whose bounds come from a sample, in one pass over the triples and through a file; then bucket after bucket is
read back, sorted in memory and appended to the index. Measured on 20 million triples with 256 MiB: 7 s on one core,
where DuckDB's ORDER BY took 25 s with loading and reading back.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import Int

from corollary.graph.answers import Side, directed
from corollary.graph.arrays import ArrayWriter, array_shape, pieces

BYTES_PER_EXAMPLE = 72  # of a bucket while it is sorted and written (measured: 66)
SMALLEST = 48 << 20  # scratch below which the pieces themselves do not fit
LARGEST = 256 << 20  # scratch above which nothing is gained: buckets leave the processor's caches anyway
_NUMBERS = 2**63
_SAMPLE = 1 << 16  # examples that the bounds of the buckets are taken from

Examples = tuple[Int[np.ndarray, " examples"], Int[np.ndarray, " examples"]]
"""Numbers of some examples, (query - first query) * span + answer, and the rows of their triples."""


def write_index(
    files: Sequence[Path], folder: Path, *, num_entities: int, num_relations: int, memory: int
) -> None:
    """Write the answer index of the triples in some .npy files, taken as one after the other.

    Args:
        folder: where `keys.npy`, `offsets.npy`, `answers.npy`, `triples.npy` go; made here.
        memory: bytes of scratch that may be resident; how many does not change a byte of the index. A triple that
            stands there again and again can need more: its copies are in one bucket.

    Disk: 32 bytes a triple in `folder` for the time of the sort, where it does not fit into the scratch.
    """
    folder.mkdir(parents=True)
    span = max(num_entities, 1)
    num_keys, widest = span * 2 * num_relations, max(_NUMBERS // span, 1)
    capacity = max(min(memory, LARGEST) - SMALLEST // 2, SMALLEST // 2) // BYTES_PER_EXAMPLE
    answer_type = array_shape(files[0])[1]
    with _IndexWriter(folder, span, answer_type) as index:
        for first in range(0, max(num_keys, 1), widest):  # once, unless numbers would pass 63 bits
            part = _Part(files, folder, num_relations, span, first, min(first + widest, num_keys))
            for numbers, rows in part.buckets(capacity):
                index.append(numbers, rows, first)


@dataclass(frozen=True)
class _Part:
    """The examples whose query is in one range of keys."""

    files: Sequence[Path]
    folder: Path
    num_relations: int
    span: int
    first_key: int
    stop_key: int

    def buckets(self, capacity: int) -> Iterator[Examples]:
        """All examples, in buckets of about `capacity` at most, of rising ranges; in no order within a bucket."""
        count = 2 * sum(array_shape(file)[0][0] for file in self.files)
        if count <= capacity:
            every = list(self._examples())
            yield (
                np.concatenate([numbers for numbers, _ in every] or [np.zeros(0, np.int64)]),
                np.concatenate([rows for _, rows in every] or [np.zeros(0, np.int64)]),
            )
            return
        sample = np.sort(np.concatenate([numbers for numbers, _ in self._examples(max(1, count // _SAMPLE))]))
        wanted = -(-count * 5 // (4 * capacity))  # a quarter more, since a sample is not exact
        bounds = np.unique(sample[(len(sample) * np.arange(1, wanted)) // wanted]) if len(sample) else sample
        with _Spool(self.folder, bounds) as spool:
            for numbers, rows in self._examples():
                spool.deal(numbers, rows)
            for bucket in range(len(bounds) + 1):
                yield spool.bucket(bucket)

    def _examples(self, every: int = 1) -> Iterator[Examples]:
        """Piece by piece, both sides of all triples or of every so many."""
        start = 0
        for file in self.files:
            for piece in pieces(file):
                head, relation, tail = (piece[::every, column].astype(np.int64) for column in range(3))
                row = np.arange(start, start + len(piece), every)
                sides: tuple[tuple[Side, np.ndarray, np.ndarray], ...] = (
                    ("tail", head, tail),
                    ("head", tail, head),
                )
                for side, entity, answer in sides:
                    key = entity * (2 * self.num_relations)
                    key += directed(relation, side, self.num_relations)
                    yield self._numbered(key, answer, row)
                start += len(piece)

    def _numbered(
        self, key: Int[np.ndarray, " n"], answer: Int[np.ndarray, " n"], row: Int[np.ndarray, " n"]
    ) -> Examples:
        if self.first_key > 0 or self.stop_key < self.span * 2 * self.num_relations:
            mine = (key >= self.first_key) & (key < self.stop_key)
            key, answer, row = key[mine] - self.first_key, answer[mine], row[mine]
        key *= self.span
        key += answer
        return key, row


class _Spool:
    """A file of examples dealt into buckets: piece after piece, each in the order of the buckets."""

    def __init__(self, folder: Path, bounds: Int[np.ndarray, " bounds"]) -> None:
        self._paths = folder / "numbers.spool", folder / "rows.spool"
        self._bounds = bounds
        self._starts: list[Int[np.ndarray, " buckets+1"]] = []
        self._total = 0

    def deal(self, numbers: Int[np.ndarray, " n"], rows: Int[np.ndarray, " n"]) -> None:
        """Put some examples into their buckets."""
        bucket = np.searchsorted(self._bounds, numbers, side="right")
        order = np.argsort(bucket.astype(np.uint16), kind="stable")  # a radix sort, for 16 bits
        counts = np.bincount(bucket, minlength=len(self._bounds) + 1)
        self._starts.append(self._total + np.concatenate([[0], np.cumsum(counts)]))
        self._total += len(numbers)
        for file, values in zip(self._files, (numbers, rows), strict=True):
            file.write(values[order].data.cast("B") if len(values) else b"")

    def bucket(self, bucket: int) -> Examples:
        """All examples of one bucket."""
        parts = [(int(starts[bucket]), int(starts[bucket + 1])) for starts in self._starts]
        size = sum(stop - start for start, stop in parts)
        found = np.empty(size, np.int64), np.empty(size, np.int64)
        for file, values in zip(self._files, found, strict=True):
            place = 0
            for start, stop in parts:
                file.seek(8 * start)
                read = file.readinto(values[place : place + stop - start].data.cast("B"))
                assert read == 8 * (stop - start)
                place += stop - start
        return found

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._files = [stack.enter_context(path.open("w+b")) for path in self._paths]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for path in self._paths:
            path.unlink(missing_ok=True)


class _IndexWriter:
    """The four files of an index, from examples that come bucket by bucket."""

    def __init__(self, folder: Path, span: int, answer_type: np.dtype) -> None:
        self._arrays = {
            name: ArrayWriter(folder / f"{name}.npy", answer_type if name == "answers" else np.int64)
            for name in ("keys", "offsets", "answers", "triples")
        }
        self._span = span
        self._last = -1

    def append(self, numbers: Int[np.ndarray, " n"], rows: Int[np.ndarray, " n"], first_key: int) -> None:
        """Sort a bucket and write it; duplicates count once, in the first of their rows."""
        order = np.argsort(numbers)
        numbers, rows = numbers[order], rows[order]
        del order
        fresh = np.ones(len(numbers), dtype=bool)
        fresh[1:] = numbers[1:] != numbers[:-1]
        if not fresh.all():
            firsts = np.flatnonzero(fresh)
            numbers, rows = numbers[firsts], np.minimum.reduceat(rows, firsts)
        key = numbers // self._span
        numbers -= key * self._span
        key += first_key
        new = np.flatnonzero(np.diff(key, prepend=self._last))
        answers = self._arrays["answers"]
        self._arrays["keys"].append(key[new])
        self._arrays["offsets"].append(answers.rows + new)
        answers.append(numbers)
        self._arrays["triples"].append(rows)
        self._last = int(key[-1]) if len(key) else self._last

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for array in self._arrays.values():
                stack.enter_context(array)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._arrays["offsets"].append(np.array([self._arrays["answers"].rows]))
