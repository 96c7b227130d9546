"""From staging tables to a graph folder: duplicates merged, labels numbered, triples as arrays."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corollary.budget import Budget
from corollary.errors import InputError
from corollary.graph.folder import Graph, write_pieces
from corollary.graph.joining import merge_duplicate_edges, merge_duplicate_nodes
from corollary.graph.manifest import SPLITS
from corollary.graph.reading.staging import Staging, count_rows, counted
from corollary.graph.tables import TABLES, fetched
from corollary.graph.writing import Edges
from corollary.messages import Say


def write_staged(
    staging: Staging,
    path: Path,
    *,
    name: str,
    sources: Sequence[Mapping[str, Any]] = (),
    notes: Mapping[str, Any] | None = None,
    budget: Budget = Budget(),
    say: Say,
) -> Graph:
    """Merge duplicates, number what is left, and write it as a graph folder.

    Given ids are kept as they are, whatever filters took away. Without them entities are numbered in the order in
    which they first appear, head before tail, then the nodes that have no edge; relations by first appearance.
    What is merged, and triples of valid or test that stand in train too, are counted in the notes; the latter stay.

    The same staging tables give the same bytes, whatever memory and threads the database has. The staging tables are
    used up, and the database is closed before the answers are sorted, so that its memory is free for that.

    Memory: DuckDB's, under its limit, then at most 256 MiB or what the limit leaves. Disk: what `Staging` takes, then
    32 bytes a triple for sorting.
    """
    connection = staging.connection
    counts = _merge(staging, say) | _leaks(staging, say)
    splits = [split for split in SPLITS if count_rows(connection, f"edges WHERE split = '{split}'")]
    if "train" not in splits:
        raise InputError(f"{path}: there is no triple to train on: expected at least one in train")
    _number(staging)
    texts = _encode(staging)
    _fill_rows(staging)
    return write_pieces(
        path,
        connection,
        {split: _edges(staging, split, len(texts) > 0) for split in splits},
        name=name,
        edge_sources=texts,
        sources=sources,
        notes={**(notes or {}), **counts},
        budget=budget,
        release=staging.close,
    )


def _merge(staging: Staging, say: Say) -> dict[str, int]:
    """One row a node, and one edge of the same head, relation and tail in each split."""
    nodes = merge_duplicate_nodes(staging.connection)
    edges = merge_duplicate_edges(staging.connection)
    if edges:
        say(f"left out {counted(edges, 'triple')} that a split had already")
    return {"nodes_merged": nodes, "duplicate_triples": edges}


def _leaks(staging: Staging, say: Say) -> dict[str, int]:
    """Triples of valid and test that stand in train too; and of test in valid."""
    leaks = {}
    for split, earlier in (("valid", "train"), ("test", "train"), ("test", "valid")):
        count = count_rows(
            staging.connection,
            f"""(SELECT head, relation, tail FROM edges WHERE split = '{split}') AS later SEMI JOIN
            (SELECT head, relation, tail FROM edges WHERE split = '{earlier}') AS earlier
            USING (head, relation, tail)""",
        )
        leaks[f"{split}_triples_in_{earlier}"] = count
        if count:
            say(
                f"{split} has {counted(count, 'triple')} of {earlier}: kept, though scores look better for it"
            )
    return leaks


def _number(staging: Staging) -> None:
    """Tables `entities` and `relations`, whose rowid is the id."""
    end = "SELECT coalesce(max(ordinal) + 1, 0) FROM edges"
    places = {
        "entity": f"""SELECT head AS label, 2 * ordinal AS place FROM edges
            UNION ALL SELECT tail, 2 * ordinal + 1 FROM edges
            UNION ALL SELECT label, 2 * ({end}) + nodes.rowid FROM nodes""",
        "relation": "SELECT relation AS label, ordinal AS place FROM edges",
    }
    for kind, table in (("entity", "entities"), ("relation", "relations")):
        given = count_rows(staging.connection, f"{kind}_ids") > 0
        order = (
            f"SELECT label FROM {kind}_ids ORDER BY id"
            if given
            else f"SELECT label FROM (SELECT label, min(place) AS place FROM ({places[kind]}) GROUP BY label) ORDER BY place"
        )
        staging.execute_large(f"CREATE OR REPLACE TABLE {table} AS {order}")


def _encode(staging: Staging) -> list[str]:
    """Table `coded` in the place of `edges`: ids of all triples, by split, in the order of reading.

    Returns the names of the edges' sources by their codes; empty where no edge has a source.
    """
    connection = staging.connection
    texts = [
        text for (text,) in connection.execute("SELECT DISTINCT source FROM edges ORDER BY 1").fetchall()
    ]
    width = "INTEGER" if count_rows(connection, "entities") < 2**31 else "BIGINT"
    staging.execute_large(
        f"""CREATE OR REPLACE TABLE unsorted AS
        SELECT ordinal, split, h.rowid::{width} AS h, r.rowid::INTEGER AS r, t.rowid::{width} AS t, s.code AS s
        FROM edges JOIN relations AS r ON r.label = relation
        JOIN (SELECT unnest($texts::VARCHAR[]) AS label, unnest(range(len($texts)))::INTEGER AS code) AS s
        ON s.label = source
        JOIN entities AS h ON h.label = head JOIN entities AS t ON t.label = tail""",
        {"texts": texts},
    )
    lost = count_rows(connection, "edges") - count_rows(connection, "unsorted")
    assert lost == 0, f"{lost} triples have labels without an id"
    connection.execute("DROP TABLE edges")
    staging.execute_large(
        """CREATE OR REPLACE TABLE coded AS SELECT split, h, r, t, s FROM unsorted
        ORDER BY list_position($splits, split), ordinal""",
        {"splits": list(SPLITS)},
    )
    connection.execute("DROP TABLE unsorted")
    return texts if texts != [""] else []


def _fill_rows(staging: Staging) -> None:
    """The tables of `tables`, from what is known of the nodes; takes the place of `nodes`, `entities`, `relations`."""
    connection = staging.connection
    connection.execute(TABLES)
    items = "array_to_string(list_transform(coalesce(categories, []), lambda item: to_json(item)), ', ')"
    staging.execute_large(
        f"""INSERT INTO entity_rows
        SELECT entities.rowid AS id, label, coalesce(name, ''), coalesce(type, ''), '[' || {items} || ']'
        FROM entities LEFT JOIN nodes USING (label) ORDER BY id"""
    )
    connection.execute("INSERT INTO relation_rows SELECT rowid, label FROM relations ORDER BY rowid")
    for table in ("nodes", "entities", "relations"):
        connection.execute(f"DROP TABLE {table}")


def _edges(staging: Staging, split: str, with_sources: bool) -> Iterator[Edges]:
    """The triples of one split, some at a time."""
    connection = staging.connection
    before = [f"'{other}'" for other in SPLITS[: SPLITS.index(split)]]
    start = count_rows(connection, f"coded WHERE split IN ({', '.join(before)})") if before else 0
    stop = start + count_rows(connection, f"coded WHERE split = '{split}'")
    for found in fetched(connection, "h, r, t, s", "coded", start, stop):
        triples = np.column_stack([found[column] for column in "hrt"])
        yield triples, found["s"] if with_sources else None
