"""Areas of rows, such as cancer among diseases: from a file, or from a relation of the graph followed upwards."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from corollary.errors import ConfigError, InputError, unknown
from corollary.graph.folder import Graph
from corollary.graph.reading.text_lines import first_line, lines_of
from corollary.repurpose.pairs import Nodes, Pairs

Areas = dict[str, Int[np.ndarray, "_"]]
"""By name, the rows of each area, ascending."""


def read_areas(path: Path, rows: Nodes) -> Areas:
    """Areas of a file: the first field of a line is a row by label or name, the last its areas with `|` between.

    Tabs stand between fields, commas in a .csv; a first line that names no row is a header; lines of other nodes are
    passed over. Raises `InputError` where no line names a row.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file of areas")
    first_line(path)  # says so where this is no text
    delimiter = "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"
    places = {name: at for at, name in enumerate(rows.names)} | {
        name: at for at, name in enumerate(rows.labels)
    }
    members: dict[str, set[int]] = {}
    for number, raw in lines_of(path):
        fields = raw.decode(errors="replace").split(delimiter)
        if len(fields) < 2:
            raise InputError(f"{path}:{number}: one field; expected a {rows.type} and its areas")
        row = places.get(fields[0])
        for area in fields[-1].split("|") if row is not None else []:
            if row is not None and area:
                members.setdefault(area, set()).add(row)
    if not members:
        raise InputError(
            f"{path} names no {rows.type} of the graph: expected one in the first field of a line, such as "
            f"{rows.labels[0]!r}, and its areas in the last"
        )
    return _arrays(members)


def areas_above(graph: Graph, relation: str, rows: Nodes) -> Areas:
    """Every node that a relation leads to from some row, in one step or several, with the rows below it, by name.

    Raises `UnknownName` for a relation that the graph does not hold, `ConfigError` for one that leads from no row.
    """
    number = graph.relations.find(relation, where=str(graph.path))
    triples = np.concatenate([np.asarray(graph.triples(split)) for split in graph.splits])
    above: dict[int, list[int]] = {}
    for head, tail in triples[triples[:, 1] == number][:, [0, 2]].tolist():
        above.setdefault(head, []).append(tail)
    members: dict[str, set[int]] = {}
    for row, entity in enumerate(rows.entities.tolist()):
        for area in _reached(above, entity):
            members.setdefault(graph.entities.name(area), set()).add(row)
    if not members:
        raise ConfigError(f"{graph.path}: relation {relation!r} leads from no {rows.type} to an area")
    return _arrays(members)


def chosen_areas(areas: Areas, pairs: Pairs, names: tuple[str, ...], smallest: int) -> Areas:
    """The areas to hold out: those that are named, or by size, counted in rows that have a known pair.

    Without names: all with at least `smallest` such rows and at most half of all, but for those that lie within another
    one of them. Of areas with the same rows the first by name is kept.

    Raises `ConfigError` for a name that is no area, and where no area has a fitting size.
    """
    for name in names:
        if name not in areas:
            raise ConfigError(unknown("area", name, sorted(areas), where="splitting.areas"))
    if names:
        return {name: areas[name] for name in names}
    with_known = pairs.row_counts > 0
    sizes = {name: int(with_known[members].sum()) for name, members in areas.items()}
    fitting = sorted(name for name, size in sizes.items() if smallest <= size <= with_known.sum() / 2)
    if not fitting:
        raise ConfigError(
            f"none of {len(areas):,} areas holds {smallest} to {with_known.sum() // 2} {pairs.rows.type} nodes with a known "
            "answer: name areas with splitting.areas, or lower splitting.smallest_area"
        )
    masks = {name: _mask(areas[name], len(pairs.rows)) & with_known for name in fitting}
    return {
        name: areas[name] for name in fitting if not any(_covers(masks, other, name) for other in fitting)
    }


def _covers(masks: Mapping[str, Bool[np.ndarray, " rows"]], outer: str, inner: str) -> bool:
    """Whether one area holds the other and more, or the same and comes before it."""
    if outer == inner or (masks[inner] & ~masks[outer]).any():
        return False
    return bool((masks[outer] & ~masks[inner]).any()) or outer < inner


def _reached(above: Mapping[int, list[int]], start: int) -> set[int]:
    """All that is above a node; a loop does no harm."""
    found: set[int] = set()
    waiting = list(above.get(start, []))
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += above.get(one, [])
    return found - {start}


def _arrays(members: Mapping[str, set[int]]) -> Areas:
    return {name: np.array(sorted(rows), np.int64) for name, rows in sorted(members.items())}


def _mask(members: Int[np.ndarray, " members"], count: int) -> Bool[np.ndarray, " rows"]:
    found = np.zeros(count, bool)
    found[members] = True
    return found
