"""From staging tables to a graph folder: duplicates merged, labels numbered, triples as arrays."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from jaxtyping import Int

from corollary.budget import Budget, resident_bytes, show_bytes
from corollary.errors import InputError, PlanDoesNotFit
from corollary.graph.folder import SPLITS, Graph, write_graph
from corollary.graph.joining import merge_duplicate_edges, merge_duplicate_nodes
from corollary.graph.reading.staging import Staging, count_rows, counted
from corollary.messages import Say

_BYTES_A_TRIPLE, _BYTES_A_LABEL = 110, 400


class _Coded(Sequence[str]):
    """Texts of which there are few distinct ones: a code each."""

    def __init__(self, texts: Sequence[str], codes: Int[np.ndarray, " n"]) -> None:
        self._texts = texts
        self._codes = codes

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> "_Coded": ...
    def __getitem__(self, row: int | slice) -> "str | _Coded":
        if isinstance(row, slice):
            return _Coded(self._texts, self._codes[row])
        return self._texts[self._codes[row]]

    def __iter__(self) -> Iterator[str]:
        return (self._texts[code] for code in self._codes)


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

    Memory: about 110 bytes a triple and 400 a label (`PlanDoesNotFit` before they are used), when DuckDB is done.
    """
    counts = _merge(staging, say) | _leaks(staging, say)
    _number(staging)
    _check_fit(staging, budget)
    splits = [split for split in SPLITS if count_rows(staging.connection, f"edges WHERE split = '{split}'")]
    if "train" not in splits:
        raise InputError(f"{path}: there is no triple to train on: expected at least one in train")
    texts = [
        text
        for (text,) in staging.connection.execute("SELECT DISTINCT source FROM edges ORDER BY 1").fetchall()
    ]
    rows = {split: _encoded(staging, split, texts) for split in splits}
    nodes = _nodes(staging)
    return write_graph(
        path,
        name=name,
        labels=nodes["label"],
        relations=[
            label for (label,) in staging.connection.execute("SELECT label FROM relations").fetchall()
        ],
        triples={split: triples for split, (triples, _) in rows.items()},
        names=nodes["name"],
        types=nodes["type"],
        categories=nodes["categories"],
        edge_sources={split: _Coded(texts, codes) for split, (_, codes) in rows.items()}
        if texts != [""]
        else None,
        sources=sources,
        notes={**(notes or {}), **counts},
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
        staging.connection.execute(f"CREATE OR REPLACE TABLE {table} AS {order}")


def _check_fit(staging: Staging, budget: Budget) -> None:
    """Raises `PlanDoesNotFit` where the arrays and labels of the graph folder exceed the memory limit."""
    if budget.limit is None:
        return
    edges, labels = count_rows(staging.connection, "edges"), count_rows(staging.connection, "entities")
    needed = resident_bytes() + _BYTES_A_TRIPLE * edges + _BYTES_A_LABEL * labels
    if needed > budget.limit:
        raise PlanDoesNotFit(
            f"writing a graph of {labels:,} entities and {edges:,} triples needs about {show_bytes(needed)} and the "
            f"limit is {show_bytes(budget.limit)}: raise --memory-limit, or cut the graph while it is read (by "
            "predicates, categories or k-core)"
        )


def _encoded(
    staging: Staging, split: str, texts: Sequence[str]
) -> tuple[Int[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """Ids of the triples of one split in the order of reading, and the code of each one's source in `texts`."""
    integer = "INTEGER" if count_rows(staging.connection, "entities") < 2**31 else "BIGINT"
    columns = staging.connection.execute(
        f"""SELECT h.rowid::{integer} AS h, r.rowid::{integer} AS r, t.rowid::{integer} AS t,
            (list_position($texts, source) - 1)::INTEGER AS s
        FROM edges JOIN entities AS h ON h.label = head JOIN relations AS r ON r.label = relation
        JOIN entities AS t ON t.label = tail WHERE split = $split ORDER BY ordinal""",
        {"texts": list(texts), "split": split},
    ).fetchnumpy()
    triples = np.column_stack([columns[name] for name in "hrt"])
    expected = count_rows(staging.connection, f"edges WHERE split = '{split}'")
    assert len(triples) == expected, f"{expected - len(triples)} triples of {split} have labels without an id"
    return triples, np.asarray(columns["s"])


def _nodes(staging: Staging) -> dict[str, list[Any]]:
    """Label, name, type and categories of every entity, by id."""
    columns: dict[str, list[Any]] = {}
    for column, empty in (("label", None), ("name", "''"), ("type", "''"), ("categories", "[]::VARCHAR[]")):
        if column == "label":
            query = "SELECT label FROM entities ORDER BY rowid"
        else:
            query = f"""SELECT coalesce(nodes.{column}, {empty}) FROM entities LEFT JOIN nodes USING (label)
            ORDER BY entities.rowid"""
        columns[column] = [value for (value,) in staging.connection.execute(query).fetchall()]
    return columns
