"""Tables of labels into the staging tables: triples, names, nodes.

DuckDB reads every line and splits it; a line that does not fit is only marked, and found again by its number for the
message or for the list of rejects. The slow, obvious version is tests/reference/reading.py.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
from jaxtyping import Int

from corollary.errors import InputError
from corollary.graph.reading.archives import Unpacked
from corollary.graph.reading.layouts import Layout, sample
from corollary.graph.reading.staging import Staging, counted, one_row
from corollary.graph.reading.text_lines import OnError, bad_lines, insert_rows, keep_rejects, line_numbers
from corollary.messages import Say


@dataclass(frozen=True)
class Reading:
    """What every reader needs: the database, the names of files, what to do with bad lines, where to report."""

    staging: Staging
    unpacked: Unpacked
    on_error: OnError
    """raise stops at the first bad line; skip keeps bad lines in the table `rejects`."""
    say: Say

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        return self.staging.connection


@dataclass(frozen=True)
class Table:
    """A file that was read: where its rows went, so that their lines can be found again."""

    path: Path
    layout: Layout
    count: int
    """Rows that were kept."""
    rows: Int[np.ndarray, " count"] | None
    """The row in the file of each row that was kept; None where they follow each other behind the header."""
    start: int = 0
    """Ordinal of the first triple."""

    def lines(self, positions: Collection[int]) -> dict[int, tuple[int, str]]:
        """Line number and text of some of the kept rows, counted from 0."""
        place = {i + self.layout.first_row if self.rows is None else int(self.rows[i]): i for i in positions}
        found = line_numbers(self.path, list(place))
        return {place[row]: (line, raw.decode(errors="replace")) for row, (line, raw) in found.items()}


def read_triples(reading: Reading, path: Path, layout: Layout, split: str) -> Table:
    """Append the triples of one file to the staging table `edges`, behind all that are there."""
    table = read_table(reading, path, layout, optional={"source"})
    (start,) = one_row(reading.connection, "SELECT coalesce(max(ordinal) + 1, 0) FROM edges")
    source = "source" if "source" in layout.columns else "''"
    reading.connection.execute(
        f"""INSERT INTO edges SELECT position + {start}, ?, head, relation, tail, {source}
        FROM incoming""",
        [split],
    )
    return replace(table, start=start)


def read_nodes(reading: Reading, path: Path, layout: Layout, *, only_known: bool) -> Table:
    """Append labels with their names and types to the staging table `nodes`.

    Args:
        only_known: leave out labels that no edge, node or id file has.
    """
    table = read_table(reading, path, layout, optional={"name", "type"})
    name, kind = (part if part in layout.columns else "''" for part in ("name", "type"))
    known = """SEMI JOIN (SELECT head AS label FROM edges UNION SELECT tail FROM edges
        UNION SELECT label FROM nodes UNION SELECT label FROM entity_ids) AS known USING (label)"""
    (added,) = one_row(
        reading.connection,
        f"""INSERT INTO nodes SELECT label, {name}, {kind}, CASE WHEN {kind} = '' THEN [] ELSE [{kind}] END
        FROM incoming {known if only_known else ""} ORDER BY position""",
    )
    if added < table.count:
        reading.say(
            f"{path}: left out {table.count - added:,} of {counted(table.count, 'label')}, which the "
            "graph does not have"
        )
    return table


def read_table(reading: Reading, path: Path, layout: Layout, *, optional: Collection[str] = ()) -> Table:
    """Read a file into the temporary view `incoming`: `position` from 0, and one text column a part.

    The view lasts until the next file is read; its rows come in the order of the file.

    Blank lines are skipped. Raises `InputError`, or keeps as rejects, lines that are not UTF-8, have too few or too
    many fields, an empty one, a quote out of place or a control character.

    Args:
        optional: parts that may be empty.
    """
    connection = reading.connection
    connection.execute("CREATE OR REPLACE TEMP TABLE raw_rows (blank BOOLEAN, bad BOOLEAN, fields VARCHAR[])")
    unreadable = insert_rows(
        connection, path, "raw_rows", _marked_rows(layout, optional), on_error=reading.on_error
    )
    if unreadable:
        keep_rejects(connection, path, unreadable)
    first = _data_start(connection, layout)
    _refuse_bad_rows(reading, path, layout, optional, first)
    keep = f"NOT blank AND NOT bad AND rowid >= {first}"
    fields = ", ".join(f"fields[{i + 1}] AS {part}" for i, part in enumerate(layout.columns) if part != "-")
    connection.execute(
        f"""CREATE OR REPLACE TEMP VIEW incoming AS
        SELECT row_number() OVER () - 1 AS position, {fields} FROM raw_rows WHERE {keep}"""
    )
    kept, total = one_row(connection, f"SELECT count(*) FILTER (WHERE {keep}), count(*) FROM raw_rows")
    rows = None
    if kept != total - layout.first_row:
        query = f"SELECT rowid FROM raw_rows WHERE {keep} ORDER BY rowid"
        rows = np.asarray(connection.execute(query).fetchnumpy()["rowid"], dtype=np.int64)
    table = Table(path, layout, kept, rows)
    _check_count(reading, table)
    _warn_of_spaces(reading, table)
    return table


def _marked_rows(layout: Layout, optional: Collection[str]) -> str:
    needed = [i + 1 for i, part in enumerate(layout.columns) if part != "-" and part not in optional]
    tests = [
        f"regexp_matches(line, '{layout.control}')",
        "fields IS NULL",
        f"len(fields) <> {len(layout.columns)}",
        *(f"fields[{i}] = ''" for i in needed),
    ]
    split = f"SELECT line, {layout.sql} AS fields FROM lines"
    return f"SELECT coalesce(trim(line) = '', false), coalesce({' OR '.join(tests)}, true), fields FROM ({split})"


def _data_start(connection: duckdb.DuckDBPyConnection, layout: Layout) -> int:
    """The row behind the count line and the header; blank lines may stand before them."""
    if layout.first_row == 0:
        return 0
    rows = connection.execute(
        f"SELECT rowid FROM raw_rows WHERE NOT blank ORDER BY rowid LIMIT {layout.first_row}"
    ).fetchall()
    return int(rows[-1][0]) + 1 if rows else 0


def _refuse_bad_rows(
    reading: Reading, path: Path, layout: Layout, optional: Collection[str], first: int
) -> None:
    """Raise for the first bad row, or keep all of them as rejects."""
    query = f"SELECT rowid FROM raw_rows WHERE bad AND NOT blank AND rowid >= {first} ORDER BY rowid"
    limit = " LIMIT 1" if reading.on_error == "raise" else ""
    rows = [row for (row,) in reading.connection.execute(query + limit).fetchall()]
    if not rows:
        return
    lines = bad_lines(path, rows, lambda raw: layout.problem(raw, optional))
    if reading.on_error == "raise":
        bad = next(iter(lines))
        raise InputError(f"{path}:{bad.line}: {bad.problem}")
    keep_rejects(reading.connection, path, lines)


def _check_count(reading: Reading, table: Table) -> None:
    """There is a line, and where the file says how many it has it is right."""
    if table.count == 0:
        raise InputError(f"{table.path} has no line of {' '.join(table.layout.parts)}: expected at least one")
    if table.layout.count_line and reading.on_error == "raise":
        promised = int(sample(table.path)[0])
        if promised != table.count:
            raise InputError(
                f"{table.path}:1: the count says {counted(promised, 'line')} and {table.count:,} follow: was the file cut "
                "short? Correct the count if it is whole"
            )


def _warn_of_spaces(reading: Reading, table: Table) -> None:
    odd = " OR ".join(f"{part} <> trim({part})" for part in table.layout.parts)
    position, count = one_row(
        reading.connection, f"SELECT coalesce(min(position), 0), count(*) FROM incoming WHERE {odd}"
    )
    if count:
        ((line, _),) = table.lines([position]).values()
        reading.say(
            f"{table.path}:{line}: a name begins or ends with a space, here and on "
            f"{counted(count - 1, 'other line')}; the spaces are kept as part of the names"
        )
