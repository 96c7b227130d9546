"""Files of labels and ids, in either order of columns; ids are kept exactly as they are given.

Seen in the wild: `node_dict.txt` and `rel_dict.txt` (label, id), OpenKE's `entity2id.txt` (a count, then label, id),
LibKGE's `entity_ids.del` and DGL-KE's `entities.dict` (id, label), PyKEEN's `entity_to_id.tsv.gz` (a header).
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import duckdb

from corollary.errors import InputError
from corollary.graph.joining import replace_rows
from corollary.graph.reading.layouts import Layout, choose_delimiter, is_count, sample
from corollary.graph.reading.readers import Reading, Table, read_table
from corollary.graph.reading.staging import count_rows, one_row
from corollary.graph.reading.text_lines import BadLine, keep_rejects

IdColumns = Literal["label,id", "id,label"]
Kind = Literal["entity", "relation"]
GivenAs = Literal["labels", "ids"]

COLUMNS: Mapping[Kind, tuple[str, ...]] = {"entity": ("head", "tail"), "relation": ("relation",)}
WHOLE = "^-?[0-9]{1,18}$"
_ID_NAMES = {"id", "index", "idx", "ids", "key", "number"}
_NO_ID = "\x01"  # before an id that the file does not have; no label holds it
_SIMILAR = 0.8  # Jaro-Winkler similarity from which on a label is suggested


def read_ids(
    reading: Reading,
    path: Path,
    kind: Kind,
    *,
    columns: IdColumns | None = None,
    quotes: bool | None = None,
) -> Table:
    """Fill the staging table `entity_ids` or `relation_ids`. A pair that stands there twice counts once.

    Raises `InputError` for a line that is not label and id, and for ids that are not 0, 1, 2 … without gaps, each of
    one label; and where the file does not show which column is the id and `columns` does not say it.
    """
    strict = Reading(reading.staging, reading.unpacked, "raise", reading.say)
    layout = replace(_layout(path, columns), quotes=quotes)
    table = read_table(strict, path, layout)
    connection = reading.connection
    order = layout.parts if "id" in layout.parts else _order(connection, path)
    part = dict(zip(order, layout.parts, strict=True))
    label, number = part["label"], part["id"]
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE given AS SELECT position, {label} AS label, {number} AS text,
        CASE WHEN regexp_full_match({number}, '{WHOLE}') THEN {number}::BIGINT END AS id FROM incoming"""
    )
    _check(connection, table)
    connection.execute(f"INSERT INTO {kind}_ids SELECT DISTINCT label, id FROM given ORDER BY id")
    connection.execute("DROP TABLE given")
    return replace(table, layout=replace(layout, columns=order))


def labels_for_ids(reading: Reading, kind: Kind, *, given_as: GivenAs | None) -> GivenAs:
    """Put labels in the place of ids in `edges`, where the triples hold ids.

    Args:
        given_as: None decides: labels where the id file knows all of them as labels, ids where all are whole numbers.

    An id that the file does not have stays as it is, and `check_labels` finds it.
    """
    connection = reading.connection
    if given_as is None:
        given_as = _guess(connection, kind)
    if given_as == "ids":
        columns = ", ".join(
            f"coalesce({column}_ids.label, chr({ord(_NO_ID)}) || edges.{column}) AS {column}"
            for column in COLUMNS[kind]
        )
        joins = " ".join(
            f"""LEFT JOIN {kind}_ids AS {column}_ids
            ON {column}_ids.id = CASE WHEN regexp_full_match(edges.{column}, '{WHOLE}') THEN edges.{column}::BIGINT END"""
            for column in COLUMNS[kind]
        )
        replace_rows(connection, "edges", f"SELECT edges.* REPLACE ({columns}) FROM edges {joins}")
    return given_as


