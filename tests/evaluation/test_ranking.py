"""Ranking by counting equals ranking one by one over dense scores."""

import duckdb
import numpy as np
import pytest
import torch

from corollary.errors import GraphError, GraphMismatch, InputError, TrainingDiverged
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_split, rank_triples
from corollary.graph.folder import write_graph
from corollary.randomness import generator
from tests.evaluation.conftest import NUM_ENTITIES, NUM_RELATIONS
from tests.reference import ranking as plain

KS = (1, 3, 5, 10)


def expected_rows(world, table, split, members, allowed=None):
    """Rankings by the reference; `members` are the splits of the filter."""
    known = plain.answers(
        np.concatenate([world.splits[m] for m in members] or [np.zeros((0, 3), int)]), NUM_RELATIONS
    )
    return plain.all_rankings(table, world.splits[split], known, NUM_RELATIONS, allowed)


def assert_same(metrics, rows, ties):
    """Figures of `metrics` equal those of the reference's rows."""
    ranks = [plain.place(above, equal, ties) for *_, above, equal, _ in rows]
    expected = plain.metrics(ranks, [row[-1] for row in rows], KS)
    assert metrics.num_rankings == len(rows)
    assert metrics.values() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def assert_all_same(figures, rows):
    """Every scope and way with ties, and every relation."""
    for scope, by_ties in figures.sides.items():
        chosen = [row for row in rows if scope in ("both", row[1])]
        for ties, metrics in by_ties.items():
            assert_same(metrics, chosen, ties)
    assert {item.relation_id for item in figures.relations} == {row[2] for row in rows}
    for item in figures.relations:
        chosen = [row for row in rows if row[2] == item.relation_id and item.side in ("both", row[1])]
        assert_same(item.metrics, chosen, "realistic")


@pytest.mark.parametrize(
    ("block_rows", "chunk", "dtype"),
    [
        (1, 512, torch.float32),
        (7, 13, torch.float32),
        (7, 512, torch.float64),
        (NUM_ENTITIES, 1, torch.float32),
        (999, 13, torch.float64),
    ],
)
def test_blocks_and_chunks_change_memory_not_ranks(world, table, make_scorer, block_rows, chunk, dtype):
    """Both sides, all ways with ties, every relation: equal to the reference however the work is cut."""
    result = rank_split(
        make_scorer(table, dtype), world.graph, "test", block_rows=block_rows, chunk=chunk, resamples=0
    )
    assert_all_same(result.figures, expected_rows(world, table, "test", ["train", "valid", "test"]))


@pytest.mark.parametrize(
    ("filter", "members"), [(None, []), ("train", ["train"]), ("train+valid", ["train", "valid"])]
)
def test_an_answer_never_competes_with_itself(world, table, scorer, filter, members):
    """Under a filter that lacks the ranked facts, other true answers compete, the answer itself does not."""
    result = rank_split(scorer, world.graph, "test", filter=filter, resamples=0)
    rows = expected_rows(world, table, "test", members)
    assert_all_same(result.figures, rows)
    assert result.filter == filter
    assert min(row[-1] for row in rows) > 1


@pytest.mark.parametrize("block_rows", [7, 999])
def test_candidates_limited_to_range_types(world, table, scorer, block_rows):
    """Beside the full figures; an answer of another type is ranked among all, and counted."""
    result = rank_split(
        scorer, world.graph, "test", candidates="types", block_rows=block_rows, chunk=13, resamples=0
    )
    members = ["train", "valid", "test"]
    allowed = plain.allowed_types(world.splits["train"], world.types, NUM_RELATIONS)
    assert_all_same(result.figures, expected_rows(world, table, "test", members))
    assert_all_same(result.in_range.figures, expected_rows(world, table, "test", members, allowed))
    outside = [
        not allowed[asked][answer]
        for head, relation, tail in np.unique(world.splits["test"], axis=0).tolist()
        for asked, answer in ((relation, tail), (relation + NUM_RELATIONS, head))
    ]
    assert 0 < result.in_range.num_outside == sum(outside)
    assert result.in_range.share_outside == pytest.approx(np.mean(outside))
    assert result.candidates == "types"


def test_each_distinct_query_is_prepared_once(world, scorer):
    """However many triples ask it, and a duplicate triple counts once."""
    result = rank_split(scorer, world.graph, "test", block_rows=7, chunk=13, resamples=0)
    distinct = plain.answers(world.splits["test"], NUM_RELATIONS)
    assert sorted(scorer.asked) == sorted(distinct)
    assert result.num_queries_scored == len(distinct) < result.num_rankings
    assert result.num_triples == len(world.splits["test"]) - 1
    assert result.num_rankings == 2 * result.num_triples
    assert scorer.largest_tile == 13 * 7


