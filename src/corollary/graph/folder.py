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

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict, ValidationError

from corollary.errors import GraphDamaged, GraphError, unknown
from corollary.graph.answers import AnswerIndex
from corollary.graph.vocabulary import StringTable, Vocabulary
from corollary.storage import new_folder, sha256

FORMAT = 1
SPLITS = ("train", "valid", "test")
_CHUNK = 1 << 20  # rows hashed at a time
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


class GraphInfo(BaseModel):
    """The content of `graph.json`."""

    model_config = ConfigDict(frozen=True)
    format: int
    name: str
    num_entities: int
    num_relations: int
    num_triples: dict[str, int]
    node_types: list[str]
    edge_sources: list[str]
    fingerprint: str
    """Of the content: vocabulary and every split."""
    vocabulary_fingerprint: str
    """Of labels and ids alone: two graphs that share it can be compared id by id."""
    sources: list[dict[str, Any]]
    """Files read: name, sha256, how its columns were understood."""
    notes: dict[str, Any]
    """Counts that the import or the derivation reported."""
    files: dict[str, str]
    """Checksum of every other file in the folder."""
    sizes: dict[str, int]
    """Bytes of each."""
    seal: str = ""
    """Checksum of all of the above."""

    def sealed(self) -> Self:
        """With the seal that belongs to the content."""
        return self.model_copy(update={"seal": _hash([self.model_dump_json(exclude={"seal"})])})


