"""The best answers equal those of a full sort."""

import numpy as np
import pytest
import torch

from corollary.errors import GraphMismatch, InputError, TrainingDiverged
from corollary.evaluation.topk import top_answers
from corollary.learners.protocol import Queries
from tests.evaluation.conftest import NUM_ENTITIES, NUM_RELATIONS
from tests.reference import ranking as plain


def all_queries():
    """Every entity with every directed relation, most of them unseen."""
    pairs = [(e, r) for e in range(NUM_ENTITIES) for r in range(2 * NUM_RELATIONS)]
    return pairs, Queries(*torch.tensor(pairs).T)


@pytest.mark.parametrize(
    ("k", "block_rows", "exclude"),
    [
        (1, 7, None),
        (10, 1, "known"),
        (10, 7, "train"),
        (10, 999, None),
        (NUM_ENTITIES, 7, "known"),
        (100, 999, "train"),
    ],
)
def test_best_answers_equal_a_full_sort(world, table, scorer, k, block_rows, exclude):
    """Equal scores in the order of ids; excluded answers left out; known ones flagged; any cut of the work."""
    pairs, queries = all_queries()
    found = top_answers(
        scorer, queries, k=k, graph=world.graph, exclude=exclude, block_rows=block_rows, chunk=100
    )
    members = {None: [], "train": ["train"], "known": ["train", "valid", "test"]}[exclude]
    left_out = [plain.answers(world.splits[m], NUM_RELATIONS) for m in members]
    known = plain.answers(np.concatenate(list(world.splits.values())), NUM_RELATIONS)
    assert found.entity_ids.shape == (len(pairs), min(k, NUM_ENTITIES))
    for row, query in enumerate(pairs):
        excluded = set().union(*(answers.get(query, set()) for answers in left_out))
        best = plain.top(table[query], k, excluded)
        missing = found.entity_ids.shape[1] - len(best)
        assert found.entity_ids[row].tolist() == [entity for entity, _ in best] + [-1] * missing
        assert found.scores[row].tolist() == [score for _, score in best] + [-np.inf] * missing
        flags = [entity in known.get(query, set()) for entity, _ in best] + [False] * missing
        assert found.known[row].tolist() == flags


def test_no_query_gives_no_answer(world, scorer):
    """An empty list of queries is not an error."""
    none = torch.zeros(0, dtype=torch.long)
    assert top_answers(scorer, Queries(none, none), k=3, graph=world.graph).entity_ids.shape == (0, 3)


def test_wrong_input_is_named(world, table, make_scorer):
    """Ids out of range, a scorer of another size, a score that is not a number."""
    one, queries = torch.tensor([0]), Queries(torch.tensor([0]), torch.tensor([0]))
    with pytest.raises(
        InputError, match="query 0: entity id 45 is not in graph world, whose ids go from 0 to 44"
    ):
        top_answers(make_scorer(table), Queries(one + 45, one), k=1, graph=world.graph)
    with pytest.raises(InputError, match="query 0: directed relation id 6 is not in graph world"):
        top_answers(make_scorer(table), Queries(one, one + 6), k=1, graph=world.graph)
    with pytest.raises(GraphMismatch, match="knows 44 entities"):
        top_answers(make_scorer(table[:44, :, :44]), queries, k=1, graph=world.graph)
    broken = table.copy()
    broken[0, 0, 20] = np.nan
    with pytest.raises(TrainingDiverged, match=r"scores of \(e'0, near, \?\) are not all numbers"):
        top_answers(make_scorer(broken), queries, k=1, graph=world.graph)
