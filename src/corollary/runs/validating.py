"""Embeddings in a CSV or Parquet file, read and judged."""

import csv
from dataclasses import dataclass
from pathlib import Path

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
    types: list[str] | None


def validate_embeddings(
    path: str | Path, *, graph: Graph | None = None, page: Path | None = None, seed: int = 0
) -> Health:
    """Read embeddings and judge them (see `evaluation.embedding_health`).

    Args:
        path: .csv or .tsv with a header and a column for each number, or .parquet with those or with one column of
            lists; columns called id (label, node_id), type (node_type, category) and name are no numbers.
        graph: gives degrees, and types where the file has none; rows are matched by id.
        page: an HTML file with plots to write.

    Raises `InputError` naming the file, and the line where one is wrong. Memory: the file's numbers four times.
    """
    found = read_embeddings(Path(path))
    types, degrees = found.types, None
    if graph is not None:
        entities = np.array([graph.entities.find(label, where=str(graph.path)) for label in found.ids])
        degrees = _degrees(graph)[entities]
        if types is None and graph.types is not None:
            names = [*graph.info.node_types, ""]
            types = [names[kind] for kind in np.asarray(graph.types)[entities]]
    health = examine(found.vectors, types, degrees, seed=seed)
    if page is not None:
        _write_page(page, found, types, health, seed)
    return health


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
    with path.open(encoding="utf-8", newline="") as text:
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
    return EmbeddingFile(path, np.stack(rows), ids, types if kind is not None else None)


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
    try:
        if lists:
            vectors = np.stack([np.asarray(row, np.float64) for row in table[names[lists[0]]]])
        else:
            vectors = np.stack([np.asarray(table[names[column]], np.float64) for column in numeric], 1)
    except (ValueError, TypeError):
        raise InputError(f"{path}: rows have embeddings of different lengths, or hold no numbers") from None
    if not len(vectors):
        raise InputError(f"{path} has no rows")
    ids = (
        [str(label) for label in table[names[number]]]
        if number is not None
        else list(map(str, range(len(vectors))))
    )
    types = [str(label) for label in table[names[kind]]] if kind is not None else None
    return EmbeddingFile(path, vectors, ids, types)


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
