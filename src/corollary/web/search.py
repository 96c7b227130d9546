"""Search of entities by name: SQLite's full-text index with prefixes, rows in the order of degree.

Since the best known entities come first in the index, the first rows that match are the answer and nothing is sorted.
The index holds no text. Names without a letter or digit, such as emoji, stand in a small table beside it.

Cost: about 0.1 s and 2 MiB for 45,000 names, built once for a graph.
"""

import re
import sqlite3
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Int

from corollary.graph.arrays import pieces
from corollary.graph.folder import Graph
from corollary.storage import new_folder

FORMAT = 1
MOST_COUNTED = 1000
"""Matches up to which they are counted."""
_LETTERS, _WORDS = 80, 6
_WORD = re.compile(r"[^\W_]+")
_PER_CHUNK = 1 << 14


class SearchIndex:
    """An opened index. One connection, read-only, used by one thread at a time."""

    def __init__(self, folder: Path, graph: Graph) -> None:
        self._graph = graph
        self._order: Int[np.ndarray, " entities"] = np.load(folder / "order.npy", mmap_mode="r")
        self.degrees: Int[np.ndarray, " entities"] = np.load(folder / "degrees.npy", mmap_mode="r")
        """Training triples of each entity."""
        address = f"{(folder / 'names.sqlite').resolve().as_uri()}?mode=ro&immutable=1"
        self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, graph: Graph, folder: Path) -> Self:
        """The index of a graph in a folder of indexes, made where it is not there yet."""
        place = folder / f"search-{FORMAT}-{graph.fingerprint[:16]}"
        if not place.is_dir():
            with new_folder(place) as partial:
                _build(graph, partial)
        return cls(place, graph)

    def find(self, text: str, *, limit: int = 10, offset: int = 0) -> list[int]:
        """Ids of the entities that match, an exact label or name first, then those with most training triples.

        Every word has to begin a word of the name. Accents and capitals do not matter.
        """
        exact = self._exact(text) if offset == 0 else []
        match = _query(text)
        if match:
            found = self._rows(
                "SELECT rowid FROM names WHERE names MATCH ? LIMIT ? OFFSET ?", match, limit, offset
            )
        elif text.strip():
            found = self._rows(
                "SELECT place FROM signs WHERE instr(text, ?) ORDER BY place LIMIT ? OFFSET ?",
                text.strip()[:_LETTERS], limit, offset,
            )  # fmt: skip
        else:
            found = []
        ids = [int(self._order[place - 1]) for place in found]
        return list(dict.fromkeys([*exact, *ids]))[:limit]

    def count(self, text: str) -> int:
        """Number of matches; `MOST_COUNTED` + 1 where there are more than that."""
        match = _query(text)
        if not match:
            return len(self.find(text, limit=MOST_COUNTED + 1))
        (found,) = self._rows(
            "SELECT count(*) FROM (SELECT rowid FROM names WHERE names MATCH ? LIMIT ?)",
            match,
            MOST_COUNTED + 1,
        ) or [0]
        return max(found, len(self._exact(text)))

    def best_known(self, number: int) -> list[int]:
        """Entities with most training triples."""
        return [int(entity) for entity in self._order[:number]]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _exact(self, text: str) -> list[int]:
        entities = self._graph.entities
        rows = entities.labels.rows_of(text) if text else []
        if not rows and text and entities.names is not None:
            rows = entities.names.rows_of(text)[:10]
        return rows

    def _rows(self, query: str, *values: object) -> list[int]:
        with self._lock:
            try:
                return [int(row[0]) for row in self._connection.execute(query, values)]
            except sqlite3.OperationalError:
                # SQLite's letters are those of an older Unicode: a word of others is nothing to it
                return []


def _build(graph: Graph, folder: Path) -> None:
    """Write order, degrees and index. Memory: 24 bytes an entity and one chunk of names."""
    degrees = np.zeros(graph.num_entities, np.int64)
    for triples in pieces(graph.path / "edges" / "train.npy"):
        for column in (0, 2):
            degrees += np.bincount(triples[:, column], minlength=graph.num_entities)
    order = np.lexsort((np.arange(graph.num_entities), -degrees))
    np.save(folder / "order.npy", order)
    np.save(folder / "degrees.npy", degrees)
    connection = sqlite3.connect(folder / "names.sqlite")
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "CREATE VIRTUAL TABLE names USING fts5(label, content='', detail=none, prefix='1 2 3 4', "
            "tokenize='unicode61 remove_diacritics 2')"
        )
        connection.execute("CREATE TABLE signs (place INTEGER PRIMARY KEY, text TEXT)")
        for rows in _named(graph, order):
            connection.executemany("INSERT INTO names (rowid, label) VALUES (?, ?)", rows)
            signs = [(place, text) for place, text in rows if not _WORD.search(text)]
            connection.executemany("INSERT INTO signs VALUES (?, ?)", signs)
        connection.execute("INSERT INTO names (names) VALUES ('optimize')")
        connection.commit()
    finally:
        connection.close()


def _named(graph: Graph, order: Int[np.ndarray, " entities"]) -> Iterator[list[tuple[int, str]]]:
    """Places in the order, from 1, with label and name, folded."""
    entities = graph.entities
    for start in range(0, len(order), _PER_CHUNK):
        found = []
        for place, entity in enumerate(order[start : start + _PER_CHUNK].tolist(), start + 1):
            label, name = entities.label(entity), entities.name(entity)
            found.append((place, _folded(name if name == label else f"{name} {label}")))
        yield found


def _folded(text: str) -> str:
    """Without accents and capitals."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()


def _query(text: str) -> str:
    """The words as FTS5 reads them, each the beginning of one; empty where there is no word."""
    words = _WORD.findall(_folded(text[:_LETTERS]))[:_WORDS]
    return " ".join(f'"{word}"*' for word in words)
