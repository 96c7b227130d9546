"""Embeddings in a CSV or Parquet file, read and judged."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import duckdb
import numpy as np
from jaxtyping import Float, Int

from corollary.errors import InputError
from corollary.evaluation.embedding_health import Health, examine, occurrences, spectrum, unit
from corollary.graph.folder import Graph

_IDS = ("id", "label", "node_id", "curie", "node")
_TYPES = ("type", "node_type", "category", "kind")
_NAMES = ("name",)
_MOST_TYPES = 12


@dataclass(frozen=True)
class EmbeddingFile:
    """What a file holds."""

    path: Path
    vectors: Float[np.ndarray, "rows dim"]
    ids: list[str]
    """Of each row; in a file without a column of ids, its number from 0, which is no label of a node."""
    has_ids: bool
    types: list[str] | None

    def rows_by_id(self) -> dict[str, int]:
        """The row of each id. Raises `InputError` for an id that two rows have."""
        found: dict[str, int] = {}
        for row, label in enumerate(self.ids):
            first = found.setdefault(label, row)
            if first != row:
                raise InputError(
                    f"{self.path} has the id {label!r} in rows {first + 1:,} and {row + 1:,}: keep one of them"
                )
        return found


def validate_embeddings(
    path: str | Path, *, graph: Graph | None = None, page: Path | None = None, seed: int = 0
) -> Health:
    """Read embeddings and judge them (see `evaluation.embedding_health`).

    Args:
        path: .csv or .tsv with a header and a column for each number, or .parquet with those or with one column of
            lists; columns called id (label, node_id), type (node_type, category) and name are no numbers.
        graph: gives degrees, and types where the file has none; rows are matched by id, or where the file has no column
            of ids are those of all nodes in their order.
        page: an HTML file with plots to write.

    Raises `InputError` naming the file, and the line where one is wrong. Memory: the file's numbers four times.
    """
    found = read_embeddings(Path(path))
    types, degrees = found.types, None
    if graph is not None:
        entities = _entities(found, graph)
        degrees = _degrees(graph)[entities]
        if types is None and graph.types is not None:
            names = [*graph.info.node_types, ""]
            types = [names[kind] for kind in np.asarray(graph.types)[entities]]
    health = examine(found.vectors, types, degrees, seed=seed)
    if page is not None:
        _write_page(page, found, types, health, seed)
    return health


def _entities(found: EmbeddingFile, graph: Graph) -> Int[np.ndarray, " rows"]:
    """The node of each row."""
    if found.has_ids:
        return np.array([graph.entities.find(label, where=str(graph.path)) for label in found.ids])
    if len(found.ids) != graph.num_entities:
        raise InputError(
            f"{found.path} has {len(found.ids):,} rows and no column of ids, and {graph.name} has "
            f"{graph.num_entities:,} nodes: name the node of each row in a column id"
        )
    return np.arange(graph.num_entities)


def read_embeddings(path: Path) -> EmbeddingFile:
    """Numbers with what each row is called."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix in (".csv", ".tsv"):
        return _read_text(path, "\t" if path.suffix == ".tsv" else ",")
    raise InputError(f"{path}: embeddings are read from .csv, .tsv or .parquet files")


def _read_text(path: Path, delimiter: str) -> EmbeddingFile:
    with path.open(encoding="utf-8-sig", newline="") as text:
        try:
            return _read_rows(path, text, delimiter)
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise InputError(
                f"{path}: the text is not UTF-8 (it holds byte 0x{byte:02x}): save the file as UTF-8"
            ) from None


def _read_rows(path: Path, text: TextIO, delimiter: str) -> EmbeddingFile:
    reader = csv.reader(text, delimiter=delimiter)
    header = next(reader, None)
    if header is None:
        raise InputError(f"{path} is empty: expected a header and a row for each node")
    number, kind, numeric = _columns(path, header)
    ids: list[str] = []
    types: list[str] = []
    rows: list[np.ndarray] = []
    for row in reader:
        where = f"{path}:{reader.line_num}"
        if len(row) != len(header):
            raise InputError(f"{where}: {len(row)} fields where the header has {len(header)}")
        try:
            rows.append(np.array([float(row[column]) for column in numeric]))
        except ValueError as error:
            raise InputError(f"{where}: {error}; expected a number") from None
        ids.append(row[number] if number is not None else str(len(ids)))
        if kind is not None:
            types.append(row[kind])
    if not rows:
        raise InputError(f"{path} has a header and no rows")
    return EmbeddingFile(path, np.stack(rows), ids, number is not None, types if kind is not None else None)


