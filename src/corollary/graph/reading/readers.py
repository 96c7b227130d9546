"""Tables of labels into the staging tables: triples, names, nodes.

DuckDB reads every line and splits it; a line that does not fit is only marked, and found again by its number for the
message or for the list of rejects. The slow, obvious version is tests/reference/reading.py.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from corollary.errors import InputError
from corollary.graph.reading.archives import Unpacked
from corollary.graph.reading.layouts import Lines, sample
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
    layout: Lines
    count: int
    """Rows that were kept."""
    size: int
    """Rows in the file, kept or not: a position is below it."""
    start: int = 0
    """What a position in the file is counted from in the ordinals of `edges`."""

    def lines(self, positions: Collection[int]) -> dict[int, tuple[int, str]]:
        """Line number and text of some rows."""
        found = line_numbers(self.path, positions)
        return {row: (line, raw.decode(errors="replace")) for row, (line, raw) in found.items()}


def read_triples(reading: Reading, path: Path, layout: Lines, split: str) -> Table:
    """Append the triples of one file to the staging table `edges`, behind all that are there."""
    table = read_table(reading, path, layout, optional={"source"})
    (start,) = one_row(reading.connection, "SELECT coalesce(max(ordinal) + 1, 0) FROM edges")
    source = "source" if "source" in layout.columns else "''"
    reading.connection.execute(
        f"""INSERT INTO edges SELECT position + {start}, ?, head, relation, tail, {source}
        FROM incoming""",
        [split],
    )
    forget(reading.connection)
    return replace(table, start=start)


def read_nodes(reading: Reading, path: Path, layout: Lines, *, only_known: bool) -> Table:
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


def read_table(reading: Reading, path: Path, layout: Lines, *, optional: Collection[str] = ()) -> Table:
    """Read a file into the temporary view `incoming`: `position`, the row in the file, and one text column a part.

    The view lasts until the next file is read; its rows come in the order of the file.

    Blank lines are skipped. Raises `InputError`, or keeps as rejects, lines that are not UTF-8, have too few or too
    many fields, an empty one, a quote out of place or a control character.

    Args:
        optional: parts that may be empty.
    """
    connection = reading.connection
    forget(connection)
    connection.execute(
        "CREATE TEMP TABLE raw_rows (blank BOOLEAN, bad BOOLEAN, spaced BOOLEAN, fields VARCHAR[])"
    )
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
        f"CREATE TEMP VIEW incoming AS SELECT rowid AS position, {fields} FROM raw_rows WHERE {keep}"
    )
    kept, size, spaced, first_spaced = one_row(
        connection,
        f"""SELECT count(*) FILTER (WHERE {keep}), count(*), count(*) FILTER (WHERE {keep} AND spaced),
            coalesce(min(rowid) FILTER (WHERE {keep} AND spaced), -1) FROM raw_rows""",
    )
    table = Table(path, layout, kept, size)
    _check_count(reading, table)
    if spaced:
        _warn_of_spaces(reading, table, first_spaced, spaced)
    return table


def forget(connection: duckdb.DuckDBPyConnection) -> None:
    """Give back the disk and memory of the file that was read last."""
    connection.execute("DROP VIEW IF EXISTS incoming; DROP TABLE IF EXISTS raw_rows")


def _marked_rows(layout: Lines, optional: Collection[str]) -> str:
    needed = [i + 1 for i, part in enumerate(layout.columns) if part != "-" and part not in optional]
    tests = [
        f"regexp_matches(line, '{layout.control}')",
        "fields IS NULL",
        f"len(fields) <> {len(layout.columns)}",
        *(f"fields[{i}] = ''" for i in needed),
    ]
    read = [f"fields[{i + 1}]" for i, part in enumerate(layout.columns) if part != "-"]
    spaced = " OR ".join(f"{field} <> trim({field})" for field in read)
    split = f"SELECT line, {layout.sql} AS fields FROM lines"
    return f"""SELECT coalesce({layout.blank}, false), coalesce({" OR ".join(tests)}, true), coalesce({spaced}, false),
        fields FROM ({split})"""


def _data_start(connection: duckdb.DuckDBPyConnection, layout: Lines) -> int:
    """The row behind the count line and the header; blank lines may stand before them."""
    if layout.first_row == 0:
        return 0
    rows = connection.execute(
        f"SELECT rowid FROM raw_rows WHERE NOT blank ORDER BY rowid LIMIT {layout.first_row}"
    ).fetchall()
    return int(rows[-1][0]) + 1 if rows else 0


def _refuse_bad_rows(
    reading: Reading, path: Path, layout: Lines, optional: Collection[str], first: int
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


def _warn_of_spaces(reading: Reading, table: Table, first: int, count: int) -> None:
    ((line, _),) = table.lines([first]).values()
    reading.say(
        f"{table.path}:{line}: a name begins or ends with a space, here and on "
        f"{counted(count - 1, 'other line')}; the spaces are kept as part of the names"
    )
