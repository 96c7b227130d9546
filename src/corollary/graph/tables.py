"""The vocabulary of a graph folder: from two tables of a database to its files, some rows at a time.

entity_rows(id, label, name, type, categories)   in the order of id; categories as a JSON array
relation_rows(id, label)                         in the order of id

The database sorts, spilling what does not fit its limit; in Python there are never more than some thousand labels.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from corollary.graph.arrays import PIECE, ArrayWriter
from corollary.graph.reading.staging import count_rows, quoted
from corollary.graph.reading.text_lines import insert_columns

TABLES = """
CREATE OR REPLACE TABLE entity_rows (id BIGINT, label VARCHAR, name VARCHAR, type VARCHAR, categories VARCHAR);
CREATE OR REPLACE TABLE relation_rows (id BIGINT, label VARCHAR);
"""
_ROWS = 1 << 16  # texts at a time


@dataclass(frozen=True)
class Tables:
    """What was written."""

    num_entities: int
    num_relations: int
    node_types: list[str]
    fingerprint: str
    """SHA-256 of the labels in the order of their ids."""


def fill_tables(
    connection: duckdb.DuckDBPyConnection,
    labels: Sequence[str],
    relations: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    categories: Sequence[Sequence[str]] | None = None,
) -> None:
    """Make both tables from sequences; what is not given is empty."""
    connection.execute(TABLES)
    for first, stop in _ranges(len(labels), _ROWS):
        empty = [""] * (stop - first)
        name, kind = (list(values[first:stop]) if values else empty for values in (names, types))
        lists = categories[first:stop] if categories else [()] * len(empty)
        arrays = [json.dumps(list(values), ensure_ascii=False) for values in lists]
        ids = np.arange(first, stop)
        insert_columns(connection, "entity_rows", ids, list(labels[first:stop]), name, kind, arrays)
    for first, stop in _ranges(len(relations), _ROWS):
        insert_columns(connection, "relation_rows", np.arange(first, stop), list(relations[first:stop]))


def write_tables(connection: duckdb.DuckDBPyConnection, folder: Path) -> Tables:
    """Write `nodes.parquet`, `relations.parquet` and the vocabulary's files in the folder `index`, which must exist.

    The same rows give the same bytes, whatever memory and threads the database has.
    """
    index, digest = folder / "index", hashlib.sha256()
    for heading, table, name in (
        (b"entities\0", "entity_rows", "entities"),
        (b"relations\0", "relation_rows", "relations"),
    ):
        digest.update(heading)
        write_strings(connection, table, "label", index, name, tell=digest.update)
    write_strings(connection, "entity_rows", "name", index, "names")
    node_types = _write_types(connection, index / "types.npy")
    _write_parquet(connection, "entity_rows", folder / "nodes.parquet")
    _write_parquet(connection, "relation_rows", folder / "relations.parquet")
    num_entities, num_relations = (count_rows(connection, f"{kind}_rows") for kind in ("entity", "relation"))
    return Tables(num_entities, num_relations, node_types, digest.hexdigest())


def write_strings(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    column: str,
    folder: Path,
    name: str,
    *,
    tell: Callable[[bytes], None] | None = None,
) -> None:
    """Write one column of a table with dense ids as a `vocabulary.StringTable` that can be searched.

    Args:
        tell: is told every text, each with a zero byte behind it.
    """
    end = 0
    with (
        ArrayWriter(folder / f"{name}.offsets.npy", np.int64) as offsets,
        (folder / f"{name}.text").open("wb") as file,
    ):
        offsets.append(np.zeros(1, np.int64))
        for first, stop in _ranges(count_rows(connection, table), _ROWS):
            those = f"FROM {table} WHERE id >= {first} AND id < {stop}"
            found = connection.execute(f"SELECT strlen({column}) AS size {those} ORDER BY id").fetchnumpy()
            ends = np.cumsum(found["size"], dtype=np.int64)
            joined = connection.execute(f"SELECT string_agg({column}, '' ORDER BY id) {those}").fetchone()
            text = joined[0].encode() if joined else b""
            file.write(text)
            offsets.append(end + ends)
            end += len(text)
            if tell is not None:
                tell(np.insert(np.frombuffer(text, np.uint8), ends, 0).tobytes())
    connection.execute(f"CREATE OR REPLACE TABLE sorted_rows AS SELECT id FROM {table} ORDER BY {column}, id")
    with ArrayWriter(folder / f"{name}.sorted.npy", np.int64) as order:
        for rows in fetched(connection, "id", "sorted_rows"):
            order.append(rows["id"])
    connection.execute("DROP TABLE sorted_rows")


def fetched(
    connection: duckdb.DuckDBPyConnection, columns: str, table: str, start: int = 0, stop: int | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Columns of a table that nothing was deleted from, some rows at a time, in the order of insertion.

    Args:
        start: first row; `stop` is the first that is left out, None for all.
    """
    count = count_rows(connection, table) if stop is None else stop
    for first, last in _ranges(count, PIECE, start):
        query = f"SELECT {columns} FROM {table} WHERE rowid >= {first} AND rowid < {last} ORDER BY rowid"
        found = connection.execute(query).fetchnumpy()
        yield {name: np.asarray(values) for name, values in found.items()}


def _write_types(connection: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    """Write the code of every entity's type, where there are types; returns their names."""
    rows = connection.execute("SELECT DISTINCT type FROM entity_rows WHERE type <> ''").fetchall()
    names = sorted(name for (name,) in rows)
    if not names:
        return []
    connection.execute("CREATE OR REPLACE TABLE type_codes (type VARCHAR, code INTEGER)")
    insert_columns(connection, "type_codes", names, np.arange(len(names)))
    with ArrayWriter(path, np.int32) as codes:
        for first, stop in _ranges(count_rows(connection, "entity_rows"), PIECE):
            found = connection.execute(
                f"""SELECT coalesce(code, -1) AS code FROM entity_rows LEFT JOIN type_codes USING (type)
                WHERE id >= {first} AND id < {stop} ORDER BY id"""
            )
            codes.append(np.asarray(found.fetchnumpy()["code"]))
    connection.execute("DROP TABLE type_codes")
    return names


def _write_parquet(connection: duckdb.DuckDBPyConnection, table: str, path: Path) -> None:
    """With one thread, so that the rows stand in groups of the same size."""
    threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
    connection.execute("SET threads = 1")
    connection.execute(f"COPY {table} TO '{quoted(path)}' (FORMAT parquet)")
    connection.execute(f"SET threads = {threads}")


def _ranges(count: int, size: int, start: int = 0) -> Iterator[tuple[int, int]]:
    for first in range(start, count, size):
        yield first, min(first + size, count)
