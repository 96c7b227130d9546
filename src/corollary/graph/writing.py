"""A graph folder on its way: its edges split by split, then its indexes, checksums and `graph.json`."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Int

from corollary.budget import MIB, Budget, resident_bytes
from corollary.errors import PlanDoesNotFit
from corollary.graph import indexing
from corollary.graph.arrays import ArrayWriter
from corollary.graph.manifest import SPLITS, GraphInfo
from corollary.storage import sha256

Edges = tuple[Int[np.ndarray, "n 3"], Int[np.ndarray, " n"] | None]
"""Some triples, and the code of the source of each where the graph has sources."""


class EdgeWriter:
    """The part of a graph folder that depends on triples, beside a vocabulary that is there already.

    Args:
        info: with the vocabulary's counts and fingerprint, and with the names of the edges' sources.
    """

    def __init__(self, folder: Path, info: GraphInfo) -> None:
        self.folder = folder
        self.info = info
        self._counts: dict[str, int] = {}
        self._content = hashlib.sha256(info.vocabulary_fingerprint.encode())
        (folder / "edges").mkdir()

    def add(self, split: str, edges: Iterable[Edges]) -> None:
        """Write one split, piece by piece; splits come in the order train, valid, test."""
        assert SPLITS.index(split) >= len(self._counts)
        place, dtype = self.folder / "edges", np.int32 if self.info.num_entities < 2**31 else np.int64
        self._content.update(split.encode() + b"\0")
        with ArrayWriter(place / f"{split}.npy", dtype, 3) as triples:
            if not self.info.edge_sources:
                for rows, _ in edges:
                    self._append(triples, rows)
            else:
                with ArrayWriter(place / f"{split}.source.npy", np.int32) as sources:
                    for rows, codes in edges:
                        assert codes is not None
                        self._append(triples, rows)
                        sources.append(codes)
        self._counts[split] = triples.rows

    def finish(self, memory: int) -> None:
        """Write the indexes and, last, `graph.json`.

        Args:
            memory: bytes of scratch for sorting, see `indexing.write_index`.
        """
        assert "train" in self._counts
        self._write_indexes(memory)
        files = [file for file in sorted(self.folder.rglob("*")) if file.is_file()]
        names = [str(file.relative_to(self.folder)) for file in files]
        info = self.info.model_copy(
            update={
                "num_triples": self._counts,
                "fingerprint": self._content.hexdigest(),
                "files": dict(zip(names, _checksums(files), strict=True)),
                "sizes": {name: file.stat().st_size for name, file in zip(names, files, strict=True)},
            }
        ).sealed()
        (self.folder / "graph.json").write_text(info.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def _append(self, triples: ArrayWriter, rows: Int[np.ndarray, "n 3"]) -> None:
        """The fingerprint depends on ids and their order alone, not on their width or on the pieces."""
        triples.append(rows)
        self._content.update(np.ascontiguousarray(rows, dtype="<i8").data)

    def _write_indexes(self, memory: int) -> None:
        """One for each split and for the unions that filters use; what is equal is written once, and linked."""
        splits = tuple(self._counts)
        groups: dict[str, tuple[str, ...]] = {split: (split,) for split in splits}
        groups["train+valid"] = tuple(split for split in ("train", "valid") if split in splits)
        groups["known"] = splits
        written: dict[tuple[str, ...], Path] = {}
        for name, members in groups.items():
            folder = self.folder / "index" / f"answers-{name}"
            if members in written:
                _link_folder(written[members], folder)
                continue
            written[members] = folder
            indexing.write_index(
                [self.folder / "edges" / f"{split}.npy" for split in members],
                folder,
                num_entities=self.info.num_entities,
                num_relations=self.info.num_relations,
                memory=memory,
            )


def scratch(budget: Budget, what: str) -> int:
    """Bytes that the indexes may take for sorting, now. Raises `PlanDoesNotFit` where the limit leaves too few."""
    if budget.limit is None:
        return indexing.LARGEST
    resident = resident_bytes()
    if (left := budget.limit - resident) < indexing.SMALLEST:
        raise PlanDoesNotFit(
            f"{what} needs at least {(resident + indexing.SMALLEST) / MIB:.1f} MiB and the budget is "
            f"{budget.limit / MIB:.1f} MiB: this process {resident / MIB:.1f}, sorting its answers "
            f"{indexing.SMALLEST / MIB:.1f} (MiB). Raise --memory-limit."
        )
    return min(left, indexing.LARGEST)


def _link_folder(source: Path, folder: Path) -> None:
    """The same files under a second name, or copies where the disk knows no links."""
    folder.mkdir()
    for file in source.iterdir():
        try:
            os.link(file, folder / file.name)
        except OSError:
            shutil.copyfile(file, folder / file.name)


def _checksums(files: Iterable[Path]) -> list[str]:
    """SHA-256 of some files, two at a time; a file with several names is read once."""
    by_content: Mapping[tuple[int, int], Path]
    keys = [(file.stat().st_dev, file.stat().st_ino) for file in files]
    by_content = dict(zip(keys, files, strict=True))
    with ThreadPoolExecutor(2) as threads:
        sums = dict(zip(by_content, threads.map(sha256, by_content.values()), strict=True))
    return [sums[key] for key in keys]
