"""Cutting a graph down, on the staging tables `nodes` and `edges`, in SQL under DuckDB's memory limit.

The filters run in this order, each on what the ones before it left: sources, predicates, categories, hops around
given nodes, k-core. All splits count as one graph. A node that lost its last edge goes too.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import duckdb
from pydantic import NonNegativeInt, PositiveInt, model_validator

from corollary.config import Config
from corollary.errors import InputError, UnknownName, unknown
from corollary.graph.reading.biolink import bare
from corollary.graph.reading.staging import count_rows, one_row
from corollary.graph.reading.text_lines import first_line, insert_columns, lines_of, unreadable
from corollary.messages import Say, silent

_SUGGESTIONS = 200_000  # labels that are compared for a suggestion: about a second


class FilterConfig(Config):
    """Which part of a graph is kept. Nothing is cut where nothing is set."""

    keep_predicates: tuple[str, ...] = ()
    """Keep only edges of these relations; a predicate stands for all its qualified relations."""
    drop_predicates: tuple[str, ...] = ()
    """Leave out edges of these relations."""
    keep_categories: tuple[str, ...] = ()
    """Keep only nodes that have one of these types or categories."""
    drop_categories: tuple[str, ...] = ()
    """Leave out nodes that have one of these types or categories."""
    keep_sources: tuple[str, ...] = ()
    """Keep only edges that one of these sources states, whatever others state them too."""
    drop_sources: tuple[str, ...] = ()
    """Leave out edges that only these sources state."""
    around: tuple[str, ...] = ()
    """Keep only what is near these nodes (label, or a name that one node bears), and the edges among it."""
    around_file: Path | None = None
    """The same from a file: one label a line, further TAB-separated columns ignored."""
    hops: NonNegativeInt = 1
    """How many edges away is near; directions do not matter."""
    k_core: PositiveInt | None = None
    """Keep the largest part in which every node has at least this many neighbours."""
    keep_isolated: bool = False
    """Keep nodes without an edge as well (those that categories, hops or k-core remove are gone all the same)."""

    @model_validator(mode="after")
    def apart(self) -> Self:
        for what in ("predicates", "categories", "sources"):
            both = sorted(
                {*map(bare, getattr(self, f"keep_{what}"))} & {*map(bare, getattr(self, f"drop_{what}"))}
            )
            if both:
                raise ValueError(f"{both[0]!r} is in keep_{what} and in drop_{what}")
        if "hops" in self.model_fields_set and not (self.around or self.around_file):
            raise ValueError(f"hops = {self.hops} needs nodes to start from: set around or around_file")
        return self

    @property
    def active(self) -> bool:
        """Whether anything is cut."""
        return any(value for name, value in self if name not in ("hops", "keep_isolated"))


def apply_filters(
    connection: duckdb.DuckDBPyConnection, config: FilterConfig, *, say: Say = silent
) -> dict[str, int]:
    """Delete from `nodes` and `edges` what the configuration does not keep.

    Returns:
        `edges_before`, `nodes_before`; the edges that each filter in use removed, as `removed_by_NAME`;
        `k_core_rounds`; `edges_left`, `nodes_left`. Nodes are counted in the table `nodes`.

    Raises `UnknownName` for a predicate, category, source or node that the graph does not have, and `InputError`
    naming the filter where one leaves no edge, or none in `train`.

    Memory: DuckDB's, under its limit. Hops and k-core hold 8 bytes a pair of neighbours on disk, and read them
    once a round.
    """
    if not config.active:
        return {}
    counts = {
        "edges_before": count_rows(connection, "edges"),
        "nodes_before": count_rows(connection, "nodes"),
    }
    if not counts["edges_before"]:
        raise InputError("the graph has no edges before any filter: check the files that were read")
    had_train = count_rows(connection, "edges WHERE split = 'train'") > 0
    for name, run in _steps(config):
        before = count_rows(connection, "edges")
        counts |= run(connection, config)
        left = count_rows(connection, "edges")
        counts[f"removed_by_{name}"] = before - left
        say(f"{name.replace('_', '-')}: {before:,} edges, {left:,} left")
        if not left or (had_train and not count_rows(connection, "edges WHERE split = 'train'")):
            what = "edge" if not left else "edge of the split 'train'"
            raise InputError(
                f"the filter {name.replace('_', '-')} ({_settings(config, name)}) leaves no {what} of the {before:,} "
                f"edges that came to it: loosen it"
            )
    if not config.keep_isolated:
        connection.execute(
            "DELETE FROM nodes WHERE label NOT IN (SELECT head FROM edges UNION SELECT tail FROM edges)"
        )
    return counts | {
        "edges_left": count_rows(connection, "edges"),
        "nodes_left": count_rows(connection, "nodes"),
    }


_Step = Callable[[duckdb.DuckDBPyConnection, FilterConfig], dict[str, int]]


def _steps(config: FilterConfig) -> list[tuple[str, _Step]]:
    """The filters in use, in their order."""
    steps: list[tuple[str, object, _Step]] = [
        ("sources", config.keep_sources or config.drop_sources, _sources),
        ("predicates", config.keep_predicates or config.drop_predicates, _predicates),
        ("categories", config.keep_categories or config.drop_categories, _categories),
        ("hops", config.around or config.around_file, _hops),
        ("k_core", config.k_core, _k_core),
    ]
    return [(name, run) for name, wanted, run in steps if wanted]


def _settings(config: FilterConfig, name: str) -> str:
    """What a filter was told, for a message."""
    fields = {"hops": ("hops", "around", "around_file"), "k_core": ("k_core",)}
    parts = []
    for field in fields.get(name, (f"keep_{name}", f"drop_{name}")):
        value = getattr(config, field)
        if isinstance(value, tuple) and value:
            parts.append(f"{field} = {', '.join(value[:5])}{', ...' if len(value) > 5 else ''}")
        elif not isinstance(value, tuple) and value is not None:
            parts.append(f"{field} = {value}")
    return "; ".join(parts)


def _sources(connection: duckdb.DuckDBPyConnection, config: FilterConfig) -> dict[str, int]:
    """An edge stays, with all its sources (joined by `|`), when one of them is kept."""
    distinct = [text for (text,) in connection.execute("SELECT DISTINCT source FROM edges").fetchall()]
    known = sorted({part for text in distinct for part in text.split("|") if part})
    keep = _resolve("source", config.keep_sources, known) or {*known, ""}
    keep -= _resolve("source", config.drop_sources, known)
    kept = [text for text in distinct if keep & set(text.split("|"))]
    connection.execute("DELETE FROM edges WHERE NOT list_contains(?::VARCHAR[], source)", [kept])
    return {}


def _predicates(connection: duckdb.DuckDBPyConnection, config: FilterConfig) -> dict[str, int]:
    """A predicate names the relation itself and those that add qualifiers to it: `affects[...]`."""
    relations = [text for (text,) in connection.execute("SELECT DISTINCT relation FROM edges").fetchall()]
    known = sorted({*relations, *(relation.split("[")[0] for relation in relations)})

    def chosen(names: Sequence[str]) -> set[str]:
        wanted = _resolve("predicate", names, known)
        return {relation for relation in relations if {relation, relation.split("[")[0]} & wanted}

    keep = (chosen(config.keep_predicates) or set(relations)) - chosen(config.drop_predicates)
    connection.execute("DELETE FROM edges WHERE NOT list_contains(?::VARCHAR[], relation)", [sorted(keep)])
    return {}


def _categories(connection: duckdb.DuckDBPyConnection, config: FilterConfig) -> dict[str, int]:
    """An edge stays when both its nodes do. A node without any category stays unless some are asked for."""
    every = "list_append(coalesce(categories, []), type)"
    rows = connection.execute(f"SELECT DISTINCT unnest({every}) FROM nodes").fetchall()
    known = sorted(name for (name,) in rows if name)
    keep = sorted(_resolve("category", config.keep_categories, known))
    drop = sorted(_resolve("category", config.drop_categories, known))
    connection.execute(
        f"""CREATE OR REPLACE TABLE cut_nodes AS SELECT label,
            (len($keep::VARCHAR[]) = 0 OR list_has_any({every}, $keep::VARCHAR[]))
            AND NOT list_has_any({every}, $drop::VARCHAR[]) AS kept FROM nodes""",
        {"keep": keep, "drop": drop},
    )
    for end in ("head", "tail"):
        # a node that has no row has no category
        test = (
            "NOT IN (SELECT label FROM cut_nodes WHERE kept)"
            if keep
            else "IN (SELECT label FROM cut_nodes WHERE NOT kept)"
        )
        connection.execute(f"DELETE FROM edges WHERE {end} {test}")
    connection.execute("DELETE FROM nodes WHERE label IN (SELECT label FROM cut_nodes WHERE NOT kept)")
    connection.execute("DROP TABLE cut_nodes")
    return {}


def _hops(connection: duckdb.DuckDBPyConnection, config: FilterConfig) -> dict[str, int]:
    """Breadth first; all edges among the nodes reached stay, not only those that were walked."""
    start = _start_nodes(connection, config)
    _neighbours(connection)
    connection.execute("CREATE OR REPLACE TABLE cut_seen (code UINTEGER, hop INTEGER)")
    connection.execute(
        "INSERT INTO cut_seen SELECT code, 0 FROM cut_codes WHERE list_contains(?::VARCHAR[], label)", [start]
    )
    for hop in range(1, config.hops + 1):
        (added,) = one_row(
            connection,
            f"""INSERT INTO cut_seen SELECT DISTINCT code, {hop} FROM (
                SELECT b AS code FROM cut_pairs WHERE a IN (SELECT code FROM cut_seen WHERE hop = {hop - 1})
                UNION ALL
                SELECT a FROM cut_pairs WHERE b IN (SELECT code FROM cut_seen WHERE hop = {hop - 1})
            ) WHERE code NOT IN (SELECT code FROM cut_seen)""",
        )
        if not added:
            break
    connection.execute(
        "CREATE OR REPLACE TABLE cut_kept AS SELECT label FROM cut_codes SEMI JOIN cut_seen USING (code)"
    )
    insert_columns(connection, "cut_kept", start)
    _keep_nodes(connection)
    connection.execute("DROP TABLE cut_seen")
    return {}


def _k_core(connection: duckdb.DuckDBPyConnection, config: FilterConfig) -> dict[str, int]:
    """Peels off, round by round, the nodes with fewer than k distinct neighbours; loops do not count."""
    _neighbours(connection)
    rounds = 0
    while True:
        connection.execute(
            f"""CREATE OR REPLACE TABLE cut_low AS SELECT code FROM (
                SELECT a AS code FROM cut_pairs UNION ALL SELECT b FROM cut_pairs
            ) GROUP BY code HAVING count(*) < {config.k_core}"""
        )
        if not count_rows(connection, "cut_low"):
            break
        rounds += 1
        connection.execute(
            "DELETE FROM cut_pairs WHERE a IN (SELECT code FROM cut_low) OR b IN (SELECT code FROM cut_low)"
        )
    connection.execute(
        """CREATE OR REPLACE TABLE cut_kept AS SELECT label FROM cut_codes
        WHERE code IN (SELECT a FROM cut_pairs UNION SELECT b FROM cut_pairs)"""
    )
    _keep_nodes(connection)
    connection.execute("DROP TABLE cut_low")
    return {"k_core_rounds": rounds}


def _neighbours(connection: duckdb.DuckDBPyConnection) -> None:
    """`cut_codes`: a number for each label; `cut_pairs`: each pair of neighbours once, by number."""
    connection.execute(
        """CREATE OR REPLACE TABLE cut_codes AS SELECT label, (row_number() OVER () - 1)::UINTEGER AS code
        FROM (SELECT head AS label FROM edges UNION SELECT tail FROM edges)"""
    )
    connection.execute(
        """CREATE OR REPLACE TABLE cut_pairs AS
        SELECT DISTINCT least(h.code, t.code) AS a, greatest(h.code, t.code) AS b
        FROM edges JOIN cut_codes AS h ON h.label = head JOIN cut_codes AS t ON t.label = tail WHERE head <> tail"""
    )


def _keep_nodes(connection: duckdb.DuckDBPyConnection) -> None:
    """Delete what is not in `cut_kept`, and the tables that led to it."""
    connection.execute(
        """DELETE FROM edges WHERE head NOT IN (SELECT label FROM cut_kept)
        OR tail NOT IN (SELECT label FROM cut_kept)"""
    )
    connection.execute("DELETE FROM nodes WHERE label NOT IN (SELECT label FROM cut_kept)")
    for table in ("cut_codes", "cut_pairs", "cut_kept"):
        connection.execute(f"DROP TABLE {table}")


def _start_nodes(connection: duckdb.DuckDBPyConnection, config: FilterConfig) -> list[str]:
    """Labels of the nodes to start from, each with the place where it was asked for, checked."""
    wanted = [(text, "around") for text in config.around]
    if config.around_file:
        wanted += _listed(config.around_file)
    connection.execute("CREATE OR REPLACE TABLE cut_wanted (text VARCHAR)")
    insert_columns(connection, "cut_wanted", [text for text, _ in wanted])
    labels = {
        text
        for (text,) in connection.execute(
            """SELECT text FROM cut_wanted WHERE text IN (
            SELECT label FROM nodes UNION ALL SELECT head FROM edges UNION ALL SELECT tail FROM edges)"""
        ).fetchall()
    }
    bearers = dict(
        connection.execute(
            """SELECT name, list(label) FROM nodes WHERE name IN (SELECT text FROM cut_wanted) GROUP BY name"""
        ).fetchall()
    )
    connection.execute("DROP TABLE cut_wanted")
    found = []
    for text, where in wanted:
        named = [text] if text in labels else bearers.get(text, [])
        if len(named) > 1:
            raise InputError(
                f"{where}: {text!r} names {len(named)} nodes: {', '.join(named[:5])}. Give the label of one."
            )
        if not named:
            raise UnknownName(unknown("node", text, _labels(connection), where=where))
        found.append(named[0])
    return found


def _listed(path: Path) -> list[tuple[str, str]]:
    """The labels of a file, each with its file and line."""
    first_line(path)
    listed = []
    for number, raw in lines_of(path):
        if problem := unreadable(raw):
            raise InputError(f"{path}:{number}: {problem}")
        if text := raw.decode().split("\t")[0].strip():
            listed.append((text, f"{path}:{number}"))
    return listed


def _labels(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Labels and names to suggest from."""
    rows = connection.execute(
        f"""SELECT DISTINCT text FROM (
            SELECT label AS text FROM nodes UNION ALL SELECT name FROM nodes
            UNION ALL SELECT head FROM edges UNION ALL SELECT tail FROM edges) WHERE text <> '' LIMIT {_SUGGESTIONS}"""
    ).fetchall()
    return sorted(text for (text,) in rows)


def _resolve(kind: str, names: Sequence[str], known: Sequence[str]) -> set[str]:
    """The known names that are meant; with or without `biolink:` is the same. Raises `UnknownName`."""
    present, by_bare = set(known), {bare(name): name for name in known}
    found = set()
    for name in names:
        if name not in present and bare(name) not in by_bare:
            raise UnknownName(unknown(kind, name, list(known), where=f"filter {kind}"))
        found.add(name if name in present else by_bare[bare(name)])
    return found
