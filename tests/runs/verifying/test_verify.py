"""Retraining without some triples: what is left out, what is compared, what a second call does."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from corollary.errors import ConfigError, InputError, TrainingInterrupted
from corollary.evaluation.ranking import rank_triples
from corollary.explain.datamodelling import mean_estimate
from corollary.graph.answers import AnswerIndex
from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.tracin import tracin
from corollary.runs.verifying import retraining as retraining_module
from corollary.runs.verifying.deletion import RANDOM, SHARED, DeletionStudy, spare_last
from corollary.runs.verifying.planted import plant
from corollary.runs.verifying.results import write_verification_table
from corollary.runs.verifying.retraining import Retraining, outcome
from corollary.runs.verifying.scores import influence_blocks, shared_blocks
from corollary.runs.verifying.truth import places_of, read_truth
from corollary.runs.verifying.verify import VerifyConfig, confident_triples, verify
from tests.reference import datamodelling as slow

SMALL = {
    "seed": 4,
    "model": {"embedding_dim": 8, "channels": 2, "batch_size": 32},
    "training": {"epochs": 2, "validate_every": 2, "lr": 0.01, "num_workers": 0},
    "evaluation": {"checkpoint": "final", "resamples": 0},
}
QUICK = {"num_targets": 3, "top_k": (2,), "seeds": 2, "subsets": 4, "side": "both"}


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A ConvE of two epochs on the tiny graph."""
    return train_conve(tiny, tmp_path_factory.mktemp("verify") / "run", RunConfig.build(SMALL))


@pytest.fixture(scope="module")
def targets(run):
    """Three test triples, whatever their ranks."""
    return np.unique(np.asarray(run.graph.triples("test")).astype(np.int64), axis=0)[:3]


def train_rows(run):
    """The training triples."""
    return np.asarray(run.graph.triples("train")).astype(np.int64)


def test_training_again_on_everything_gives_the_run_itself(run, tmp_path):
    """The same seed on the same triples: the same weights, though neither validation nor test split is there."""
    again = Retraining(run, tmp_path)
    (unit,) = again.add(train_rows(run), [run.config.seed])
    assert list(again.train()) == [unit]
    mine, theirs = (
        load_file(r.folder.checkpoint("final") / "weights.safetensors") for r in (run, again.open(unit))
    )
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert again.open(unit).graph.splits == ("train",)
    assert not again.open(unit).folder.epoch_checkpoints()


def test_validation_stays_where_it_decides_the_weights(run, tmp_path):
    """The best checkpoint is chosen by it."""
    chosen = Run(run.folder, run.graph)
    chosen.__dict__["options"] = run.config.changed(evaluation={"checkpoint": "best"})
    again = Retraining(chosen, tmp_path)
    (unit,) = again.add(train_rows(run), [0])
    list(again.train())
    assert again.open(unit).graph.splits == ("train", "valid")
    assert again.open(unit).folder.checkpoint("best").is_dir()


def test_a_unit_is_named_by_its_content(run, tmp_path):
    """The same triples and seed are trained once; another triple, seed or option is another unit."""
    again = Retraining(run, tmp_path, memory_limit="16GiB")  # a process of many tests is large
    rows = train_rows(run)
    first = again.add(rows, [1, 2])
    assert again.add(rows, [2, 1]) == first[::-1]
    assert len(again) == 2
    assert again.add(rows[1:], [1])[0].cut != first[0].cut
    assert Retraining(run, tmp_path).add(rows, [1]) == first[:1]
    list(again.train())
    assert list(Retraining(run, tmp_path).train()) == []
    other = Retraining(run, tmp_path, checkpoint_frequency=1)
    other.add(rows, [1])
    assert other.num_finished() == 0
    list(other.train())
    assert [path.name for path in other.open(other.add(rows, [1])[0]).folder.epoch_checkpoints()] == [
        "epoch-0001", "epoch-0002",
    ]  # fmt: skip


