"""A part of a graph as a graph folder of its own.

The graph goes into the staging tables, the filters of `filters` cut it there, and the triples that are left are
taken over as they are: their order, their splits and their sources do not change.
"""

import glob
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from corollary.budget import MIB, Budget, resident_bytes
from corollary.errors import InputError, PlanDoesNotFit
from corollary.graph.filters import FilterConfig, apply_filters
from corollary.graph.folder import Graph, derive_graph, in_pieces, write_pieces
from corollary.graph.reading.staging import Staging
from corollary.graph.reading.text_lines import insert_columns
from corollary.graph.tables import TABLES
from corollary.messages import Say, silent
from corollary.storage import refuse_existing

_CHUNK = 1 << 20  # triples staged at a time
_BYTES_PER_TRIPLE = 60  # its row, its ids and its source, twice while they are taken out and renumbered


def subset_graph(
    graph: Graph,
    output: str | Path,
    config: FilterConfig,
    *,
    budget: Budget = Budget(),
    keep_vocabulary: bool = True,
    say: Say = silent,
) -> Graph:
    """Write the part of `graph` that `config` keeps, and open it.

    Args:
        keep_vocabulary: share the vocabulary, so that ids mean the same in both and runs can be compared. Otherwise
            the nodes and relations that are left get new dense ids, in the order of the old ones: what makes
            a graph fit a smaller machine.

    A split that is left without a triple is not written. `notes` of the new graph hold the filters, their counts
    and the fingerprint of the graph it is part of.

    Raises `InputError` where no filter is set, besides what `apply_filters` raises; `StorageError` where `output`
    exists; `PlanDoesNotFit` where the triples that are left need more than the memory limit.

    Memory: DuckDB takes what the limit leaves; then 60 bytes a triple that is kept, then at most 256 MiB to sort answers.
    """
    if not config.active:
        raise InputError(
            f"{graph.path}: nothing to cut: set at least one filter, such as keep_predicates or k_core"
        )
    output = Path(output)
    refuse_existing(output)
    graph.verify()
    with Staging.within(output.parent, budget, f"cutting {graph.path}") as staging:
        _load(staging, graph)
        counts = apply_filters(staging.connection, config, say=say)
        rows = staging.connection.execute("SELECT ordinal FROM edges ORDER BY ordinal").fetchnumpy()[
            "ordinal"
        ]
        isolated = _isolated(staging, graph) if config.keep_isolated else np.zeros(0, dtype=np.int64)
    _check_memory(len(rows), budget)
    triples, sources = _taken(graph, np.asarray(rows, dtype=np.int64), say)
    settings = config.model_dump(mode="json", exclude_defaults=True)
    if config.around or config.around_file:
        settings["hops"] = config.hops
    notes = {"subset": {"of": graph.fingerprint, "filters": settings, "counts": counts}}
    if keep_vocabulary:
        return derive_graph(graph, output, triples=triples, edge_sources=sources, notes=notes, budget=budget)
    return _write_compact(graph, output, triples, sources, isolated, notes, budget)


def _load(staging: Staging, graph: Graph) -> None:
    """The graph in the staging tables; `ordinal` counts the triples of all splits, in the order of the splits."""
    connection = staging.connection
    connection.execute(
        """CREATE TABLE subset_nodes AS SELECT id, label, name, type, categories FROM read_parquet(?)""",
        [glob.escape(str(graph.path / "nodes.parquet"))],
    )
    connection.execute(
        """INSERT INTO nodes SELECT label, name, type, from_json(categories, '["VARCHAR"]')
        FROM subset_nodes ORDER BY id"""
    )
    connection.execute("CREATE TABLE subset_relations (id BIGINT, label VARCHAR)")
    insert_columns(
        connection, "subset_relations", np.arange(graph.num_relations), list(graph.relations.labels)
    )
    names = graph.info.edge_sources
    connection.execute("CREATE TABLE subset_sources (code INTEGER, name VARCHAR)")
    insert_columns(connection, "subset_sources", np.arange(-1, len(names)), ["", *names])
    connection.execute(
        "CREATE TABLE subset_edges (ordinal BIGINT, split VARCHAR, h BIGINT, r BIGINT, t BIGINT, source INTEGER)"
    )
    start = 0
    for split in graph.splits:
        triples, sources = graph.triples(split), graph.edge_sources(split)
        for first in range(0, len(triples), _CHUNK):
            part = np.asarray(triples[first : first + _CHUNK])
            codes = np.full(len(part), -1) if sources is None else np.asarray(sources[first : first + _CHUNK])
            ordinals = np.arange(start + first, start + first + len(part))
            splits = np.full(len(part), split, dtype=object)
            heads, relations, tails = (np.ascontiguousarray(part[:, i]) for i in range(3))
            insert_columns(connection, "subset_edges", ordinals, splits, heads, relations, tails, codes)
        start += len(triples)
    staging.execute_large(
        """INSERT INTO edges SELECT ordinal, split, hn.label, rn.label, tn.label, sn.name FROM subset_edges
        JOIN subset_nodes AS hn ON hn.id = h JOIN subset_relations AS rn ON rn.id = r
        JOIN subset_nodes AS tn ON tn.id = t JOIN subset_sources AS sn ON sn.code = source"""
    )
    connection.execute("DROP TABLE subset_edges")


