"""Files of pairs from outside: curated negatives, an external list of answers, marks to be shown."""

from pathlib import Path

import numpy as np

from corollary.errors import InputError
from corollary.graph.folder import Graph
from corollary.graph.reading.text_lines import first_line, lines_of
from corollary.repurpose.pairs import Pairs, Places, sorted_places

_HEADERS = {
    ("head", "tail"),
    ("subject", "object"),
    ("head", "relation", "tail"),
    ("subject", "predicate", "object"),
}


def read_places(path: Path, pairs: Pairs, graph: Graph) -> tuple[Places, int]:
    """Pairs of a file, and how many of its lines name nodes that the graph does not hold or of other types.

    Args:
        path: gzipped or not; commas between fields in a .csv, else tabs; a line is head and tail, or head, relation and tail, by label or name; a
            header of these words, or of subject, predicate, object, may come first.

    Raises `InputError` for a file without pairs of the graph, or a line of another width.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file of pairs")
    found, missed = [], 0
    first_line(path)  # says so where this is no text
    delimiter = "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"
    for number, raw in lines_of(path):
        fields = raw.decode(errors="replace").split(delimiter)
        if number == 1 and tuple(word.lower() for word in fields) in _HEADERS:
            continue
        if len(fields) not in (2, 3):
            raise InputError(f"{path}:{number}: {len(fields)} fields; expected head and tail, or a triple")
        head, tail = (np.array([_entity(graph, fields[end])]) for end in (0, -1))
        row, column = (tail, head) if pairs.side == "head" else (head, tail)
        place = int(pairs.rows.places(row)[0]), int(pairs.columns.places(column)[0])
        if min(place) < 0:
            missed += 1
        else:
            found.append(place)
    if not found:
        raise InputError(
            f"{path} has no pair of a {pairs.columns.type} and a {pairs.rows.type} of the graph: lines are the head and "
            f"the tail of {pairs.relation!r}, by label or name"
        )
    return sorted_places(np.array(found)), missed


def _entity(graph: Graph, text: str) -> int:
    """The id of a label, or of a name that one node bears; -1 where there is none."""
    entities = graph.entities
    if rows := entities.labels.rows_of(text):
        return rows[0]
    rows = entities.names.rows_of(text) if entities.names is not None and text else []
    return rows[0] if len(rows) == 1 else -1
