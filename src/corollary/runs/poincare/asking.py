"""Looking at an embedding by name: the nearest nodes, what it takes for ancestors, the picture."""

from pathlib import Path
from typing import Any

import numpy as np

from corollary.errors import ConfigError
from corollary.evaluation.taxonomy_analysis import cone_score
from corollary.evaluation.taxonomy_metrics import Hyperbolic
from corollary.runs.poincare.analysis import groups_of
from corollary.runs.poincare.kind import Embedded

_PICTURES = (".png", ".svg", ".pdf")


def neighbours(embedded: Embedded, text: str, count: int) -> list[dict[str, Any]]:
    """The nearest nodes to one, by label or name: label, name, distance, depth."""
    row = embedded.find(text)
    found = Hyperbolic(embedded.points).to_all(np.array([row]))[0]
    found[row] = np.inf
    nearest = np.argsort(found, kind="stable")[:count]
    return [_line(embedded, int(other), float(found[other])) for other in nearest if other != row]


def ancestors(embedded: Embedded, text: str, count: int) -> list[dict[str, Any]]:
    """The nodes that the embedding takes for ancestors, the most likely first, and whether they are.

    By `cone_score`: distance to the node less distance to the centre, among those nearer to the centre.
    """
    row = embedded.find(text)
    radii = np.linalg.norm(embedded.points, axis=1)
    everything = np.arange(len(radii))
    found = cone_score(embedded.points, np.full(len(radii), row), everything)
    found[radii >= radii[row]] = np.inf
    found[row] = np.inf
    rows = embedded.full.rows
    true = set(embedded.full.ancestors(int(rows[embedded.taxonomy.entity_ids[row]])).tolist())
    lines = []
    for other in np.argsort(found, kind="stable")[:count]:
        if np.isfinite(found[other]):
            line = _line(embedded, int(other), float(found[other]), measure="score")
            lines.append({**line, "true": int(rows[embedded.taxonomy.entity_ids[other]]) in true})
    return lines


def draw(embedded: Embedded, path: Path, rank: str | None) -> None:
    """The disk, coloured by one rank: the one with most nodes in groups of ten when not given.

    Raises `ConfigError` for a suffix that is no picture's.
    """
    from corollary.reports.taxonomy import draw_disk

    if path.suffix not in _PICTURES:
        raise ConfigError(f"{path}: the suffix says the format: {', '.join(_PICTURES)}")
    taxonomy = embedded.taxonomy
    found = groups_of(embedded, taxonomy, (rank,) if rank else ())
    chosen = rank or next(iter(found), None)
    groups = found[chosen] if chosen is not None else np.full(len(taxonomy), -1)
    names = embedded.graph.info.node_types if chosen == "type" else embedded.names
    title = f"{embedded.graph.name}{f', coloured by {chosen}' if chosen else ''}"
    draw_disk(path, embedded.points, taxonomy.tree.parent, groups, names, title=title)


def _line(embedded: Embedded, row: int, value: float, *, measure: str = "distance") -> dict[str, Any]:
    entity, entities = int(embedded.taxonomy.entity_ids[row]), embedded.graph.entities
    return {
        "label": entities.label(entity),
        "name": entities.name(entity),
        measure: value,
        "depth": int(embedded.taxonomy.tree.depth[row]),
    }