def test_ranks_and_losses_are_those_of_evaluation_and_influence(run, targets):
    """Triples taken out of training stay known; losses are those of single examples."""
    seen = outcome(run.model, run, targets, ("tail", "head"))
    expected = rank_triples(run.model, run.graph, targets, resamples=0)
    assert seen.reciprocal.mean() == pytest.approx(expected.mrr, abs=1e-12)
    assert seen.first.mean() == pytest.approx(expected.hits[1])
    losses = [traced.loss for traced in tracin(run, targets, TracInConfig(top_k=1)).triples]
    np.testing.assert_allclose(seen.losses.sum(0), losses, rtol=1e-5)  # float32, in other batches
    tail = outcome(run.model, run, targets, ("tail",))
    np.testing.assert_array_equal(tail.ranks[0], seen.ranks[0])


def test_the_last_triple_of_an_entity_stays():
    """In the order given; a row that comes twice leaves once; a loop counts once."""
    triples = np.array([[0, 0, 1], [1, 0, 2], [2, 0, 2], [0, 0, 2]])
    gone, spared = spare_last(triples, [0, 0, 1, 2, 3], 3)
    assert (gone.tolist(), spared) == ([0, 2], 2)  # 1 keeps (1, 0, 2), 0 keeps (0, 0, 2)


def test_what_each_way_takes_out(run, targets, tmp_path):
    """A score: its own first k. Controls: as many or more, no row twice, other draws for every seed."""
    chosen = [np.array([5, 6, 7]), np.array([6, 8, 9]), np.array([10, 11, 12])]
    study = DeletionStudy(
        Retraining(run, tmp_path),
        targets,
        ("tail",),
        {"tracin": chosen},
        top_k=(2,),
        seeds=[1, 2],
        draw=0,
        at_once=True,
    )
    rows = train_rows(run)

    def removed(name, seed_number):
        (cut,) = study.cuts[name, 2]
        kept = study.retraining._graphs[cut.units[seed_number].cut].triples("train")
        left = {tuple(triple) for triple in kept.tolist()}
        return {row for row, triple in enumerate(rows.tolist()) if tuple(triple) not in left}

    assert removed("tracin", 0) == removed("tracin", 1) == {5, 6, 8, 10, 11}
    assert study.cuts["tracin", 2][0].removed == 5
    assert study.cuts[RANDOM, 2][0].removed + study.cuts[RANDOM, 2][0].spared == 6
    assert removed(RANDOM, 0) != removed(RANDOM, 1)
    ends = {int(entity) for triple in targets for entity in triple[[0, 2]]}
    for row in removed("random neighbours", 0):
        assert ends & {int(rows[row, 0]), int(rows[row, 2])}
    for row in removed(SHARED, 0):
        assert any((rows[row] == target).any() for target in targets)


def test_one_target_at_a_time(run, targets, tmp_path):
    """Every target is looked at under the model without its own triples."""
    chosen, again = [np.array([5]), np.array([6])], Retraining(run, tmp_path)
    study = DeletionStudy(
        again, targets[:2], ("tail",), {"tracin": chosen}, top_k=(1,), seeds=[1, 2], draw=0, at_once=False
    )
    study.cuts = {key: study.cuts[key] for key in (("nothing", 0), ("tracin", 1))}
    again._order = [unit for cuts in study.cuts.values() for cut in cuts for unit in cut.units]
    list(again.train())
    row = study.result().row("tracin", 1)
    expected = []
    for number, gone in enumerate(chosen):
        units = again.add(np.delete(train_rows(run), gone, axis=0), [1, 2])
        seen = [again.outcome(unit, targets, ("tail",)).reciprocal[number] for unit in units]
        expected.append(np.mean(seen))
    assert row.mrr_by_target == pytest.approx(expected)
    assert row.removed == 1
    assert row.mrr.value == pytest.approx(np.mean(expected))