def _isolated(staging: Staging, graph: Graph) -> Int[np.ndarray, " nodes"]:
    """Ids of all nodes that are left, with edges or without."""
    found = staging.connection.execute(
        "SELECT id FROM subset_nodes SEMI JOIN nodes USING (label) ORDER BY id"
    )
    return np.asarray(found.fetchnumpy()["id"], dtype=np.int64)


def _check_memory(num_triples: int, budget: Budget) -> None:
    needed = resident_bytes() + num_triples * _BYTES_PER_TRIPLE
    if budget.limit is not None and needed > budget.limit:
        raise PlanDoesNotFit(
            f"writing the {num_triples:,} triples that are left needs {needed / MIB:.1f} MiB and the budget is "
            f"{budget.limit / MIB:.1f} MiB: this process {resident_bytes() / MIB:.1f}, triples "
            f"{num_triples * _BYTES_PER_TRIPLE / MIB:.1f} (MiB). Cut more, or raise --memory-limit."
        )


def _taken(
    graph: Graph, rows: Int[np.ndarray, " kept"], say: Say
) -> tuple[dict[str, Int[np.ndarray, "n 3"]], dict[str, Int[np.ndarray, " n"]]]:
    """Triples and source codes by split, from their rows over all splits in ascending order."""
    triples, sources, start = {}, {}, 0
    for split in graph.splits:
        whole, codes = graph.triples(split), graph.edge_sources(split)
        mine = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(whole))] - start
        start += len(whole)
        if not len(mine):
            say(f"the split {split!r} has no triple left and is not written")
            continue
        triples[split] = np.asarray(whole[mine])
        if codes is not None:
            sources[split] = np.asarray(codes[mine])
    return triples, sources


def _write_compact(
    graph: Graph,
    output: Path,
    triples: dict[str, Int[np.ndarray, "n 3"]],
    sources: dict[str, Int[np.ndarray, " n"]],
    isolated: Int[np.ndarray, " nodes"],
    notes: dict[str, Any],
    budget: Budget,
) -> Graph:
    """A folder with new dense ids for what is left."""
    every = np.concatenate(list(triples.values()))
    entities = np.union1d(np.unique(every[:, [0, 2]]), isolated)
    relations = np.unique(every[:, 1])
    renumbered = {
        split: np.stack(
            [
                np.searchsorted(entities, rows[:, 0]),
                np.searchsorted(relations, rows[:, 1]),
                np.searchsorted(entities, rows[:, 2]),
            ],
            axis=1,
        )
        for split, rows in triples.items()
    }
    names = graph.info.edge_sources
    used = np.unique(np.concatenate(list(sources.values()))) if sources else np.zeros(0, dtype=np.int64)
    codes = {split: np.searchsorted(used, rows) for split, rows in sources.items()}
    with Staging.within(output.parent, budget, f"writing {output}") as staging:
        _fill_rows(staging, graph, entities, relations)
        return write_pieces(
            output,
            staging.connection,
            {split: in_pieces(rows, codes.get(split)) for split, rows in renumbered.items()},
            name=graph.name,
            edge_sources=[names[code] for code in used],
            sources=graph.info.sources,
            notes={**graph.info.notes, **notes},
            budget=budget,
            release=staging.close,
        )


def _fill_rows(
    staging: Staging,
    graph: Graph,
    entities: Int[np.ndarray, " entities"],
    relations: Int[np.ndarray, " relations"],
) -> None:
    """The tables of `tables` with some entities and relations of a graph, under new ids."""
    connection = staging.connection
    connection.execute(TABLES)
    for table, file, columns, kept in (
        ("entity_rows", "nodes", "label, name, type, categories", entities),
        ("relation_rows", "relations", "label", relations),
    ):
        connection.execute("CREATE TEMP TABLE kept (old BIGINT, new BIGINT)")
        insert_columns(connection, "kept", kept, np.arange(len(kept)))
        staging.execute_large(
            f"""INSERT INTO {table} SELECT new, {columns} FROM read_parquet($path) JOIN kept ON old = id
            ORDER BY new""",
            {"path": glob.escape(str(graph.path / f"{file}.parquet"))},
        )
        connection.execute("DROP TABLE kept")
