"""The graph folder: written once under a temporary name, renamed, never changed afterwards.

graph.json                 format, counts, sources with checksums, fingerprints, checksums of every file
nodes.parquet              id, label, name, type, categories
relations.parquet          id, label
edges/SPLIT.npy            head, relation, tail per row: int32, int64 from 2^31 entities on
edges/SPLIT.source.npy     where sources were given: code of the source of each edge, names in graph.json
index/entities.*           labels and names as memory-mapped text (`vocabulary`)
index/relations.*
index/types.npy            node type of every entity, -1 where unknown; names in graph.json
index/answers-NAME/        known answers per query (`answers`), for each split, `train+valid` and `known` (all)
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict, ValidationError

from corollary.budget import Budget
from corollary.errors import GraphDamaged, GraphError, unknown
from corollary.graph.answers import AnswerIndex
from corollary.graph.arrays import PIECE, pieces
from corollary.graph.manifest import FORMAT, SPLITS
from corollary.graph.manifest import GraphInfo as GraphInfo
from corollary.graph.tables import fill_tables, write_tables
from corollary.graph.vocabulary import StringTable, Vocabulary
from corollary.graph.writing import Edges, EdgeWriter, scratch
from corollary.storage import new_folder, sha256

_SHARED_FILES = (  # beginnings of their names; the same in every graph that shares the vocabulary
    "nodes.parquet",
    "relations.parquet",
    "index/entities.",
    "index/names.",
    "index/relations.",
    "index/types.npy",
)


class GraphSize(BaseModel):
    """What a plan needs to know of a graph."""

    model_config = ConfigDict(frozen=True)
    num_entities: int
    num_relations: int
    num_train: int
    num_queries: int
    """Distinct training queries, both sides."""
    max_answers: int
    """Known answers of the largest query."""


class Graph:
    """An opened graph folder. Reads lazily; everything per edge or per entity is memory-mapped."""

    def __init__(self, path: Path, info: GraphInfo) -> None:
        self.path = path
        self.info = info
        self._verified = False
        self._left_out: Int[np.ndarray, "removed 3"] | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a folder. Raises `GraphError` where it is none, `GraphDamaged` where a file is missing or short."""
        path = Path(path)
        if not (path / "graph.json").is_file():
            what = (
                "has no graph.json" if path.is_dir() else "is a file" if path.exists() else "does not exist"
            )
            raise GraphError(
                f"{path} is not a graph folder: it {what}. Make one with 'corollary graph import'."
            )
        try:
            info = GraphInfo.model_validate_json((path / "graph.json").read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError):
            raise GraphDamaged(f"{path / 'graph.json'} is damaged: import the graph again") from None
        if info.format != FORMAT:
            raise GraphError(
                f"{path} has format {info.format}; this version reads {FORMAT}: import the graph again"
            )
        if info.seal != info.sealed().seal:
            raise GraphDamaged(
                f"{path / 'graph.json'} has changed since it was written: import the graph again"
            )
        for name, size in info.sizes.items():
            if not (path / name).is_file():
                raise GraphDamaged(f"{path / name} is missing: import the graph again")
            if (found := (path / name).stat().st_size) != size:
                raise GraphDamaged(
                    f"{path / name} has {found} bytes in place of {size}: import the graph again"
                )
        return cls(path, info)

    def verify(self, *, most: int | None = None) -> None:
        """Compare every file with its checksum; raises `GraphDamaged` naming the first that differs.

        Training, evaluation, and what makes another graph of this one do it first. It is done once for an opened graph.

        Args:
            most: bytes; a larger graph is taken as it is.

        Cost: a second a GB (measured), in fresh memory of a few hundred KB.
        """
        if self._verified or (most is not None and sum(self.info.sizes.values()) > most):
            return
        found: dict[tuple[int, int], str] = {}  # an index that stands under several names is read once
        for name, checksum in self.info.files.items():
            file = (self.path / name).stat()
            key = (file.st_dev, file.st_ino)
            if key not in found:
                found[key] = sha256(self.path / name)
            if found[key] != checksum:
                raise GraphDamaged(
                    f"{self.path / name} has changed since it was written: import the graph again"
                )
        self._verified = True

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def num_entities(self) -> int:
        return self.info.num_entities

    @property
    def num_relations(self) -> int:
        return self.info.num_relations

    @property
    def fingerprint(self) -> str:
        return self.info.fingerprint

    @cached_property
    def entities(self) -> Vocabulary:
        index = self.path / "index"
        return Vocabulary("entity", StringTable(index, "entities"), StringTable(index, "names"))

    @cached_property
    def relations(self) -> Vocabulary:
        return Vocabulary("relation", StringTable(self.path / "index", "relations"))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.info.num_triples)

    def triples(self, split: str) -> Int[np.ndarray, "n 3"]:
        """Head, relation, tail of one split, memory-mapped."""
        if split not in self.info.num_triples:
            raise GraphError(unknown("split", split, list(self.splits), where=str(self.path)))
        found = self._load(f"edges/{split}.npy")
        if self._left_out is None or split != "train":
            return found
        return found[~np.isin(self.numbers_of(found), self.numbers_of(self._left_out))]

    def without(self, triples: Int[np.ndarray, "removed 3"]) -> Self:
        """The same graph as if train did not hold some triples: for scoring once more without them.

        Counts, fingerprints and answer indexes stay those of the whole graph. Memory: the training triples once a call
        of `triples`, and 8 bytes a triple meanwhile.
        """
        smaller = type(self)(self.path, self.info)
        smaller._left_out = np.asarray(triples, np.int64).reshape(-1, 3)
        return smaller

    def numbers_of(self, triples: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
        """A number for each triple, the same for equal ones alone. Memory: 8 bytes a triple, and 24 while it is made."""
        head, relation, tail = np.asarray(triples, np.int64).T
        return (head * self.num_relations + relation) * self.num_entities + tail

    def edge_sources(self, split: str) -> Int[np.ndarray, " n"] | None:
        """Code of the source of each edge (names: `info.edge_sources`), or None where none was given."""
        return self._load(f"edges/{split}.source.npy") if self.info.edge_sources else None

    @cached_property
    def types(self) -> Int[np.ndarray, " entities"] | None:
        """Node type of every entity (names: `info.node_types`), -1 where unknown; None where none was given."""
        return self._load("index/types.npy") if self.info.node_types else None

    def answers(self, name: str) -> AnswerIndex:
        """Known answers per query: of a split, of `train+valid`, or `known` for all splits."""
        folder = self.path / "index" / f"answers-{name}"
        if not folder.is_dir():
            choices = [path.name.removeprefix("answers-") for path in (self.path / "index").glob("answers-*")]
            raise GraphError(unknown("answer index", name, choices, where=str(self.path)))
        try:
            return AnswerIndex.load(folder, self.num_relations)
        except (OSError, ValueError):
            raise GraphDamaged(f"{folder} cannot be read: import the graph again") from None

    @cached_property
    def size(self) -> GraphSize:
        """Reads 8 bytes a query, some at a time."""
        train, _ = self.answers("train"), self.answers("known")
        return GraphSize(
            num_entities=self.num_entities,
            num_relations=self.num_relations,
            num_train=self.info.num_triples["train"],
            num_queries=train.num_queries,
            max_answers=_longest(self.path / "index" / "answers-known" / "offsets.npy"),
        )

    def _load(self, name: str) -> np.ndarray:
        try:
            return np.load(self.path / name, mmap_mode="r")
        except (OSError, ValueError):
            raise GraphDamaged(f"{self.path / name} cannot be read: import the graph again") from None


def write_graph(
    path: Path,
    *,
    name: str,
    labels: Sequence[str],
    relations: Sequence[str],
    triples: Mapping[str, Int[np.ndarray, "n 3"]],
    names: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    categories: Sequence[Sequence[str]] | None = None,
    edge_sources: Mapping[str, Sequence[str]] | None = None,
    sources: Sequence[Mapping[str, Any]] = (),
    notes: Mapping[str, Any] | None = None,
    budget: Budget = Budget(),
) -> Graph:
    """Write a whole graph folder and open it. Nothing is left at `path` if it fails.

    Args:
        labels: unique label of entity i.
        triples: by split, in the order train, valid, test; `train` must be there.
        names: what people read, empty where a node has none.
        types: primary type of each entity, empty where unknown.
        categories: all types of each entity.
        edge_sources: by split, the source of each edge.
    """
    source_names = sorted({value for values in (edge_sources or {}).values() for value in values})
    codes = {value: code for code, value in enumerate(source_names)}
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")  # it would go to standard output
        fill_tables(connection, labels, relations, names=names, types=types, categories=categories)
        edges = {
            split: in_pieces(triples[split], _coded(edge_sources[split], codes) if edge_sources else None)
            for split in SPLITS
            if split in triples
        }
        return write_pieces(
            path,
            connection,
            edges,
            name=name,
            edge_sources=source_names,
            sources=sources,
            notes=notes,
            budget=budget,
        )


def write_pieces(
    path: Path,
    connection: duckdb.DuckDBPyConnection,
    edges: Mapping[str, Iterable[Edges]],
    *,
    name: str,
    edge_sources: Sequence[str] = (),
    sources: Sequence[Mapping[str, Any]] = (),
    notes: Mapping[str, Any] | None = None,
    budget: Budget = Budget(),
    release: Callable[[], None] = lambda: None,
) -> Graph:
    """Write a graph folder of any size and open it: nothing that grows with the graph is held in memory.

    Args:
        connection: a database with the tables of `tables`.
        edges: by split, in the order train, valid, test.
        edge_sources: names of the codes that come with the edges, sorted.
        release: called when the database and the edges have been read, before the answers are sorted.
    """
    with new_folder(path) as folder:
        (folder / "index").mkdir()
        tables = write_tables(connection, folder)
        info = GraphInfo(
            format=FORMAT,
            name=name,
            num_entities=tables.num_entities,
            num_relations=tables.num_relations,
            num_triples={},
            node_types=tables.node_types,
            edge_sources=list(edge_sources),
            fingerprint="",
            vocabulary_fingerprint=tables.fingerprint,
            sources=[dict(source) for source in sources],
            notes=dict(notes or {}),
            files={},
            sizes={},
        )
        writer = EdgeWriter(folder, info)
        for split, rows in edges.items():
            writer.add(split, rows)
        release()
        writer.finish(scratch(budget, f"writing {path}"))
    return Graph.open(path)


def derive_graph(
    graph: Graph,
    path: Path,
    *,
    triples: Mapping[str, Int[np.ndarray, "n 3"]],
    edge_sources: Mapping[str, Int[np.ndarray, " n"]] | None = None,
    sources: Sequence[Mapping[str, Any]] = (),
    notes: Mapping[str, Any] | None = None,
    budget: Budget = Budget(),
) -> Graph:
    """Write a graph folder with the vocabulary of `graph` and other triples, and open it.

    The vocabulary's files are copied and checked on the way, so ids, names and types are the same in both.

    Args:
        edge_sources: by split, codes into `graph.info.edge_sources`.
        sources: files that were read besides those of `graph`.
        notes: what the derivation reports, added to the notes of `graph`.
    """
    with new_folder(path) as folder:
        (folder / "index").mkdir()
        for name, checksum in graph.info.files.items():
            if name.startswith(_SHARED_FILES):
                shutil.copyfile(graph.path / name, folder / name)
                if sha256(folder / name) != checksum:
                    raise GraphDamaged(
                        f"{graph.path / name} has changed since it was written: import the graph again"
                    )
        parent = {"name": graph.name, "fingerprint": graph.fingerprint}
        added = {
            "sources": [*graph.info.sources, *(dict(source) for source in sources)],
            "notes": {**graph.info.notes, "derived from": parent, **(notes or {})},
        }
        writer = EdgeWriter(folder, graph.info.model_copy(update=added))
        for split in (split for split in SPLITS if split in triples):
            writer.add(split, in_pieces(triples[split], edge_sources[split] if edge_sources else None))
        writer.finish(scratch(budget, f"writing {path}"))
    return Graph.open(path)


def in_pieces(triples: Int[np.ndarray, "n 3"], codes: Int[np.ndarray, " n"] | None) -> Iterator[Edges]:
    for first in range(0, len(triples), PIECE):
        rows = slice(first, first + PIECE)
        yield np.asarray(triples[rows]), None if codes is None else np.asarray(codes[rows])


def _coded(values: Sequence[str], codes: Mapping[str, int]) -> Int[np.ndarray, " n"]:
    return np.fromiter((codes[value] for value in values), dtype=np.int32, count=len(values))


def _longest(offsets: Path) -> int:
    """The largest difference of neighbours in a rising array."""
    last = longest = 0
    for part in pieces(offsets):
        longest = max(longest, int(np.diff(part, prepend=last).max(initial=0)))
        last = int(part[-1])
    return longest