@pytest.fixture(scope="module")
def verified(run, targets, tmp_path_factory):
    """All studies that retrain, and the folder of their work."""
    folder = tmp_path_factory.mktemp("verified")
    config = VerifyConfig.build(
        {**QUICK, "studies": ("deletion", "datamodel", "planted"), "measures": ("tracin", "output")}
    )
    return verify(run, folder, config, targets=targets), config, folder


def test_differences_are_paired_by_seed(verified):
    """Change and `beyond` are means of differences between retrainings with the same seed."""
    found = verified[0].deletion
    assert [(row.removed_by, row.k) for row in found.rows] == [
        ("nothing", 0), ("tracin", 2), ("output", 2), ("shared", 2), ("random", 2), ("random neighbours", 2),
    ]  # fmt: skip
    row, nothing = found.row("tracin", 2), found.row("nothing", 0)
    differences = np.subtract(row.mrr_by_seed, nothing.mrr_by_seed)
    assert row.change == mean_estimate(differences) == row.beyond["nothing"]
    assert set(row.beyond) == {"nothing", "output", "shared", "random", "random neighbours"}
    assert row.clear == all(row.beyond[c].high < 0 for c in ("nothing", "random", "random neighbours"))
    assert found.row("random", 2).clear is None
    assert np.mean(row.mrr_by_target) == pytest.approx(row.mrr.value)
    assert verified[0].seeds == [5, 6]


def test_sums_over_halves_are_those_of_all_scores(run, targets, verified):
    """Agreement is that of the dense score matrix with the outcomes."""
    found = verified[0].datamodel
    assert [row.score for row in found.rows] == ["tracin", "output", "shared"]
    assert found.row("shared").beyond_shared is None
    difference = found.row("tracin").lds.value - found.row("shared").lds.value
    assert found.row("tracin").beyond_shared.value == pytest.approx(difference)
    assert 0 <= found.ceiling.score <= 1
    assert (found.subsets, found.retrainings) == (4, 2)


def test_scores_go_by_in_blocks(run, targets):
    """Each training triple once, with the score that tracin lists."""
    listed = tracin(run, targets, TracInConfig(top_k=None)).triples
    dense = np.full((len(train_rows(run)), len(targets)), np.nan)
    for rows, scores in influence_blocks([run], targets, TracInConfig())():
        assert np.isnan(dense[rows]).all()
        dense[rows] = scores
    for number, traced in enumerate(listed):
        for one in traced.proponents:
            assert dense[one.row, number] == pytest.approx(one.score, rel=1e-6)
    assert sum(len(rows) for rows, _ in shared_blocks(run, targets)()) == len(dense)


def test_planted_triples_are_new_and_are_found_again(run, verified):
    """A tenth of the triples, none of them known; every figure has an area and recalls."""
    spoiled, wrong = plant(run.graph, 0.1, draw=0, seed=5)
    rows, known = train_rows(run), {tuple(t) for s in run.graph.splits for t in run.graph.triples(s).tolist()}
    assert wrong.sum() == 14
    assert (spoiled[~wrong] == rows[~wrong]).all()
    assert not {tuple(triple) for triple in spoiled[wrong].tolist()} & known
    assert (spoiled[wrong][:, :2] == rows[wrong][:, :2]).all()
    other = plant(run.graph, 0.1, draw=0, seed=6)[1]
    assert (wrong != other).any()
    found = verified[0].planted
    assert [row.score for row in found.rows] == [
        "loss", "mean loss", "self-influence", "self-influence at the end",
    ]  # fmt: skip
    assert found.best == max(found.rows, key=lambda row: row.area_under_curve.value).score
    assert list(found.row("loss").recall) == ["10%", "20%", "30%"]
    assert len(found.row("loss").area_by_seed) == 2