def check_labels(reading: Reading, kind: Kind, tables: Sequence[Table], path: Path) -> None:
    """Every label in `edges` has an id. Raises `InputError` with the nearest label, or moves the edges to `rejects`.

    Args:
        tables: the files of the triples, to find their lines.
        path: the id file, for the message.
    """
    connection = reading.connection
    tests = " UNION ALL ".join(
        f"SELECT ordinal, {place} AS place, {column} AS value FROM edges ANTI JOIN {kind}_ids ON label = {column}"
        for place, column in enumerate(COLUMNS[kind])
    )
    limit = "LIMIT 1" if reading.on_error == "raise" else ""
    bad = connection.execute(
        f"""SELECT ordinal, arg_min(place, place), arg_min(value, place) FROM ({tests}) GROUP BY ordinal
        ORDER BY ordinal {limit}"""
    ).fetchall()
    if not bad:
        return
    problem = functools.cache(functools.partial(_unknown_label, reading, kind, path))
    reasons = {ordinal: problem(COLUMNS[kind][place], value) for ordinal, place, value in bad}
    for table in tables:
        _reject(reading, table, reasons)
    _reject_elsewhere(reading, tables, reasons, path)
    connection.execute("DELETE FROM edges WHERE ordinal IN (SELECT unnest(?::BIGINT[]))", [list(reasons)])


def _reject(reading: Reading, table: Table, reasons: Mapping[int, str]) -> None:
    """Raise for, or keep, those of some triples that came from one file."""
    positions = [ordinal - table.start for ordinal in reasons if 0 <= ordinal - table.start < table.size]
    bad = [
        BadLine(line, reasons[position + table.start], text)
        for position, (line, text) in sorted(table.lines(positions).items())
    ]
    if bad and reading.on_error == "raise":
        raise InputError(f"{table.path}:{bad[0].line}: {bad[0].problem}")
    if bad:
        keep_rejects(reading.connection, table.path, bad)


def _reject_elsewhere(
    reading: Reading, tables: Sequence[Table], reasons: Mapping[int, str], path: Path
) -> None:
    """The same for triples from files whose lines are not known here (KGX)."""
    elsewhere = [
        ordinal
        for ordinal in reasons
        if not any(table.start <= ordinal < table.start + table.size for table in tables)
    ]
    for ordinal in elsewhere:
        row = reading.connection.execute(
            "SELECT head, relation, tail FROM edges WHERE ordinal = ?", [ordinal]
        ).fetchone()
        assert row is not None
        text = "\t".join(str(value).removeprefix(_NO_ID) for value in row)
        if reading.on_error == "raise":
            raise InputError(f"{path} does not fit the edge {text!r}: {reasons[ordinal]}")
        keep_rejects(reading.connection, path, [BadLine(0, reasons[ordinal], text)])


def _guess(connection: duckdb.DuckDBPyConnection, kind: Kind) -> GivenAs:
    values = " UNION ".join(f"SELECT {column} AS value FROM edges" for column in COLUMNS[kind])
    strange, words = one_row(
        connection,
        f"""SELECT count(*), count(*) FILTER (WHERE NOT regexp_full_match(value, '{WHOLE}'))
        FROM ({values}) AS used ANTI JOIN {kind}_ids ON label = value""",
    )
    return "ids" if strange and not words else "labels"


def _unknown_label(reading: Reading, kind: Kind, path: Path, column: str, value: str) -> str:
    """What is wrong with a value, with the nearest label where it is the only message (a search of all labels)."""
    count = count_rows(reading.connection, f"{kind}_ids")
    if value.startswith(_NO_ID):
        return f"the {column} {value[1:]!r} is out of range: {path} has the ids 0 to {count - 1}"
    message = f"the {column} {value!r} is not among the {count:,} labels of {path}"
    if reading.on_error == "skip":
        return message
    nearest = reading.connection.execute(
        f"""SELECT label FROM {kind}_ids WHERE jaro_winkler_similarity(label, $1) >= {_SIMILAR}
        ORDER BY jaro_winkler_similarity(label, $1) DESC, label LIMIT 1""",
        [value],
    ).fetchone()
    return (
        f"{message}. Did you mean {nearest[0]!r}?"
        if nearest
        else f"{message}; --on-error skip leaves such lines out"
    )


