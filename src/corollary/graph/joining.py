"""Joining sources that name the same thing differently, on the staging tables `nodes` and `edges`.

Two means: prefixes rewritten (`Gene::1` becomes `NCBIGene:1`), then files of equivalences (a label, a TAB, the label
to use instead). Nodes and edges that become equal are merged, and how many were is reported, since a join that
matches nothing is the usual mistake.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from pydantic import field_validator

from corollary.config import Config
from corollary.errors import InputError
from corollary.graph.reading.staging import one_row
from corollary.graph.reading.text_lines import bad_lines, first_line, insert_columns, insert_rows
from corollary.messages import Say, silent


class JoinConfig(Config):
    """How the labels of several sources are made to agree."""

    same_as: tuple[Path, ...] = ()
    """Files of two TAB-separated columns, gzip or not: a label, and the label to use in its place."""
    rewrite: tuple[str, ...] = ()
    """Prefixes to replace, OLD=NEW, such as Gene::=NCBIGene: (the longest that fits is used, once)."""

    @field_validator("rewrite", mode="before")
    @classmethod
    def rules(cls, value: Any) -> Any:
        """A table of OLD = NEW is taken as well as a list of OLD=NEW."""
        rules = [f"{old}={new}" for old, new in value.items()] if isinstance(value, Mapping) else value
        olds = []
        for rule in [rules] if isinstance(rules, str) else rules:
            old, equals, _ = str(rule).partition("=")
            if not equals or not old:
                raise ValueError(f"{rule!r}: expected OLD=NEW, for example Gene::=NCBIGene:")
            if old in olds:
                raise ValueError(f"{rule!r}: the prefix {old!r} has two replacements")
            olds.append(old)
        return rules

    @property
    def active(self) -> bool:
        return bool(self.same_as or self.rewrite)

    @property
    def prefixes(self) -> dict[str, str]:
        """New prefix by old prefix, the longest first."""
        pairs = (rule.partition("=")[::2] for rule in self.rewrite)
        return dict(sorted(pairs, key=lambda pair: -len(pair[0])))


def join(connection: duckdb.DuckDBPyConnection, config: JoinConfig, *, say: Say = silent) -> dict[str, int]:
    """Rewrite the labels in `nodes`, `edges` and `entity_ids`, and merge what becomes equal.

    A merged node keeps the first name and type that are not empty and the union of the categories.

    In a group of equivalent labels the one to use is that which the files never replace. Where several are left
    (a is b, a is c), or none (a cycle), it is the one that a second column names first; both are counted.

    Returns:
        `labels`, `labels_rewritten` (by prefix), `labels_matched` (of these, how many met a label that was
        there already), `equivalences` (lines), `labels_replaced` (by them), `conflicts`, `cycles`, `nodes_merged`,
        `edges_merged`.

    Raises `InputError` for a line without two labels (file and line), and where two given ids would meet in one label.
    Memory: the equivalences are held in Python, about 300 bytes each; the rest is DuckDB's, under its limit.
    """
    if not config.active:
        return {}
    counts = _label_table(connection, config)
    if config.same_as:
        counts |= _equivalences(connection, config)
        (counts["labels_replaced"],) = one_row(
            connection,
            """UPDATE join_labels SET new = s.canonical FROM join_same AS s
            WHERE join_labels.new = s.label AND s.label <> s.canonical""",
        )
    _relabel(connection)
    counts["nodes_merged"] = merge_duplicate_nodes(connection)
    counts["edges_merged"] = merge_duplicate_edges(connection)
    for table in ("join_labels", "join_same"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    _report(counts, config, say)
    return counts


def merge_duplicate_nodes(connection: duckdb.DuckDBPyConnection) -> int:
    """Make the labels of `nodes` unique: first name and type that are not empty, union of categories.

    Rows keep the order in which their labels first appeared. Returns how many rows were merged into others.
    """
    connection.execute(
        "CREATE OR REPLACE TABLE nodes_twice AS SELECT label FROM nodes GROUP BY label HAVING count(*) > 1"
    )
    (before,) = one_row(connection, "SELECT count(*) FROM nodes")
    if one_row(connection, "SELECT count(*) FROM nodes_twice") != (0,):
        replace_rows(
            connection,
            "nodes",
            """SELECT label, name, type, categories FROM (
                SELECT rowid AS place, label, name, type, categories
                FROM nodes ANTI JOIN nodes_twice USING (label)
                UNION ALL
                SELECT place, label, name, type, list_filter(every, lambda item, i: list_position(every, item) = i)
                FROM (
                    SELECT min(place) AS place, label,
                        coalesce(arg_min(name, place) FILTER (WHERE name <> ''), '') AS name,
                        coalesce(arg_min(type, place) FILTER (WHERE type <> ''), '') AS type,
                        flatten(list(coalesce(categories, []) ORDER BY place)) AS every
                    FROM (SELECT rowid AS place, * FROM nodes SEMI JOIN nodes_twice USING (label)) GROUP BY label
                )
            ) ORDER BY place""",
        )
    connection.execute("DROP TABLE nodes_twice")
    (after,) = one_row(connection, "SELECT count(*) FROM nodes")
    return before - after


def merge_duplicate_edges(connection: duckdb.DuckDBPyConnection, table: str = "edges") -> int:
    """Keep the first of the edges of one split with the same head, relation and tail; it gets the sources of all.

    Several sources stand in `source` sorted and joined by `|`. Returns how many edges were merged into others.
    Memory: 16 bytes a distinct edge for the hashes, under DuckDB's limit; only duplicates are compared in full.
    """
    key = "split, head, relation, tail"
    connection.execute(
        f"""CREATE OR REPLACE TABLE edges_twice AS
        SELECT row, first, source FROM (
            SELECT e.rowid AS row, first_value(e.rowid) OVER (PARTITION BY {key} ORDER BY ordinal) AS first, source
            FROM {table} AS e SEMI JOIN (
                SELECT hash({key}) AS h FROM {table} GROUP BY h HAVING count(*) > 1
            ) AS twice ON hash({key}) = twice.h
        ) QUALIFY count(*) OVER (PARTITION BY first) > 1"""
    )
    connection.execute(
        f"""UPDATE {table} SET source = merged.source FROM (
            SELECT first, array_to_string(list_sort(list_distinct(flatten(list(
                list_filter(string_split(source, '|'), lambda part: part <> ''))))), '|') AS source
            FROM edges_twice GROUP BY first
        ) AS merged WHERE {table}.rowid = merged.first AND {table}.source <> merged.source"""
    )
    (merged,) = one_row(
        connection,
        f"DELETE FROM {table} WHERE rowid IN (SELECT row FROM edges_twice WHERE row <> first)",
    )
    connection.execute("DROP TABLE edges_twice")
    return merged


def replace_rows(connection: duckdb.DuckDBPyConnection, table: str, select: str) -> None:
    """Replace all rows of `table` by those of `select`, which may read it; the table's definition stays."""
    connection.execute(f"CREATE OR REPLACE TABLE replacement AS {select}")
    connection.execute(f"TRUNCATE {table}")
    connection.execute(f"INSERT INTO {table} SELECT * FROM replacement")
    connection.execute("DROP TABLE replacement")