def test_a_second_call_trains_nothing_and_says_the_same(run, targets, verified, monkeypatch):
    """The file holds the same bytes."""
    found, config, folder = verified
    before = (folder / "verification.json").read_bytes()
    monkeypatch.setattr(retraining_module, "train_conve", lambda *_: pytest.fail("trained again"))
    said, moved = [], []
    again = verify(
        run, folder, config, targets=targets, say=said.append, progress=lambda *at: moved.append(at)
    )
    assert again == found
    assert (folder / "verification.json").read_bytes() == before
    assert said == ["22 retrainings, 22 of them finished before"]
    assert moved == [(22, 22)]


def test_a_stopped_call_goes_on(run, targets, verified, tmp_path, monkeypatch):
    """The retraining under way is resumed; the others are not trained again; the figures are the same."""
    config, trained = VerifyConfig.build({**QUICK, "measures": ("output",)}), []
    train, resume = retraining_module.train_conve, retraining_module.resume

    def stop_in_the_third(graph, place, options):
        trained.append(place)
        made = train(graph, place, options)
        if len(trained) == 3:
            shutil.rmtree(made.folder.checkpoint("final"))  # as if the last epoch had just been saved
            raise TrainingInterrupted("stopped")
        return made

    monkeypatch.setattr(retraining_module, "train_conve", stop_in_the_third)
    with pytest.raises(TrainingInterrupted, match="stopped after 2 of 10 retrainings: the same command goes"):
        verify(run, tmp_path, config, targets=targets)
    resumed, said = [], []
    monkeypatch.setattr(
        retraining_module, "resume", lambda place, **rest: resumed.append(place) or resume(place, **rest)
    )
    found = verify(run, tmp_path, config, targets=targets, say=said.append)
    assert said == ["10 retrainings, 2 of them finished before"]
    assert resumed == [trained[2]]
    assert len(trained) == 3 + 7
    for row in found.deletion.rows:
        assert row.mrr_by_seed == verified[0].deletion.row(row.removed_by, row.k).mrr_by_seed


def test_results_as_tables(verified, tmp_path):
    """A row a way; intervals as columns of their own; JSON without anything else."""
    found = verified[0]
    table = found.deletion.to_pandas()
    assert table["removed_by"].tolist()[:2] == ["nothing", "tracin"]
    assert {"mrr", "mrr_low", "mrr_high", "beyond random", "beyond random_low", "clear"} <= set(table)
    assert set(found.planted.to_pandas()) >= {"score", "area_under_curve", "recall 10%"}
    every = found.to_pandas()
    assert every["study"].value_counts().to_dict() == {"deletion": 6, "planted": 4, "datamodel": 3}
    write_verification_table(found, tmp_path / "all.csv")
    write_verification_table(found, tmp_path / "all.parquet")
    text = (verified[2] / "verification.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == json.loads(
        json.dumps(found.as_dict())
    )


def labels(run, triple):
    """As a line of a file."""
    graph, (head, relation, tail) = run.graph, (int(part) for part in triple)
    return "\t".join(
        (graph.entities.label(head), graph.relations.label(relation), graph.entities.label(tail))
    )


def test_true_edges_by_target(run, targets, tmp_path):
    """Ranks are those in the dense matrix; bad lines are named and left out."""
    rows, file, said = train_rows(run), tmp_path / "truth.tsv", []
    lines = [f"{labels(run, targets[0])}\t{labels(run, rows[r])}" for r in (3, 8)]
    lines += [
        f"{labels(run, targets[1])}\t{labels(run, rows[4])}",
        "",
        f"{labels(run, targets[1])}\te00\tlikez\te01",
    ]
    lines += [f"{labels(run, targets[2])}\t{labels(run, targets[2])}"]
    file.write_text("\n".join(lines))
    config = VerifyConfig(studies=("truth",), measures=("tracin",))
    found = verify(run, tmp_path / "work", config, truth=file, say=said.append).truth
    assert (found.targets, found.edges) == (2, 1.5)
    assert len(found.left_out) == 2
    assert "truth.tsv:5: relation 'likez' is not known" in said[0]
    assert "truth.tsv:6" in said[1]
    assert "is not among the training triples" in said[1]
    dense = np.zeros((len(rows), 2))
    for some, scores in influence_blocks([run], targets[:2], TracInConfig(side="both"))():
        dense[some] = scores
    first, second = slow.places(dense[:, 0], [3, 8]), slow.places(dense[:, 1], [4])
    assert found.row("tracin").mrr.value == pytest.approx((1 / min(first) + 1 / second[0]) / 2)
    expected = (slow.average_precision(first) + 1 / second[0]) / 2
    assert found.row("tracin").mean_average_precision.value == pytest.approx(expected)
    chance = [slow.expected_by_chance(1, len(rows))[0], found.row("by chance").mrr.value]
    assert chance[0] < chance[1] < 3 * chance[0]
    assert not (tmp_path / "work" / "runs").exists()