def _layout(path: Path, columns: IdColumns | None) -> Layout:
    """Two columns, `first` and `second` unless a header or the user says which is the id."""
    lines = sample(path)
    counted = len(lines) > 1 and is_count(lines[0])
    body = lines[1:] if counted else lines
    cut = choose_delimiter(path, body, 2)
    rows = [fields for line in body if len(fields := Layout(cut, ()).split(line) or []) == 2]
    told = tuple(columns.split(",")) if columns else ("first", "second")
    header = len(rows) > 1 and rows[0] == (Layout(cut, ()).split(body[0])) and _is_header(rows)
    if header and columns is None:
        named = [text.strip().lower() in _ID_NAMES for text in rows[0]]
        if named.count(True) == 1:
            told = ("id", "label") if named[0] else ("label", "id")
    return Layout(cut, told, header=header, count_line=counted)


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether line 1 has no id in it though some column of the other lines has nothing else."""
    whole = [[re.match(WHOLE, text) is not None for text in row] for row in rows]
    return not any(whole[0]) and any(all(row[side] for row in whole[1:]) for side in (0, 1))


def _order(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, ...]:
    """Which column is the id: the one with whole numbers; of two, the one that runs from 0 without gaps."""
    whole, dense = [], []
    for name in ("first", "second"):
        total, numbers, distinct, low, high = one_row(
            connection,
            f"""SELECT count(*), count(id), count(DISTINCT id), coalesce(min(id), -1), coalesce(max(id), -1) FROM (
                SELECT CASE WHEN regexp_full_match({name}, '{WHOLE}') THEN {name}::BIGINT END AS id FROM incoming)""",
        )
        whole.append(numbers)
        dense.append(numbers == total and low == 0 and high == distinct - 1)
    if whole[0] != whole[1]:
        return ("id", "label") if whole[0] > whole[1] else ("label", "id")
    if whole[0] == 0:
        raise InputError(
            f"{path}: neither column holds whole numbers: expected a label and an id on each line"
        )
    if dense[0] != dense[1]:
        return ("id", "label") if dense[0] else ("label", "id")
    if one_row(connection, "SELECT count(*) FROM incoming WHERE first <> second") == (0,):
        return "label", "id"
    both = "both columns run" if dense[0] else "neither column runs"
    raise InputError(
        f"{path}: labels and ids are whole numbers alike and {both} from 0 without gaps: say which is which with "
        "--id-columns label,id or --id-columns id,label"
    )


def _check(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Ids are whole numbers from 0 without gaps, one a label."""
    row = connection.execute(
        "SELECT position, label, text FROM given WHERE id IS NULL OR id < 0 ORDER BY position LIMIT 1"
    ).fetchone()
    if row:
        raise InputError(
            f"{_place(table, row[0])}: the id {row[2]!r} of {row[1]!r} is not a whole number from 0 on"
        )
    _check_once(connection, table, "id", "label", "an id has one label")
    _check_once(connection, table, "label", "id", "a label has one id")
    low, high, count, last = one_row(
        connection, "SELECT min(id), max(id), count(DISTINCT id), arg_max(position, id) FROM given"
    )
    if high == count - 1:
        return
    (missing,) = one_row(
        connection,
        """SELECT min(id) + 1 FROM (SELECT -1 AS id UNION SELECT id FROM given) AS taken
        WHERE NOT EXISTS (SELECT 1 FROM given WHERE given.id = taken.id + 1)""",
    )
    remedy = (
        f"subtract {low} from every id, here and in the triples" if low else "number the labels without gaps"
    )
    if table.layout.header:
        remedy += "; line 1 was taken for a header"
    raise InputError(
        f"{_place(table, last)}: the id {high} is out of range: {count:,} labels take the ids 0 to {count - 1}, and "
        f"{missing} is missing: {remedy}"
    )


def _check_once(connection: duckdb.DuckDBPyConnection, table: Table, key: str, other: str, rule: str) -> None:
    """Every value of column `key` stands beside one value of column `other`."""
    row = connection.execute(
        f"""SELECT later.position, first.position, later.{key}, later.{other}, first.{other}
        FROM given AS later JOIN (
            SELECT {key}, arg_min({other}, position) AS {other}, min(position) AS position FROM given
            GROUP BY {key} HAVING count(DISTINCT {other}) > 1
        ) AS first ON later.{key} = first.{key} AND later.{other} <> first.{other}
        ORDER BY later.position LIMIT 1"""
    ).fetchone()
    if row:
        later, first, value, here, there = row
        raise InputError(
            f"{_place(table, later)}: the {key} {value!r} has the {other} {here!r} here and {there!r} on line "
            f"{table.lines([first])[first][0]}: expected that {rule}"
        )


def _place(table: Table, position: int) -> str:
    return f"{table.path}:{table.lines([position])[position][0]}"
