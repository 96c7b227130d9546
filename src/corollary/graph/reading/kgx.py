"""KGX files of nodes and edges, as TSV or JSON lines, into the staging tables.

Format: the KGX specification (github.com/biolink/kgx, specification/kgx-format.md). Columns may stand in any order
and further ones are ignored; lists are joined by `|` or are JSON arrays; TSV is read without quoting, as KGX
writes it. What is kept: of a node `id`, `name` and `category`; of an edge `subject`, `predicate`, `object`, the
chosen qualifiers, and the first of `primary_knowledge_source`, `knowledge_source`, `provided_by` that is given.

Labels and predicates stay as they are. Categories lose the prefix `biolink:`, so that a graph from elsewhere
with types like `Gene` shares them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import duckdb

from corollary.errors import InputError, UnknownName, unknown
from corollary.graph.joining import merge_duplicate_edges, merge_duplicate_nodes
from corollary.graph.reading.biolink import (
    PREFIX,
    SYMMETRIC_PREDICATES,
    EdgeMap,
    bare,
    is_symmetric,
    primary_type,
    read_edge_map,
    relation_key,
    relation_name,
)
from corollary.graph.reading.kgx_columns import BAD, GOOD, SEPARATOR, Layout, layout_of
from corollary.graph.reading.staging import count_rows, one_row
from corollary.graph.reading.text_lines import (
    OnError,
    bad_lines,
    insert_columns,
    insert_rows,
    keep_rejects,
    line_numbers,
)
from corollary.messages import Say, silent

Symmetric = Literal["keep", "both", "once"]
MissingNodes = Literal["drop", "add"]

SOURCE_COLUMNS = ("primary_knowledge_source", "knowledge_source", "provided_by")
EXAMPLES = 5  # missing nodes that are named
_SEPARATOR = f"chr({ord(SEPARATOR)})"

_TABLES = """
CREATE OR REPLACE TABLE kgx_nodes (state TINYINT, label VARCHAR, name VARCHAR, categories VARCHAR[]);
CREATE OR REPLACE TABLE kgx_edges (
    state TINYINT, head VARCHAR, predicate VARCHAR, tail VARCHAR, qualifiers VARCHAR, source VARCHAR
);
CREATE OR REPLACE TABLE kgx_relations (
    predicate VARCHAR, qualifiers VARCHAR, relation VARCHAR, both_ways BOOLEAN
);
CREATE OR REPLACE TABLE kgx_types (categories VARCHAR, type VARCHAR);
CREATE OR REPLACE TABLE kgx_missing (label VARCHAR, row BIGINT);
CREATE OR REPLACE TABLE kgx_staged AS FROM edges LIMIT 0;
"""


@dataclass(frozen=True)
class KgxReport:
    """What was read and what became of it."""

    nodes_read: int
    nodes_merged: int
    """Lines about a node that an earlier line was about."""
    edges_read: int
    edges_staged: int
    edges_merged: int
    """Edges equal to an earlier one but for their source."""
    edges_symmetric: int
    """Edges whose predicate holds both ways."""
    edges_turned: int
    """Of these, how many were stored the other way round (`once`) or a second time (`both`)."""
    edges_without_node: int
    nodes_missing: int
    missing_examples: tuple[str, ...]
    """Some of the missing nodes, each with the file and line of its first edge."""
    rejected: int
    """Lines left out because they are wrong; they stand in the table `rejects`."""
    edge_map: Mapping[str, str]
    """Name of every relation by `relation_key`, for `write_edge_map`."""
    columns: Mapping[str, str]
    """How each file was read."""


@dataclass(frozen=True)
class _File:
    """One file in a table: it has the rows from `start` up to `stop`."""

    layout: Layout
    start: int
    stop: int
    unreadable: int
    """Lines that are no text."""


def stage_kgx(
    connection: duckdb.DuckDBPyConnection,
    node_files: Sequence[Path],
    edge_files: Sequence[Path],
    *,
    split: str = "train",
    qualifiers: Sequence[str] = (),
    edge_map: Path | None = None,
    symmetric: Symmetric = "keep",
    symmetric_predicates: Sequence[str] = SYMMETRIC_PREDICATES,
    missing_nodes: MissingNodes = "drop",
    on_error: OnError = "raise",
    say: Say = silent,
) -> KgxReport:
    """Append KGX files to the staging tables `nodes` and `edges`.

    A node that several lines are about gets the first name and type that are not empty and all categories; its
    type is the most specific category (`primary_type`). Edges with the same subject, relation and object become
    one, with their sources joined by `|`.

    Args:
        qualifiers: columns of the edges that make a relation together with the predicate.
        edge_map: `edge_map.json`; relations get the names it gives, and an edge that it does not cover is an error.
            Without `qualifiers`, those that its keys use are taken.
        symmetric: "keep" edges as they are; store an edge of a symmetric predicate "once", its lesser label
            first, or in "both" directions. An edge with a qualifier of its subject or object is left as it is.
        missing_nodes: an edge whose node no node file has: drop it, or add the node without name and type.
            Where there are no node files at all nothing is missing.
        on_error: "skip" leaves a wrong line out and keeps it in the table `rejects`.

    Raises `InputError` with file and line for a line that is not JSON or has too few or too many columns, an empty
    or missing `id`, `subject`, `predicate` or `object`, or text that is not UTF-8; `UnknownName` for a qualifier
    or a symmetric predicate that no edge has, and for a relation that the edge map does not hold.

    Memory: DuckDB's, under its limit; beside it only the distinct relations and category lists.
    """
    connection.execute(_TABLES)
    names = read_edge_map(edge_map) if edge_map else None
    chosen = tuple(qualifiers) or (names.qualifiers if names else ())
    nodes = [_load_nodes(connection, path, on_error) for path in node_files]
    edges = [_load_edges(connection, path, chosen, on_error) for path in edge_files]
    _check_qualifiers(connection, edges, qualifiers)
    used = _name_relations(connection, chosen, names, symmetric_predicates)
    rejected = sum(file.unreadable for file in nodes + edges)
    rejected += _check(connection, "kgx_nodes", nodes, None, (), on_error)
    rejected += _check(connection, "kgx_edges", edges, names, chosen, on_error)
    nodes_merged = _stage_nodes(connection)
    missing, examples = _missing(connection, edges)
    report = KgxReport(
        nodes_read=count_rows(connection, f"kgx_nodes WHERE state = {GOOD}"),
        nodes_merged=nodes_merged,
        edges_read=count_rows(connection, f"kgx_edges WHERE state = {GOOD}"),
        nodes_missing=missing,
        missing_examples=examples,
        rejected=rejected,
        edge_map=used,
        columns={str(file.layout.path): file.layout.describe() for file in nodes + edges},
        **_stage_edges(connection, split, symmetric, missing_nodes),
    )
    for table in ("kgx_nodes", "kgx_edges", "kgx_relations", "kgx_types", "kgx_missing", "kgx_staged"):
        connection.execute(f"DROP TABLE {table}")
    _tell(report, symmetric, missing_nodes, say)
    return report


def _load_nodes(connection: duckdb.DuckDBPyConnection, path: Path, on_error: OnError) -> _File:
    layout = layout_of(path, ("id", "name", "category"), ("id",))
    fields = f"{layout.state}, {layout.text('id')}, {layout.text('name')}, {layout.items('category')}"
    return _load(connection, layout, "kgx_nodes", fields, on_error)


def _load_edges(
    connection: duckdb.DuckDBPyConnection, path: Path, qualifiers: Sequence[str], on_error: OnError
) -> _File:
    needed = ("subject", "predicate", "object")
    layout = layout_of(path, tuple(dict.fromkeys((*needed, *qualifiers, *SOURCE_COLUMNS))), needed)
    ends = ", ".join(layout.text(name) for name in needed)
    values = ", ".join(layout.text(name) for name in qualifiers)
    joined = f"array_to_string([{values}], {_SEPARATOR})" if values else "''"
    sources = ", ".join(f"nullif({layout.text(name)}, '')" for name in SOURCE_COLUMNS)
    fields = f"{layout.state}, {ends}, {joined}, coalesce({sources}, '')"
    return _load(connection, layout, "kgx_edges", fields, on_error)


def _load(
    connection: duckdb.DuckDBPyConnection, layout: Layout, table: str, fields: str, on_error: OnError
) -> _File:
    start = count_rows(connection, table)
    select = f"SELECT {fields} FROM {layout.rows}"
    bad = insert_rows(connection, layout.path, table, select, on_error=on_error)
    unreadable = keep_rejects(connection, layout.path, bad) if bad else 0
    return _File(layout, start, count_rows(connection, table), unreadable)


def _check_qualifiers(
    connection: duckdb.DuckDBPyConnection, files: Sequence[_File], qualifiers: Sequence[str]
) -> None:
    """A chosen qualifier must be a column of a TSV file, or stand in some line of a JSON lines file."""
    for place, name in enumerate(qualifiers, start=1):
        if any(file.layout.kind == "tsv" and name in file.layout.columns for file in files):
            continue
        if not count_rows(
            connection, f"kgx_edges WHERE string_split(qualifiers, {_SEPARATOR})[{place}] <> ''"
        ):
            known = sorted({column for file in files for column in file.layout.columns})
            where = ", ".join(str(file.layout.path) for file in files)
            raise UnknownName(unknown("qualifier", name, known, where=where))


def _name_relations(
    connection: duckdb.DuckDBPyConnection,
    qualifiers: Sequence[str],
    names: EdgeMap | None,
    symmetric_predicates: Sequence[str],
) -> dict[str, str]:
    """Fill `kgx_relations`, and mark edges bad whose relation the edge map does not hold.

    Returns names by `relation_key`.
    """
    distinct = connection.execute(
        f"SELECT predicate, qualifiers FROM kgx_edges WHERE state = {GOOD} GROUP BY ALL ORDER BY min(rowid)"
    ).fetchall()
    if symmetric_predicates is not SYMMETRIC_PREDICATES:
        present = {bare(predicate): predicate for predicate, _ in distinct}
        for name in symmetric_predicates:
            if bare(name) not in present:
                raise UnknownName(unknown("symmetric predicate", name, sorted(present.values())))
    used, rows = {}, []
    for predicate, joined in distinct:
        given = dict(zip(qualifiers, joined.split(SEPARATOR), strict=True)) if qualifiers else {}
        name, _ = _relation(predicate, given, names)
        rows.append((predicate, joined, name, is_symmetric(predicate, given, symmetric_predicates)))
        if name:
            used[relation_key(predicate, given)] = name
    if rows:
        insert_columns(connection, "kgx_relations", *zip(*rows, strict=True))
        connection.execute(
            f"""UPDATE kgx_edges SET state = {BAD} FROM kgx_relations AS r WHERE state = {GOOD} AND r.relation = ''
            AND r.predicate = kgx_edges.predicate AND r.qualifiers = kgx_edges.qualifiers"""
        )
    return used


def _relation(predicate: str, given: Mapping[str, str], names: EdgeMap | None) -> tuple[str, str]:
    """The name of a relation, or an empty name and why the edge map has none."""
    if names is None:
        return relation_name(predicate, given), ""
    try:
        return names.name_of(predicate, given), ""
    except UnknownName as error:
        return "", str(error)


def _check(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    files: Sequence[_File],
    names: EdgeMap | None,
    qualifiers: Sequence[str],
    on_error: OnError,
) -> int:
    """Raise for the first bad row, or keep all of them as rejects. Returns how many."""
    rejected = 0
    for file in files:
        layout, limit = file.layout, 1 if on_error == "raise" else None
        rows = connection.execute(
            f"SELECT rowid - ? FROM {table} WHERE state = {BAD} AND rowid >= ? AND rowid < ? ORDER BY rowid LIMIT ?",
            [file.start, file.start, file.stop, limit],
        ).fetchall()
        if not rows:
            continue
        problem = partial(_problem, layout, names=names, qualifiers=qualifiers)
        lines = bad_lines(layout.path, [row for (row,) in rows], problem)
        if on_error == "raise":
            line = next(lines)
            raise InputError(f"{layout.path}:{line.line}: {line.problem}")
        rejected += keep_rejects(connection, layout.path, lines)
    return rejected


def _problem(layout: Layout, raw: bytes, names: EdgeMap | None, qualifiers: Sequence[str]) -> str:
    """What is wrong with a bad line: its form, else that the edge map does not hold its relation."""
    values = layout.values(raw)
    if (problem := layout.problem(raw)) or isinstance(values, str):
        return problem
    given = {name: _text(values.get(name)) for name in qualifiers}
    _, problem = _relation(values.get("predicate", ""), given, names)
    return problem or "the line is not understood"


def _text(value: object) -> str:
    """A JSON value as `Layout.text` reads it."""
    if isinstance(value, list):
        return "|".join(_text(item) for item in value if item is not None)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _stage_nodes(connection: duckdb.DuckDBPyConnection) -> int:
    """Append the good nodes to `nodes`; returns how many were merged into others."""
    key = f"array_to_string(categories, {_SEPARATOR})"
    lists = connection.execute(f"SELECT DISTINCT {key} FROM kgx_nodes WHERE state = {GOOD}").fetchall()
    if lists:
        types = [primary_type(text.split(SEPARATOR)) for (text,) in lists]
        insert_columns(connection, "kgx_types", [text for (text,) in lists], types)
    connection.execute(
        f"""INSERT INTO nodes SELECT label, name, type, list_transform(n.categories, lambda item:
            CASE WHEN starts_with(item, '{PREFIX}') THEN item[{len(PREFIX) + 1}:] ELSE item END)
        FROM kgx_nodes AS n JOIN kgx_types AS t ON {key.replace("categories", "n.categories")} = t.categories
        WHERE state = {GOOD} ORDER BY n.rowid"""
    )
    return merge_duplicate_nodes(connection)


def _missing(connection: duckdb.DuckDBPyConnection, files: Sequence[_File]) -> tuple[int, tuple[str, ...]]:
    """Fill `kgx_missing` with labels of edges that `nodes` lacks; their number, and some with file and line."""
    if not count_rows(connection, "nodes"):
        return 0, ()
    connection.execute(
        f"""INSERT INTO kgx_missing SELECT label, min(row) AS row FROM (
            SELECT head AS label, rowid AS row FROM kgx_edges WHERE state = {GOOD}
            UNION ALL SELECT tail, rowid FROM kgx_edges WHERE state = {GOOD}
        ) ANTI JOIN nodes USING (label) GROUP BY label ORDER BY row"""
    )
    examples = []
    first = connection.execute(f"SELECT label, row FROM kgx_missing ORDER BY row LIMIT {EXAMPLES}").fetchall()
    for label, row in first:
        file = next(file for file in files if file.start <= row < file.stop)
        number, _ = line_numbers(file.layout.path, [row - file.start])[row - file.start]
        examples.append(f"{label} ({file.layout.path}:{number})")
    return count_rows(connection, "kgx_missing"), tuple(examples)


def _stage_edges(
    connection: duckdb.DuckDBPyConnection, split: str, symmetric: Symmetric, missing_nodes: MissingNodes
) -> dict[str, int]:
    """Append the good edges to `edges`, turned and merged; returns the counts for the report."""
    if missing_nodes == "add":
        connection.execute("INSERT INTO nodes SELECT label, '', '', [] FROM kgx_missing ORDER BY row")
        connection.execute("TRUNCATE kgx_missing")
    lacking = "head IN (SELECT label FROM kgx_missing) OR tail IN (SELECT label FROM kgx_missing)"
    turn = {"keep": "false", "once": "both_ways AND head > tail", "both": "both_ways AND head <> tail"}[
        symmetric
    ]
    edges = f"kgx_edges AS e JOIN kgx_relations USING (predicate, qualifiers) WHERE state = {GOOD}"
    without, both_ways, turned = one_row(
        connection,
        f"""SELECT count(*) FILTER (WHERE lacking), count(*) FILTER (WHERE both_ways AND NOT lacking),
            count(*) FILTER (WHERE turn AND NOT lacking)
        FROM (SELECT both_ways, {turn} AS turn, {lacking} AS lacking FROM {edges})""",
    )
    if without:
        edges += f" AND NOT ({lacking})"
    (base,) = one_row(connection, "SELECT coalesce(max(ordinal) + 1, 0) FROM edges")
    place, straight, round_ = f"{base} + 2 * e.rowid", "head, relation, tail", "tail, relation, head"
    if symmetric == "once":
        straight = (
            f"CASE WHEN {turn} THEN tail ELSE head END, relation, CASE WHEN {turn} THEN head ELSE tail END"
        )
    insert = "INSERT INTO kgx_staged SELECT"
    connection.execute(f"{insert} {place}, ?, {straight}, source FROM {edges}", [split])
    if symmetric == "both":
        connection.execute(f"{insert} {place} + 1, ?, {round_}, source FROM {edges} AND {turn}", [split])
    merged = merge_duplicate_edges(connection, "kgx_staged")
    connection.execute("INSERT INTO edges FROM kgx_staged")
    return {
        "edges_symmetric": both_ways,
        "edges_turned": turned,
        "edges_without_node": without,
        "edges_merged": merged,
        "edges_staged": count_rows(connection, "kgx_staged"),
    }


def _tell(report: KgxReport, symmetric: Symmetric, missing_nodes: MissingNodes, say: Say) -> None:
    say(
        f"KGX: {report.nodes_read:,} nodes ({report.nodes_merged:,} merged), {report.edges_read:,} edges "
        f"of {len(report.edge_map):,} relations, {report.edges_staged:,} after merging {report.edges_merged:,}"
    )
    if report.nodes_missing:
        examples = ", ".join(report.missing_examples)
        done = (
            f"{report.edges_without_node:,} edges were left out"
            if missing_nodes == "drop"
            else "they were added without name and type"
        )
        say(f"{report.nodes_missing:,} nodes of edges are in no node file, and {done}: {examples}")
    if report.edges_symmetric:
        done = {
            "keep": "kept as they are",
            "once": f"stored once each, {report.edges_turned:,} of them turned",
            "both": f"stored in both directions, {report.edges_turned:,} turned copies",
        }[symmetric]
        say(f"{report.edges_symmetric:,} edges have a symmetric predicate: {done}")
    if report.rejected:
        say(f"wrong lines left out: {report.rejected:,}")