def _label_table(connection: duckdb.DuckDBPyConnection, config: JoinConfig) -> dict[str, int]:
    """`join_labels`: every label (old) with its rewritten form (new)."""
    expression, values = _rewritten("label", config.prefixes)
    connection.execute(
        f"""CREATE OR REPLACE TABLE join_labels AS SELECT label AS old, {expression} AS new FROM (
            SELECT label FROM nodes UNION SELECT head FROM edges UNION SELECT tail FROM edges
            UNION SELECT label FROM entity_ids)""",
        values,
    )
    empty = connection.execute("SELECT old FROM join_labels WHERE new = '' LIMIT 1").fetchone()
    if empty:
        raise InputError(f"--rewrite turns the label {empty[0]!r} into nothing: give it a new prefix")
    labels, rewritten = one_row(
        connection, "SELECT count(*), count(*) FILTER (WHERE old <> new) FROM join_labels"
    )
    (matched,) = one_row(
        connection,
        """SELECT count(*) FROM join_labels AS a WHERE a.old <> a.new
        AND a.new IN (SELECT old FROM join_labels WHERE old = new)""",
    )
    return {"labels": labels, "labels_rewritten": rewritten, "labels_matched": matched}


def _rewritten(column: str, prefixes: Mapping[str, str]) -> tuple[str, list[str]]:
    """SQL for a label with its prefix replaced, and the values of its parameters."""
    if not prefixes:
        return column, []
    cases = " ".join(f"WHEN starts_with({column}, ?) THEN ? || {column}[{len(old) + 1}:]" for old in prefixes)
    values = [value for pair in prefixes.items() for value in pair]
    return f"CASE {cases} ELSE {column} END", values


