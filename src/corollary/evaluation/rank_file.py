"""The rank of every triple and side as a Parquet file, written in batches: memory does not grow with their number."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import numpy as np

from corollary.budget import MIB
from corollary.errors import StorageError
from corollary.evaluation.metrics import Counts
from corollary.graph.folder import Graph
from corollary.storage import new_file, readable_errors, scratch_folder

MEMORY = 128 * MIB
"""What DuckDB may hold; beyond it sorts and joins on disk."""

_FULL = ("above", "equal", "candidates")
_LIMITED = ("above_in_range", "equal_in_range", "candidates_in_range")


class RankFile:
    """Collects rankings in a database beside `path` and writes them there, by triple and side, when the block ends.

    Columns: `triple` (row in the split), head, relation, tail with their ids, side, the three ranks and the number
    of candidates; with limited candidates also the ranks among those.
    """

    def __init__(self, path: Path, graph: Graph, *, limited: bool) -> None:
        self._path, self._graph, self._limited = path, graph, limited

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(readable_errors(self._path))
            folder = stack.enter_context(scratch_folder(self._path, purpose="database"))
            self._database = stack.enter_context(duckdb.connect(str(folder / "ranks.duckdb")))
            self._database.execute(f"SET memory_limit = '{MEMORY // MIB}MiB'")
            self._database.execute("SET preserve_insertion_order = false")
            columns = ["triple", "entity", "relation", "answer", *self._counts()]
            self._database.execute(f"CREATE TABLE ranks ({', '.join(f'{name} BIGINT' for name in columns)})")
            self._cleanup = stack.pop_all()
        return self

    def append(
        self,
        triples: np.ndarray,
        entities: np.ndarray,
        relations: np.ndarray,
        answers: np.ndarray,
        full: Counts,
        limited: Counts | None,
    ) -> None:
        """Add some rankings: triple rows, query entities, directed relations, true answers and counts."""
        columns = {"triple": triples, "entity": entities, "relation": relations, "answer": answers}
        for names, counts in ((_FULL, full), (_LIMITED, limited)):
            if counts is not None:
                values = (counts.above, counts.equal, counts.candidates)
                columns |= dict(zip(names, values, strict=True))
        self._database.register(
            "batch", {name: np.ascontiguousarray(v, np.int64) for name, v in columns.items()}
        )
        self._run("INSERT INTO ranks SELECT * FROM batch")
        self._database.unregister("batch")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cleanup:
            if kind is None:
                with new_file(self._path) as partial:
                    self._run(f"COPY ({self._query()}) TO '{_quoted(partial)}' (FORMAT parquet)")

    def _counts(self) -> tuple[str, ...]:
        return _FULL + _LIMITED if self._limited else _FULL

    def _query(self) -> str:
        """Counts become ranks, ids get their labels."""
        count = self._graph.num_relations
        nodes, relations = (
            f"'{_quoted(self._graph.path / name)}'" for name in ("nodes.parquet", "relations.parquet")
        )
        return f"""
            WITH sides AS (
                SELECT *, relation % {count} AS relation_id, relation < {count} AS asks_tail,
                    if(asks_tail, entity, answer) AS head_id, if(asks_tail, answer, entity) AS tail_id
                FROM ranks
            )
            SELECT triple, head_id, h.label AS head, relation_id, r.label AS relation, tail_id, t.label AS tail,
                if(asks_tail, 'tail', 'head') AS side, {_ranks("")} {", " + _ranks("_in_range") if self._limited else ""}
            FROM sides
            JOIN {nodes} h ON h.id = head_id JOIN {nodes} t ON t.id = tail_id
            JOIN {relations} r ON r.id = relation_id
            ORDER BY triple, asks_tail
        """

    def _run(self, statement: str) -> None:
        try:
            with readable_errors(self._path):
                self._database.execute(statement)
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise StorageError(f"{self._path} was not written: {error}") from error


def _ranks(suffix: str) -> str:
    above, equal = f"above{suffix}", f"equal{suffix}"
    return (
        f"{above} + 1 AS optimistic_rank{suffix}, {above} + 1 + {equal} / 2 AS realistic_rank{suffix}, "
        f"{above} + 1 + {equal} AS pessimistic_rank{suffix}, candidates{suffix} AS num_candidates{suffix}"
    )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
