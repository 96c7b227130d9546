"""Small graphs for tests, made from triples of numbers or of labels."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corollary import storage
from corollary.graph.folder import Graph, write_graph

Rows = Sequence[tuple[int, int, int]]


def numbered_graph(
    path: Path, splits: Mapping[str, Rows], *, entities: int = 0, relations: int = 0, **more: Any
) -> Graph:
    """Entities e0, e1, ... and relations r0, r1, ...; at least as many as the triples name."""
    rows = [row for members in splits.values() for row in members]
    entities = max([entities, *(1 + max(head, tail) for head, _, tail in rows)])
    relations = max([relations, *(1 + relation for _, relation, _ in rows)])
    return write_graph(
        path,
        name="small",
        labels=[f"e{i}" for i in range(entities)],
        relations=[f"r{i}" for i in range(relations)],
        triples={
            split: np.array(members, dtype=np.int64).reshape(-1, 3) for split, members in splits.items()
        },
        **more,
    )


def triples_of(graph: Graph, split: str) -> list[tuple[int, int, int]]:
    """The triples of one split as plain tuples, in order."""
    return [tuple(row) for row in graph.triples(split).tolist()]


@contextmanager
def unflushed() -> Iterator[None]:
    """Folders are written without waiting for the disk: for tests that write hundreds of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "sync", lambda path: None)
        yield
