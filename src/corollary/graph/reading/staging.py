"""Where files become a graph: a private DuckDB database in which every reader leaves the same five tables.

nodes(label, name, type, categories)                       what node files said; may be empty; one row a label
edges(ordinal, split, head, relation, tail, source)        every triple by label; `ordinal` is the order of reading
entity_ids(label, id) and relation_ids(label, id)          ids that the user gave; empty where none were given

Joining, filtering, de-duplication and encoding are SQL on these tables alone, so a graph of any size is cut and
numbered inside the memory limit: DuckDB spills to disk what does not fit.
"""

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from corollary.budget import MIB, show_bytes
from corollary.errors import PlanDoesNotFit, StorageError
from corollary.storage import readable_errors

SMALLEST = 64 * MIB

TABLES = """
CREATE TABLE nodes (label VARCHAR, name VARCHAR, type VARCHAR, categories VARCHAR[]);
CREATE TABLE edges (
    ordinal BIGINT, split VARCHAR, head VARCHAR, relation VARCHAR, tail VARCHAR, source VARCHAR
);
CREATE TABLE entity_ids (label VARCHAR, id BIGINT);
CREATE TABLE relation_ids (label VARCHAR, id BIGINT);
"""


class Staging:
    """A database on disk that lives as long as a `with` block.

    Everything it writes is in a hidden folder inside `folder`, which is removed at the end, whatever happened.
    What DuckDB says about memory or the disk becomes `PlanDoesNotFit` or `StorageError`.

    Args:
        folder: where there is room for about twice the unpacked input; beside the output is a good place.
        memory_limit: bytes that DuckDB may hold at once; None leaves DuckDB its own choice, 80 % of the machine.
    """

    connection: duckdb.DuckDBPyConnection
    """With the tables above, empty at first."""

    def __init__(self, folder: Path, memory_limit: int | None) -> None:
        if memory_limit is not None and memory_limit < SMALLEST:
            raise PlanDoesNotFit(
                f"reading a graph needs at least {show_bytes(SMALLEST)} for the database beside the program itself, "
                f"and {show_bytes(max(memory_limit, 0))} are left of the memory limit: raise --memory-limit"
            )
        self.folder = folder / f".partial-staging-{uuid.uuid4().hex[:8]}"
        self._memory_limit = memory_limit

    def __enter__(self) -> Self:
        with readable_errors(self.folder):
            self.folder.mkdir(parents=True)
        try:
            self.connection = duckdb.connect(str(self.folder / "staging.duckdb"))
            self.connection.execute("SET preserve_insertion_order = true")
            self.connection.execute(f"SET temp_directory = '{quoted(self.folder / 'spill')}'")
            if self._memory_limit is not None:
                self.connection.execute(f"SET memory_limit = '{self._memory_limit} B'")
            self.connection.execute(TABLES)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()
        del self.connection  # one that is left at the end of the process is reported as a leak (duckdb 2.0)
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, duckdb.OutOfMemoryException):
            limit = "" if self._memory_limit is None else f" of {show_bytes(self._memory_limit)}"
            raise PlanDoesNotFit(
                f"the database ran out of its share{limit} while reading the graph: raise --memory-limit, or cut the "
                f"graph while it is read (--predicates, --categories, --k-core)"
            ) from error
        if isinstance(error, duckdb.IOException) and "space" in str(error).lower():
            raise StorageError(
                f"{self.folder.parent} was not written: the disk is full: free some space or choose another place"
            ) from error


def one_row(connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = ()) -> tuple[int, ...]:
    """The numbers in the only row of a query."""
    row = connection.execute(query, list(values)).fetchone()
    assert row is not None
    return row


def count_rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Rows of one table, or of anything that may stand behind FROM."""
    return one_row(connection, f"SELECT count(*) FROM {table}")[0]


def counted(count: int, noun: str) -> str:
    """`1 line`, `1,000 lines`."""
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def quoted(text: str | Path) -> str:
    """Text for use between single quotes in SQL."""
    return str(text).replace("'", "''")