def _equivalences(connection: duckdb.DuckDBPyConnection, config: JoinConfig) -> dict[str, int]:
    """`join_same`: every label of the files with the one to use; prefixes are rewritten in the files too."""
    connection.execute("CREATE OR REPLACE TABLE join_lines (label VARCHAR, canonical VARCHAR, bad BOOLEAN)")
    for path in config.same_as:
        _read_equivalences(connection, path)
    label, values = _rewritten("label", config.prefixes)
    canonical, _ = _rewritten("canonical", config.prefixes)
    pairs = connection.execute(
        f"SELECT {label}, {canonical} FROM join_lines WHERE NOT bad ORDER BY rowid", values + values
    ).fetchall()
    connection.execute("DROP TABLE join_lines")
    chosen, conflicts, cycles = canonical_labels(pairs)
    connection.execute("CREATE OR REPLACE TABLE join_same (label VARCHAR, canonical VARCHAR)")
    insert_columns(connection, "join_same", list(chosen), list(chosen.values()))
    return {"equivalences": len(pairs), "conflicts": conflicts, "cycles": cycles}


def canonical_labels(pairs: Sequence[tuple[str, str]]) -> tuple[dict[str, str], int, int]:
    """The label to use for each label of some equivalences, with the numbers of conflicts and of cycles.

    Union-find over the pairs (label, canonical). See `join` for which label of a group is used.
    """
    parent: dict[str, str] = {}

    def root(label: str) -> str:
        while (above := parent.setdefault(label, label)) != label:
            parent[label] = parent[above]  # halves the path
            label = above
        return label

    replaced = {label for label, canonical in pairs if label != canonical}
    for label, canonical in pairs:
        parent[root(label)] = root(canonical)
    final: dict[str, list[str]] = {}
    for _, canonical in pairs:
        choices = final.setdefault(root(canonical), [])
        if canonical not in replaced and canonical not in choices:
            choices.append(canonical)
    first = {root(canonical): canonical for _, canonical in reversed(pairs)}
    chosen = {label: (final[root(label)] or [first[root(label)]])[0] for label in list(parent)}
    conflicts = sum(len(choices) > 1 for choices in final.values())
    return chosen, conflicts, sum(not choices for choices in final.values())


def _read_equivalences(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    first_line(path)
    (start,) = one_row(connection, "SELECT coalesce(max(rowid) + 1, 0) FROM join_lines")
    insert_rows(
        connection,
        path,
        "join_lines",
        """SELECT coalesce(f[1], ''), coalesce(f[2], ''), len(f) <> 2 OR trim(f[1]) = '' OR trim(f[2]) = ''
        FROM (SELECT string_split(line, chr(9)) AS f FROM lines)""",
        on_error="raise",
    )
    bad = connection.execute("SELECT min(rowid) FROM join_lines WHERE bad AND rowid >= ?", [start]).fetchone()
    if bad and bad[0] is not None:
        (line,) = bad_lines(path, [bad[0] - start], lambda raw: "two labels expected")
        raise InputError(
            f"{path}:{line.line}: expected a label, a TAB and the label to use instead, found {line.text!r}"
        )


def _relabel(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("DELETE FROM join_labels WHERE old = new")
    if one_row(connection, "SELECT count(*) FROM join_labels") == (0,):
        return
    replace_rows(
        connection,
        "nodes",
        """SELECT coalesce(new, label), name, type, categories
        FROM nodes LEFT JOIN join_labels ON old = label ORDER BY nodes.rowid""",
    )
    replace_rows(
        connection,
        "edges",
        """SELECT ordinal, split, coalesce(h.new, head), relation, coalesce(t.new, tail), source
        FROM edges LEFT JOIN join_labels AS h ON h.old = head LEFT JOIN join_labels AS t ON t.old = tail""",
    )
    replace_rows(
        connection,
        "entity_ids",
        "SELECT DISTINCT coalesce(new, label) AS label, id FROM entity_ids LEFT JOIN join_labels ON old = label",
    )
    met = connection.execute(
        "SELECT label, min(id), max(id) FROM entity_ids GROUP BY label HAVING count(*) > 1 LIMIT 1"
    ).fetchone()
    if met:
        raise InputError(
            f"joining gives {met[0]!r} two of the given ids, {met[1]} and {met[2]}: "
            "join without the id file, or leave the two labels apart"
        )


def _report(counts: Mapping[str, int], config: JoinConfig, say: Say) -> None:
    if config.rewrite:
        rewritten, matched = counts["labels_rewritten"], counts["labels_matched"]
        say(
            f"rewrote the prefix of {rewritten:,} of {counts['labels']:,} labels; "
            f"{matched:,} of them ({_share(matched, rewritten)}) met a label that was there already"
        )
    if config.same_as:
        say(
            f"replaced {counts['labels_replaced']:,} of {counts['labels']:,} labels "
            f"({_share(counts['labels_replaced'], counts['labels'])}) by {counts['equivalences']:,} equivalences, "
            f"among them {counts['conflicts']:,} conflicts and {counts['cycles']:,} cycles"
        )
    say(f"merged {counts['nodes_merged']:,} nodes and {counts['edges_merged']:,} edges that became equal")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"
