"""The external sort of answers against the one in memory, which is tested against a dictionary."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.graph import arrays, indexing
from corollary.graph.answers import AnswerIndex
from corollary.graph.indexing import write_index

RELATIONS, ENTITIES = 3, 40
TRIPLES = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 2), st.integers(0, 39)), max_size=200)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check(splits, dtype=np.int32, num_entities=ENTITIES, num_relations=RELATIONS):
    """The index of some splits taken as one has the same bytes in both ways, and nothing else is left."""
    with tempfile.TemporaryDirectory() as name:
        folder, files = Path(name), []
        splits = [np.array(rows, dtype=dtype).reshape(-1, 3) for rows in splits]
        for number, rows in enumerate(splits):
            files.append(folder / f"{number}.npy")
            np.save(files[-1], rows)
        sizes = {"num_entities": num_entities, "num_relations": num_relations}
        write_index(files, folder / "external", **sizes, memory=0)
        AnswerIndex.build(np.concatenate(splits), num_relations).save(folder / "memory")
        assert files_of(folder / "external") == files_of(folder / "memory")


@pytest.fixture(scope="module", autouse=True)
def small_pieces():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "PIECE", 16)
        yield


@pytest.mark.parametrize("numbers", [indexing._NUMBERS, 2000], ids=["one part", "five parts"])
@pytest.mark.parametrize("capacity", [1 << 20, 50, 7])
@settings(deadline=None, max_examples=20)
@given(splits=st.lists(TRIPLES, min_size=1, max_size=3))
def test_an_external_sort_gives_the_same_bytes(numbers, capacity, splits):
    """In one bucket or many, in one number or in parts; duplicates within and across splits; empty splits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "_NUMBERS", numbers)
        patch.setattr(indexing, "SMALLEST", 2 * capacity * indexing.BYTES_PER_EXAMPLE)
        check(splits)


def test_one_query_may_have_more_answers_than_a_bucket(monkeypatch):
    """A hub is cut by its answers, and stays one query in the index."""
    monkeypatch.setattr(indexing, "SMALLEST", 20 * indexing.BYTES_PER_EXAMPLE)
    rng = np.random.default_rng(0)
    check([[(0, 1, tail) for tail in rng.permutation(5000).tolist()]], num_entities=5000)


def test_the_same_triple_again_and_again(monkeypatch):
    """Counts once, in its first row, though all its copies are in one bucket."""
    monkeypatch.setattr(indexing, "SMALLEST", 20 * indexing.BYTES_PER_EXAMPLE)
    check([[(1, 0, 2)] * 300, [(1, 0, 2), (3, 0, 3)] * 20])


def test_large_ids_keep_their_width():
    """64-bit entity ids, whose numbers take more than 63 bits: parts of the queries, one after the other."""
    large = 2**33
    rows = [(large, 1, large + 1), (large, 1, 5), (3, 0, large + 1), (large, 1, 5)]
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "rows.npy", np.array(rows))
        sizes = {"num_entities": large + 2, "num_relations": 2}
        part_keys = indexing._NUMBERS // sizes["num_entities"]
        assert part_keys < sizes["num_entities"] * 4
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrays, "PIECE", 2)
            write_index([Path(name) / "rows.npy"], Path(name) / "external", **sizes, memory=0)
        AnswerIndex.build(np.array(rows), 2).save(Path(name) / "memory")
        assert files_of(Path(name) / "external") == files_of(Path(name) / "memory")
