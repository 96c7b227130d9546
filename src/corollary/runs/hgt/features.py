"""Feature files of an HGT run, read and held against the graph."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from corollary.errors import ConfigError, InputError, unknown
from corollary.graph.folder import Graph
from corollary.graph.typed_links import TypedRows
from corollary.runs.validating import EmbeddingFile, read_embeddings


def read_features(graph: Graph, files: Mapping[str, Path]) -> dict[int, Float[np.ndarray, "rows features"]]:
    """Features by number of the type, in the order of `TypedRows`.

    `.npy` is mapped: a row for every node of the type, in the order of ids. `.parquet`, `.csv` and `.tsv` are read; with
    a column `id` or `label` rows are matched by it, in any order, and without one they are in the order of ids.

    Raises `InputError` naming the file for a wrong number of rows, a node without a row or with two, an id that is of
    no node of the type, and a number that is not finite, `ConfigError` for a type that the graph has not.
    """
    nodes = TypedRows.of(graph)
    found = {}
    for name, path in files.items():
        if name not in nodes.names:
            raise ConfigError(unknown("node type", name, list(nodes.names), where=str(graph.path)))
        kind = nodes.names.index(name)
        rows = nodes.order[int(nodes.starts[kind]) : int(nodes.starts[kind + 1])]
        found[kind] = _read(graph, name, Path(path), rows)
    return found


def _read(graph: Graph, name: str, path: Path, rows: np.ndarray) -> Float[np.ndarray, "rows features"]:
    if path.suffix == ".npy":
        values = _mapped(path)
    else:
        file = read_embeddings(path)
        values = _by_id(graph, name, file, rows) if file.has_ids else file.vectors
    if len(values) != len(rows):
        raise InputError(
            f"{path} has {len(values):,} rows, and {graph.name} has {len(rows):,} nodes of type {name}: features "
            "need a row for each"
        )
    for start in range(0, len(values), 4096):
        broken = np.flatnonzero(~np.isfinite(values[start : start + 4096]).all(1))
        if len(broken):
            label = graph.entities.label(int(rows[start + broken[0]]))
            raise InputError(f"{path}: the features of {label!r} hold a number that is not finite")
    return values


def _by_id(
    graph: Graph, name: str, file: EmbeddingFile, rows: np.ndarray
) -> Float[np.ndarray, "rows features"]:
    """The rows of a file in the order of nodes, by its column of ids."""
    places = file.rows_by_id()
    labels = [graph.entities.label(int(entity)) for entity in rows]
    missing = [label for label in labels if label not in places]
    if missing:
        raise InputError(
            f"{file.path} has no features for {len(missing):,} of {len(labels):,} nodes of type {name}, such as "
            f"{missing[0]!r}"
        )
    others = sorted(places.keys() - set(labels))
    if others:
        raise InputError(
            f"{file.path} has {len(others):,} ids that are no nodes of type {name} in {graph.name}, such as "
            f"{others[0]!r}: leave those rows out"
        )
    return file.vectors[[places[label] for label in labels]]


def _mapped(path: Path) -> Float[np.ndarray, "rows features"]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as .npy: {error}") from None
    if values.ndim != 2 or values.dtype.kind != "f":
        raise InputError(
            f"{path} holds {values.dtype} of {values.ndim} axes: features are rows of floating-point numbers"
        )
    return values


def feature_bytes(files: Mapping[str, Path]) -> int:
    """Resident bytes of features, at most: mapped files once, others as float64 with their reading."""
    sizes = {path: path.stat().st_size for path in map(Path, files.values()) if path.is_file()}
    return sum(size * (1 if path.suffix == ".npy" else 4) for path, size in sizes.items())
