"""The index of known answers against a dictionary."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.graph import answers
from corollary.graph.answers import AnswerIndex, directed

RELATIONS, ENTITIES = 3, 8
TRIPLES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(0, 7)), max_size=40)


def plain(triples):
    """Answers and first row of each (entity, directed relation), as a dictionary."""
    known = defaultdict(dict)
    for row, (head, relation, tail) in enumerate(triples):
        known[head, relation].setdefault(tail, row)
        known[tail, relation + RELATIONS].setdefault(head, row)
    return known


def built(triples, dtype=np.int64):
    return AnswerIndex.build(np.array(triples, dtype=dtype).reshape(-1, 3), RELATIONS)


def every_query():
    entity, relation = np.meshgrid(np.arange(ENTITIES), np.arange(2 * RELATIONS), indexing="ij")
    return entity.ravel(), relation.ravel()


@pytest.mark.parametrize("largest", [answers._LARGEST, 0], ids=["one number", "two numbers"])
@settings(deadline=None)
@given(triples=TRIPLES)
def test_index_holds_what_a_dictionary_holds(largest, triples):
    """Queries in order, answers in order, duplicates once with their first row; whichever way it was sorted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_LARGEST", largest)
        index = built(triples)
    known = plain(triples)
    entity, relation = index.queries(slice(None))
    assert list(zip(entity.tolist(), relation.tolist(), strict=True)) == sorted(known)
    assert index.num_queries == len(known)
    assert index.num_examples == sum(map(len, known.values()))
    for row, query in enumerate(sorted(known)):
        found = slice(index.offsets[row], index.offsets[row + 1])
        assert index.answers[found].tolist() == sorted(known[query])
        assert index.triples[found].tolist() == [known[query][answer] for answer in sorted(known[query])]


@settings(deadline=None)
@given(triples=TRIPLES)
def test_find_and_gather_give_each_query_its_answers(triples):
    """Asked for every possible query at once, in any order, and for queries without an answer."""
    index, known = built(triples), plain(triples)
    entity, relation = every_query()
    rows = index.find(entity, relation)
    offsets, found = index.gather(rows)
    for i, query in enumerate(zip(entity.tolist(), relation.tolist(), strict=True)):
        assert (rows[i] >= 0) == (query in known)
        assert found[offsets[i] : offsets[i + 1]].tolist() == sorted(known.get(query, []))


@settings(deadline=None)
@given(triples=TRIPLES)
def test_contains_is_membership(triples):
    """Every (entity, directed relation, answer) there can be."""
    index, known = built(triples), plain(triples)
    entity, relation = every_query()
    wanted = [np.repeat(entity, ENTITIES), np.repeat(relation, ENTITIES)]
    answer = np.tile(np.arange(ENTITIES), len(entity))
    expected = [
        a in known.get((e, r), {}) for e, r, a in zip(*map(np.ndarray.tolist, (*wanted, answer)), strict=True)
    ]
    assert index.contains(*wanted, answer).tolist() == expected


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_saved_index_is_memory_mapped_and_equal(tmp_path, dtype):
    """Answers keep the width of the triples; bounds and keys are 64 bits wide."""
    index = built([(0, 0, 1), (0, 0, 2), (2, 1, 0), (0, 0, 1)], dtype)
    index.save(tmp_path / "index")
    loaded = AnswerIndex.load(tmp_path / "index", RELATIONS)
    for name in ("keys", "offsets", "answers", "triples"):
        assert isinstance(getattr(loaded, name), np.memmap)
        assert getattr(loaded, name).dtype == getattr(index, name).dtype
        assert getattr(loaded, name).tolist() == getattr(index, name).tolist()
    assert loaded.answers.dtype == dtype
    assert loaded.offsets.dtype == loaded.keys.dtype == np.int64


def test_ids_past_two_to_the_31_do_not_overflow():
    """Keys of large entity ids stay exact, also where query and answer do not fit one number."""
    large = 2**33
    index = AnswerIndex.build(np.array([[large, 2, large + 1], [large, 2, 5]]), RELATIONS)
    rows = index.find(np.array([large]), np.array([2]))
    assert index.gather(rows)[1].tolist() == [5, large + 1]
    assert index.contains(np.array([large + 1]), np.array([2 + RELATIONS]), np.array([large])).tolist() == [
        True
    ]


def test_directed_shifts_the_head_side():
    """Relation r asks for tails, r + R for heads."""
    relation = np.array([0, 2], dtype=np.int32)
    assert directed(relation, "tail", RELATIONS).tolist() == [0, 2]
    assert directed(relation, "head", RELATIONS).tolist() == [3, 5]
