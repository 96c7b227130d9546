"""Where files become a graph: a private DuckDB database in which every reader leaves the same five tables.

nodes(label, name, type, categories)                       what node files said; may be empty; one row a label
edges(ordinal, split, head, relation, tail, source)        every triple by label; `ordinal` is the order of reading
entity_ids(label, id) and relation_ids(label, id)          ids that the user gave; empty where none were given

Joining, filtering, de-duplication and encoding are SQL on these tables alone, so a graph of any size is cut and
numbered inside the memory limit: DuckDB spills to disk what does not fit.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from corollary.budget import MIB, Budget, resident_bytes, show_bytes
from corollary.errors import PlanDoesNotFit
from corollary.storage import readable_errors, scratch_folder

SMALLEST = 128 * MIB  # with less a file of 20 million lines is not read (measured: 96 MiB fail)
# What DuckDB takes outside its limit, measured: 85 to 127 MiB with two threads.
BESIDE, A_THREAD = 96 * MIB, 32 * MIB
SHARE = 0.95  # of what is left; DuckDB goes past its limit by some per cent (measured, 800 MiB)

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
        threads: that DuckDB may use; None means all.
    """

    connection: duckdb.DuckDBPyConnection
    """With the tables above, empty at first."""

    def __init__(self, folder: Path, memory_limit: int | None, threads: int | None = None) -> None:
        self._parent = folder
        self._memory_limit = memory_limit
        self._threads = threads

    @classmethod
    def within(cls, folder: Path, budget: Budget, what: str) -> Self:
        """A database that leaves the whole process within the budget.

        Raises `PlanDoesNotFit`, itemised, where what is left beside this process is too little for any graph.
        """
        if budget.limit is None:
            return cls(folder, None)
        resident = resident_bytes()
        needed = {"this process": resident, "reading lines": BESIDE + A_THREAD, "the database": SMALLEST}
        if sum(needed.values()) > budget.limit:
            parts = ", ".join(f"{name} {size / MIB:.1f}" for name, size in needed.items())
            raise PlanDoesNotFit(
                f"{what} needs at least {sum(needed.values()) / MIB:.1f} MiB and the budget is "
                f"{budget.limit / MIB:.1f} MiB: {parts} (MiB). Raise --memory-limit."
            )
        left = budget.limit - resident - BESIDE
        threads = max(1, min(os.cpu_count() or 1, left // (A_THREAD + SMALLEST)))
        return cls(folder, max(SMALLEST, int(SHARE * (left - threads * A_THREAD))), threads)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(readable_errors(self._parent))
            self.folder = stack.enter_context(scratch_folder(self._parent / "staging"))
            self.connection = duckdb.connect(str(self.folder / "staging.duckdb"))
            self.connection.execute("SET preserve_insertion_order = true")
            with suppress(duckdb.InvalidInputException):  # a notebook without ipywidgets has no bar to hide
                self.connection.execute("SET enable_progress_bar = false")  # it would go to standard output
            self.connection.execute(f"SET temp_directory = '{quoted(self.folder / 'spill')}'")
            if self._threads is not None:
                self.connection.execute(f"SET threads = {self._threads}")
            if self._memory_limit is not None:
                self.connection.execute(f"SET memory_limit = '{self._memory_limit} B'")
            self.connection.execute(TABLES)
            self._cleanup = stack.pop_all()
        return self

    def execute_large(self, query: str, values: dict[str, Any] | None = None) -> None:
        """Run a statement over all edges or nodes so that it gets through with little memory.

        Joins are done as they are written, with the right side in memory: DuckDB takes the estimate of a chain of joins
        for far too small, and then holds the edges. Where memory runs out, what other statements left in it goes to
        disk, and one thread tries again: every thread has buffers of its own (measured at 100 MiB: two run out).
        """
        self.connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        try:
            self.connection.execute(query, values)
        except duckdb.OutOfMemoryException:
            self.connection.execute("CHECKPOINT")
            self.connection.execute("SET threads = 1")
            self.connection.execute(query, values)
            threads = "RESET threads" if self._threads is None else f"SET threads = {self._threads}"
            self.connection.execute(threads)
        self.connection.execute("RESET disabled_optimizers")

    def close(self) -> None:
        """Remove the database and all that lies beside it, and give back its memory. A second time is no error."""
        self._disconnect()
        self._cleanup.close()

    def _disconnect(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()
            # one that is left at the end of the process is reported as a leak (duckdb 2.0)
            del self.connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnect()
        if isinstance(error, duckdb.OutOfMemoryException):
            self._cleanup.close()
            limit = "" if self._memory_limit is None else f" of {show_bytes(self._memory_limit)}"
            raise PlanDoesNotFit(
                f"the database ran out of its share{limit} while reading the graph: raise --memory-limit, or cut the "
                f"graph while it is read (--predicates, --categories, --k-core)"
            ) from error
        self._cleanup.__exit__(kind, error, trace)


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