def _columns(path: Path, header: list[str]) -> tuple[int | None, int | None, list[int]]:
    lower = [name.strip().lower() for name in header]
    number = next((lower.index(name) for name in _IDS if name in lower), None)
    kind = next((lower.index(name) for name in _TYPES if name in lower), None)
    words = {lower.index(name) for name in (*_IDS, *_TYPES, *_NAMES) if name in lower}
    numeric = [column for column in range(len(header)) if column not in words]
    if not numeric:
        raise InputError(f"{path} has no columns of numbers beside {', '.join(header)}")
    return number, kind, numeric


def _read_parquet(path: Path) -> EmbeddingFile:
    try:
        with duckdb.connect() as database:
            relation = database.from_parquet(str(path))
            names, kinds = relation.columns, [str(kind) for kind in relation.types]
            table = relation.fetchnumpy()
    except duckdb.Error as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from None
    number, kind, numeric = _columns(path, list(names))
    lists = [column for column in numeric if "[" in kinds[column]]
    if lists and len(numeric) > 1:
        raise InputError(
            f"{path} holds lists in {names[lists[0]]}, and more columns beside: "
            f"{', '.join(names[column] for column in numeric if column != lists[0])}. Keep the one column that "
            "holds the embeddings, and id, type and name"
        )
    try:
        if lists:
            vectors = _stacked_lists(table[names[lists[0]]])
        else:
            vectors = np.stack([_with_nan(table[names[column]]) for column in numeric], 1)
    except (ValueError, TypeError):
        raise InputError(f"{path}: rows have embeddings of different lengths, or hold no numbers") from None
    if not len(vectors):
        raise InputError(f"{path} has no rows")
    ids = _words(path, names[number], table) if number is not None else list(map(str, range(len(vectors))))
    types = _words(path, names[kind], table) if kind is not None else None
    return EmbeddingFile(path, vectors, ids, number is not None, types)


def _with_nan(values: np.ndarray) -> Float[np.ndarray, " values"]:
    """Numbers of Parquet, NaN where it holds NULL: DuckDB masks those, over an arbitrary number."""
    return np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)


def _stacked_lists(rows: np.ndarray) -> Float[np.ndarray, "rows dim"]:
    """Lists as rows; a row that is NULL is all NaN."""
    missing = np.ma.getmaskarray(rows)
    lists = [None if gone else _with_nan(row) for row, gone in zip(rows, missing, strict=True)]
    width = next((len(row) for row in lists if row is not None), 1)
    return np.stack([np.full(width, np.nan) if row is None else row for row in lists])


def _words(path: Path, column: str, table: dict[str, np.ndarray]) -> list[str]:
    """Ids or types. Raises `InputError` for a row without one."""
    missing = np.flatnonzero(np.ma.getmaskarray(table[column]))
    if len(missing):
        raise InputError(
            f"{path}: {column} is NULL in {len(missing):,} rows, first in row {missing[0] + 1:,}; every row needs one"
        )
    return [str(word) for word in table[column]]


def _degrees(graph: Graph) -> Int[np.ndarray, " entities"]:
    head, _, tail = np.asarray(graph.triples("train")).T
    count = graph.num_entities
    return np.bincount(head, minlength=count) + np.bincount(tail, minlength=count)


def _write_page(path: Path, found: EmbeddingFile, types: list[str] | None, health: Health, seed: int) -> None:
    from corollary.reports.embeddings import write_embedding_page

    finite = np.isfinite(found.vectors).all(1)
    x = found.vectors[finite]
    kinds = np.array(types if types is not None else ["all"] * len(found.vectors))[finite]
    names, counts = np.unique(kinds, return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")][:_MOST_TYPES]
    sample = np.sort(np.random.default_rng(seed).permutation(len(x))[:3000])
    near = unit(x[sample] - x.mean(0)) if len(x) else x
    measures = health.model_dump(exclude={"types", "reasons", "verdict"})
    write_embedding_page(
        path,
        title=f"Embeddings in {found.path.name}",
        verdict=health.verdict,
        reasons=health.reasons,
        measures=measures,
        types=[kind.model_dump() for kind in health.types],
        norms={str(k): np.linalg.norm(x[kinds == k], axis=1).tolist() for k in largest},
        spectra={str(k): spectrum(x[kinds == k] - x[kinds == k].mean(0)).tolist() for k in largest},
        occurrences=occurrences(near @ near.T).tolist() if len(near) > 1 else [],
    )