def test_constant_scores_tie_with_everything(world, make_scorer):
    """Optimistic 1, pessimistic last, realistic in the middle, adjusted index 0."""
    constant = make_scorer(np.zeros((NUM_ENTITIES, 2 * NUM_RELATIONS, NUM_ENTITIES)))
    result = rank_split(constant, world.graph, "test", resamples=0)
    by_ties = result.figures.sides["both"]
    assert by_ties["optimistic"].mrr == 1
    assert by_ties["pessimistic"].mean_rank == by_ties["pessimistic"].mean_candidates
    assert by_ties["realistic"].adjusted_mean_rank_index == pytest.approx(0, abs=1e-12)


def test_given_triples_are_left_out_of_each_others_competition(world, table, scorer):
    """A list of facts that the graph does not hold is ranked as a test split of its own would be."""
    rng = np.random.default_rng(5)
    given = rng.integers(0, [4, NUM_RELATIONS, NUM_ENTITIES], (30, 3))
    for filter, members in (("known", ["train", "valid", "test"]), (None, [])):
        result = rank_triples(scorer, world.graph, given, filter=filter, resamples=0)
        facts = [world.splits[m] for m in members] + ([given] if members else [np.zeros((0, 3), int)])
        known = plain.answers(np.concatenate(facts), NUM_RELATIONS)
        assert_all_same(result.figures, plain.all_rankings(table, given, known, NUM_RELATIONS))
    assert result.split == "given"


def test_every_rank_in_a_parquet_file(world, table, scorer, tmp_path):
    """By triple and side, ids and labels, full and limited ranks; nothing else is left in the folder."""
    path = tmp_path / "it's" / "ranks.parquet"
    rank_split(scorer, world.graph, "test", candidates="types", chunk=13, ranks_path=path, resamples=0)
    assert [file.name for file in path.parent.iterdir()] == ["ranks.parquet"]
    table_of_ranks = duckdb.read_parquet(str(path)).df()

    allowed = plain.allowed_types(world.splits["train"], world.types, NUM_RELATIONS)
    members = ["train", "valid", "test"]
    full = expected_rows(world, table, "test", members)
    limited = expected_rows(world, table, "test", members, allowed)
    assert len(table_of_ranks) == len(full)
    for row, (triple, side, relation, *counts), (*_, above, equal, candidates) in zip(
        table_of_ranks.to_dict("records"), full, limited, strict=True
    ):
        head, _, tail = world.splits["test"][triple].tolist()
        assert (row["triple"], row["side"], row["relation_id"]) == (triple, side, relation)
        assert (row["head_id"], row["tail_id"]) == (head, tail)
        assert (row["head"], row["tail"]) == (f"e'{head}", f"e'{tail}")
        assert row["relation"] == ("near", "above", "part of")[relation]
        for ties in ("optimistic", "realistic", "pessimistic"):
            assert row[f"{ties}_rank"] == plain.place(*counts[:2], ties)
            assert row[f"{ties}_rank_in_range"] == plain.place(above, equal, ties)
        assert (row["num_candidates"], row["num_candidates_in_range"]) == (counts[2], candidates)


def test_intervals_draw_both_sides_of_a_triple_together(world, table, make_scorer):
    """Bounds equal a plain bootstrap with the same weights; seeds repeat; cutting the work changes no bit."""
    scorer = make_scorer(table)
    result = rank_split(scorer, world.graph, "test", resamples=60, seed=3)
    other = rank_split(scorer, world.graph, "test", resamples=60, seed=3, chunk=7, block_rows=5)
    assert result.figures == other.figures
    assert rank_split(scorer, world.graph, "test", resamples=60, seed=4).figures != result.figures

    rows = expected_rows(world, table, "test", ["train", "valid", "test"])
    ranks = np.array([plain.place(above, equal, "realistic") for *_, above, equal, _ in rows])
    streams = generator(3, "bootstrap").integers(0, 2**64, 60, dtype=np.uint64)
    drawn = []
    for stream in streams.tolist():
        weight = np.array([plain.poisson(plain.split_mix(stream, row[0])) for row in rows])
        drawn.append((weight / ranks).sum() / weight.sum())
    low, high = np.quantile(drawn, [0.025, 0.975])
    interval = result.figures.intervals["mrr"]
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)
    assert interval.low < result.mrr < interval.high
    assert set(result.figures.intervals) == {
        "mrr", "hits@1", "hits@3", "hits@5", "hits@10", "mean_rank", "adjusted_mean_rank_index",
    }  # fmt: skip