class Graph:
    """An opened graph folder. Reads lazily; everything per edge or per entity is memory-mapped."""

    def __init__(self, path: Path, info: GraphInfo) -> None:
        self.path = path
        self.info = info

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

    def verify(self) -> None:
        """Compare every file with its checksum; raises `GraphDamaged` naming the first that differs."""
        for name, checksum in self.info.files.items():
            if sha256(self.path / name) != checksum:
                raise GraphDamaged(
                    f"{self.path / name} has changed since it was written: import the graph again"
                )

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
        return self._load(f"edges/{split}.npy")

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
        train, known = self.answers("train"), self.answers("known")
        return GraphSize(
            num_entities=self.num_entities,
            num_relations=self.num_relations,
            num_train=self.info.num_triples["train"],
            num_queries=train.num_queries,
            max_answers=int(np.diff(known.offsets).max(initial=0)),
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
    type_names = sorted({value for value in types if value}) if types is not None else []
    source_names = sorted({value for values in (edge_sources or {}).values() for value in values})
    codes = {value: code for code, value in enumerate(source_names)}
    with new_folder(path) as folder:
        (folder / "index").mkdir()
        _write_tables(folder, labels, relations, names, types, categories)
        if type_names:
            type_codes = {value: code for code, value in enumerate(type_names)}
            rows = (type_codes.get(value, -1) for value in types or ())
            np.save(folder / "index/types.npy", np.fromiter(rows, dtype=np.int32))
        info = GraphInfo(
            format=FORMAT,
            name=name,
            num_entities=len(labels),
            num_relations=len(relations),
            num_triples={},
            node_types=type_names,
            edge_sources=source_names,
            fingerprint="",
            vocabulary_fingerprint=_hash(["entities", *labels, "relations", *relations]),
            sources=[dict(source) for source in sources],
            notes=dict(notes or {}),
            files={},
            sizes={},
        )
        columns = {
            split: [codes[value] for value in values] for split, values in (edge_sources or {}).items()
        }
        _write_edges(folder, info, triples, columns)
    return Graph.open(path)


def derive_graph(
    graph: Graph,
    path: Path,
    *,
    triples: Mapping[str, Int[np.ndarray, "n 3"]],
    edge_sources: Mapping[str, Int[np.ndarray, " n"]] | None = None,
    sources: Sequence[Mapping[str, Any]] = (),
    notes: Mapping[str, Any] | None = None,
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
        _write_edges(folder, graph.info.model_copy(update=added), triples, edge_sources or {})
    return Graph.open(path)


def _write_edges(
    folder: Path,
    info: GraphInfo,
    triples: Mapping[str, Int[np.ndarray, "n 3"]],
    edge_sources: Mapping[str, Sequence[int] | Int[np.ndarray, " n"]],
) -> None:
    """Triples, their sources and indexes beside a vocabulary that is there already; `graph.json` comes last."""
    assert "train" in triples
    assert set(triples) <= set(SPLITS)
    dtype = np.int32 if info.num_entities < 2**31 else np.int64
    ordered = {
        split: np.ascontiguousarray(triples[split], dtype=dtype) for split in SPLITS if split in triples
    }
    (folder / "edges").mkdir()
    for split, rows in ordered.items():
        np.save(folder / f"edges/{split}.npy", rows)
        if info.edge_sources:
            np.save(folder / f"edges/{split}.source.npy", np.asarray(edge_sources[split], dtype=np.int32))
    _write_answers(folder, ordered, info.num_relations)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    info = info.model_copy(
        update={
            "num_triples": {split: len(rows) for split, rows in ordered.items()},
            "fingerprint": _content_fingerprint(info.vocabulary_fingerprint, ordered),
            "files": {str(file.relative_to(folder)): sha256(file) for file in files},
            "sizes": {str(file.relative_to(folder)): file.stat().st_size for file in files},
        }
    ).sealed()
    (folder / "graph.json").write_text(info.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _write_tables(
    folder: Path,
    labels: Sequence[str],
    relations: Sequence[str],
    names: Sequence[str] | None,
    types: Sequence[str] | None,
    categories: Sequence[Sequence[str]] | None,
) -> None:
    StringTable.write(folder / "index", "entities", labels, searchable=True)
    StringTable.write(folder / "index", "names", names or [""] * len(labels), searchable=True)
    StringTable.write(folder / "index", "relations", relations, searchable=True)
    with duckdb.connect() as connection:
        _write_parquet(
            connection,
            folder / "nodes.parquet",
            {
                "id": np.arange(len(labels)),
                "label": _column(labels),
                "name": _column(names or [""] * len(labels)),
                "type": _column(types or [""] * len(labels)),
                "categories": _column(
                    [json.dumps(list(values)) for values in categories or [()] * len(labels)]
                ),
            },
        )
        _write_parquet(
            connection,
            folder / "relations.parquet",
            {"id": np.arange(len(relations)), "label": _column(relations)},
        )


def _column(values: Sequence[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)


def _write_parquet(connection: duckdb.DuckDBPyConnection, path: Path, columns: dict[str, np.ndarray]) -> None:
    quoted = str(path).replace("'", "''")
    connection.register("columns_to_write", columns)
    connection.execute(f"COPY columns_to_write TO '{quoted}' (FORMAT parquet)")
    connection.unregister("columns_to_write")


def _write_answers(folder: Path, triples: Mapping[str, np.ndarray], num_relations: int) -> None:
    """One index for each split and for the unions that filters use."""
    groups: dict[str, tuple[str, ...]] = {split: (split,) for split in triples}
    groups["train+valid"] = tuple(split for split in ("train", "valid") if split in triples)
    groups["known"] = tuple(triples)
    for members in dict.fromkeys(groups.values()):
        rows = triples[members[0]] if len(members) == 1 else np.concatenate([triples[m] for m in members])
        index = AnswerIndex.build(rows, num_relations)
        for name in (name for name, other in groups.items() if other == members):
            index.save(folder / "index" / f"answers-{name}")


def _hash(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _content_fingerprint(vocabulary: str, triples: Mapping[str, np.ndarray]) -> str:
    """Depends on ids and their order alone, not on how many files or processes wrote them."""
    digest = hashlib.sha256(vocabulary.encode())
    for split, rows in triples.items():
        digest.update(split.encode() + b"\0")
        for start in range(0, len(rows), _CHUNK):
            digest.update(rows[start : start + _CHUNK].astype("<i8").tobytes())
    return digest.hexdigest()
