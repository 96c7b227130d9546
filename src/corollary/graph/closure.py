"""All ancestor pairs of a taxonomy as a file, for programs that want them listed. `graph import --taxonomy` reads it too."""

from pathlib import Path

import numpy as np

from corollary.errors import ConfigError
from corollary.graph.folder import Graph
from corollary.graph.taxonomy import Taxonomy
from corollary.storage import new_file

_PAIRS_AT_ONCE = 1 << 18


def write_closure(graph: Graph, path: Path, *, relations: tuple[str, ...] = ()) -> int:
    """Write descendant and ancestor of every pair, by label, with a header; returns how many.

    `.tsv` is text, `.npy` an array of entity ids (int32, two columns) that can be mapped.

    Memory: that of the index and of 260,000 pairs. Raises `ConfigError` for another suffix.
    """
    if path.suffix not in (".tsv", ".npy"):
        raise ConfigError(f"{path}: the suffix says the format: .tsv or .npy")
    taxonomy = Taxonomy.of(graph, relations or None)
    with new_file(path) as partial:
        _write_ids(taxonomy, partial) if path.suffix == ".npy" else _write_labels(graph, taxonomy, partial)
    return taxonomy.num_pairs


def _write_ids(taxonomy: Taxonomy, path: Path) -> None:
    shape = (taxonomy.num_pairs, 2)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": shape})
        for first in range(0, taxonomy.num_pairs, _PAIRS_AT_ONCE):
            file.write(_ids(taxonomy, first).astype("<i4").tobytes())


def _write_labels(graph: Graph, taxonomy: Taxonomy, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("descendant\tancestor\n")
        for first in range(0, taxonomy.num_pairs, _PAIRS_AT_ONCE):
            ids = _ids(taxonomy, first)
            labels = {int(entity): graph.entities.label(int(entity)) for entity in np.unique(ids)}
            file.writelines(f"{labels[child]}\t{labels[parent]}\n" for child, parent in ids.tolist())


def _ids(taxonomy: Taxonomy, first: int) -> np.ndarray:
    numbers = np.arange(first, min(first + _PAIRS_AT_ONCE, taxonomy.num_pairs))
    return taxonomy.entity_ids[taxonomy.pairs(numbers)]