def test_true_edges_for_every_target(run, targets, tmp_path):
    """Three fields a line; ties in the middle, as the heuristic's scores are mostly tied."""
    rows, file = train_rows(run), tmp_path / "truth.tsv"
    file.write_text("\n".join(labels(run, rows[row]) for row in (3, 8, 8)))
    edges = read_truth(file, run.graph).of(targets)
    assert [some.tolist() for some in edges.rows] == [[3, 8]] * 3
    dense = np.concatenate([scores for _, scores in shared_blocks(run, targets)()])
    for found, column in zip(places_of(shared_blocks(run, targets), edges.rows), dense.T, strict=True):
        assert found.tolist() == slow.places(column, [3, 8])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n", r"truth\.tsv:1: expected 3 or 6 fields"),
        (
            "e00\tlikes\te01\ne00\tlikes\te01\te00\tlikes\te01\n",
            r"truth\.tsv:2: expected 3 fields .* found 6",
        ),
        ("nobody\tlikes\te01\n", "none of its 1 lines names a training triple"),
    ],
)
def test_a_wrong_file_of_true_edges_is_named(run, tmp_path, text, message):
    """Before anything is trained."""
    (tmp_path / "truth.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        verify(
            run, tmp_path / "work", VerifyConfig(studies=("deletion", "truth")), truth=tmp_path / "truth.tsv"
        )


def test_targets_are_triples_that_are_ranked_first(run):
    """Drawn, always the same; fewer where there are fewer, and that is said."""
    said = []
    found = confident_triples(run, VerifyConfig(split="train", num_targets=5, side="tail"), say=said.append)
    assert (outcome(run.model, run, found, ("tail",)).ranks == 1).all()
    again = confident_triples(run, VerifyConfig(split="train", num_targets=5, side="tail"))
    np.testing.assert_array_equal(found, again)
    confident_triples(run, VerifyConfig(split="train", num_targets=140, side="tail"), say=said.append)
    assert "triples of train are ranked first, in place of 140" in said[-1]


def test_what_cannot_be_verified_is_refused(run, tmp_path):
    """With what to do next."""
    for values, message in (
        ({"seeds": 1}, "a difference between retrainings means nothing without a second one"),
        ({"top_k": (5, 5)}, "each once"),
        ({"measures": ("tracein",)}, "measures"),
    ):
        with pytest.raises(ConfigError, match=message):
            VerifyConfig.build(values)
    with pytest.raises(ConfigError, match="go together: give both or neither"):
        verify(run, tmp_path, VerifyConfig(studies=("truth",)))


def test_a_graph_where_no_tail_is_wrong_is_refused(run, monkeypatch):
    """Rather than to draw for ever."""
    monkeypatch.setattr(AnswerIndex, "contains", lambda self, head, *_: np.ones(len(head), dtype=bool))
    with pytest.raises(
        InputError, match=r"no wrong tail was found for \(e\d\d, .*: nearly every entity is a known one"
    ):
        plant(run.graph, 0.5, draw=0, seed=0)