def test_progress_ends_at_the_number_of_queries(world, scorer):
    """One call a chunk."""
    calls = []
    result = rank_split(
        scorer, world.graph, "test", chunk=50, resamples=0, progress=lambda *call: calls.append(call)
    )
    total = result.num_queries_scored
    assert calls == [(min(done, total), total) for done in range(50, total + 50, 50)]


def test_a_result_survives_json_and_becomes_a_table(world, scorer):
    """JSON round trip, one row a group of rankings."""
    result = rank_split(scorer, world.graph, "test", candidates="types", resamples=10, ties="pessimistic")
    assert Evaluation.model_validate_json(result.model_dump_json()) == result
    table = result.to_pandas()
    assert len(table) == 2 * 3 * (3 + 1)
    chosen = table.query(
        "candidates == 'all' and side == 'both' and ties == 'pessimistic' and mean_over == 'rankings'"
    )
    assert chosen["mrr"].tolist() == [result.mrr] == [result.value("mrr")]
    assert chosen["hits@10"].tolist() == [result.hits[10]]
    relations = result.to_pandas(by="relation").query("candidates == 'all' and side == 'both'")
    macro = table.query("candidates == 'all' and side == 'both' and mean_over == 'relations'")
    assert macro["mrr"].tolist() == pytest.approx([relations["mrr"].mean()])


@pytest.mark.parametrize("position", [0, 44])
def test_a_score_that_is_not_a_number_stops_the_ranking(world, table, make_scorer, position):
    """Wherever it stands; the message names the query."""
    broken = table.copy()
    head, relation, _ = world.splits["test"][5].tolist()
    broken[head, relation, position] = np.nan
    with pytest.raises(TrainingDiverged) as caught:
        rank_split(make_scorer(broken), world.graph, "test", block_rows=7)
    name = ("near", "above", "part of")[relation]
    assert str(caught.value) == (
        f"the scores of (e'{head}, {name}, ?) are not all numbers: the weights are damaged or training diverged; "
        "use an earlier checkpoint"
    )


def test_infinite_scores_are_ranked(world, table, make_scorer):
    """Minus infinity is how rules say impossible: it ties with itself."""
    scores = np.where(table < 0, -np.inf, table)
    result = rank_split(make_scorer(scores), world.graph, "test", resamples=0)
    assert_all_same(result.figures, expected_rows(world, scores, "test", ["train", "valid", "test"]))


def test_nothing_is_left_of_a_file_that_was_not_finished(world, table, make_scorer, tmp_path):
    """A ranking that stops half-way leaves neither the file nor its database."""
    broken = table.copy()
    broken[world.splits["test"][:, 0].max()] = np.nan
    with pytest.raises(TrainingDiverged):
        rank_split(make_scorer(broken), world.graph, "test", chunk=5, ranks_path=tmp_path / "ranks.parquet")
    assert list(tmp_path.iterdir()) == []


def test_wrong_input_is_named(world, table, scorer, make_scorer, tmp_path):
    """A scorer of another size, an unknown split, ids out of range, an untyped graph, an empty list."""
    with pytest.raises(GraphMismatch, match="knows 44 entities and graph world has 45: use the graph"):
        rank_split(make_scorer(table[:44, :, :44]), world.graph, "test")
    with pytest.raises(GraphError, match=r"split 'tset' is not known\. Did you mean 'test'"):
        rank_split(scorer, world.graph, "tset")
    with pytest.raises(GraphError, match="answer index 'unknown' is not known"):
        rank_split(scorer, world.graph, "test", filter="unknown")
    with pytest.raises(
        InputError, match="triple 1: relation id 3 is not in graph world, whose ids go from 0 to 2"
    ):
        rank_triples(scorer, world.graph, np.array([[0, 0, 0], [0, 3, 0]]))
    with pytest.raises(GraphError, match="split 'given' of graph world holds no triples"):
        rank_triples(scorer, world.graph, np.zeros((0, 3), int))


def test_types_are_needed_to_limit_candidates(scorer, tmp_path):
    """A graph without types cannot limit candidates."""
    labels = [str(i) for i in range(NUM_ENTITIES)]
    triples = {"train": np.array([[0, 0, 1]]), "test": np.array([[1, 0, 2]])}
    graph = write_graph(tmp_path / "g", name="bare", labels=labels, relations=["r"], triples=triples)
    with pytest.raises(GraphError, match="graph bare has no node types, so candidates cannot be limited"):
        rank_split(scorer, graph, "test", candidates="types")
