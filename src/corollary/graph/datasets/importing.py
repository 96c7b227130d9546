"""A public dataset, by name, as a graph folder."""

from collections.abc import Iterable
from pathlib import Path

from corollary.budget import Budget
from corollary.graph.datasets.locating import LocatedDataset, locate
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.messages import Say, silent
from corollary.storage import scratch_folder

_KGX = ("subject", "predicate", "object")


def import_dataset(
    name: str, output: str | Path, *, data: Path | None = None, budget: Budget = Budget(), say: Say = silent
) -> Graph:
    """Find or fetch a dataset (see `datasets.locate`) and import it.

    Args:
        data: a folder to look in first; the one that COROLLARY_DATA names when not given.
    """
    output = Path(output)
    found = locate(name, data=data, say=say)
    columns = found.dataset.columns
    if columns is None or (columns.head, columns.relation, columns.tail) == _KGX:
        nodes = (found.nodes,) if found.nodes else ()
        splits = {split: (path,) for split, path in found.splits.items()}
        return import_graph(output, ImportConfig(**splits, nodes=nodes, name=name), budget=budget, say=say)
    with scratch_folder(output, purpose="kgx") as folder:
        config = _as_kgx(found, folder)
        return import_graph(output, config, budget=budget, say=say)


def _as_kgx(found: LocatedDataset, folder: Path) -> ImportConfig:
    """Tables with other columns, written once more with KGX's."""
    nodes, splits = folder / "nodes.tsv", {}
    _write(nodes, ("id", "name", "category"), found.entities())
    for split in found.splits:
        splits[split] = (folder / f"{split}.tsv",)
        _write(splits[split][0], _KGX, found.triples(split))
    return ImportConfig(**splits, nodes=(nodes,), name=found.name)


def _write(path: Path, header: tuple[str, str, str], rows: Iterable[tuple[str, str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(row) + "\n" for row in (header, *rows))
