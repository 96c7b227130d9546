"""TracIn of a run: its checkpoints, candidates, sums, resuming, and what it refuses."""

import json
import shutil

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from corollary.errors import (
    ConfigError,
    GraphDamaged,
    GraphMismatch,
    InputError,
    PlanDoesNotFit,
    RunDamaged,
    RunError,
)
from corollary.learners.protocol import Queries
from corollary.records.sealing import sealed
from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.files import write_json, write_table
from corollary.runs.tracing.tracin import asked_triples, suspects, tracin, training_rows
from corollary.storage import sha256
from tests.reference.conve import PlainConvE


@pytest.fixture(scope="module")
def run(trained):
    """Of the shared trained run, to look at."""
    return Run.open(trained / "run")


@pytest.fixture
def own(trained, tmp_path):
    """A copy that may be changed."""
    shutil.copytree(trained, tmp_path / "mine")
    return tmp_path / "mine" / "run"


def some_test(run, count=3):
    """The first test triples."""
    return np.asarray(run.graph.triples("test")[:count]).astype(np.int64)


def everything(run, asked, **values):
    """All scores as [train, asked]."""
    found = tracin(run, asked, TracInConfig(top_k=None, **values))
    scores = np.zeros((run.graph.info.num_triples["train"], len(asked)))
    for number, traced in enumerate(found.triples):
        for listed in (traced.proponents, traced.opponents):
            scores[listed.rows, number] = listed.scores
    return scores


def test_the_largest_of_all_are_listed(run):
    """Top-k equals a full sort; sums by relation and entity are those of all triples."""
    asked = some_test(run)
    scores = everything(run, asked)
    found = tracin(run, asked, TracInConfig(top_k=5, by_entity=True))
    split = run.graph.triples("train")
    for number, traced in enumerate(found.triples):
        order = np.argsort(-scores[:, number], kind="stable")
        assert [one.row for one in traced.proponents] == order[:5].tolist()
        assert [one.row for one in traced.opponents] == np.argsort(scores[:, number], kind="stable")[
            :5
        ].tolist()
        assert traced.support == pytest.approx(scores[:, number].clip(min=0).sum(), rel=1e-5)
        assert traced.opposition == pytest.approx(scores[:, number].clip(max=0).sum(), rel=1e-5)
        assert sum(share.share for share in traced.relations) == pytest.approx(1)
        first = traced.entities[0]
        entity = run.graph.entities.find(first.label)
        around = (split[:, 0] == entity) | (split[:, 2] == entity)
        assert first.support == pytest.approx(scores[around, number].clip(min=0).sum(), rel=1e-5)
        assert traced.num_candidates == len(split)
    row = found.to_pandas().iloc[0]
    assert row["TestHead"] == found.triples[0].triple.head
    assert row["TracInScore"] == found.triples[0].proponents[0].score


def test_float32_influence_is_autograds_in_float64(run):
    """To 1e-4 of the largest entry, both directions of every triple; float32 sums over 45 to 10,000 terms give 1e-6."""
    asked, train = some_test(run, 3), np.asarray(run.graph.triples("train")[:40]).astype(np.int64)
    learner, relations = run.model.eval(), run.graph.num_relations
    plain = PlainConvE(run.config.model, run.graph.num_entities, relations).copy(learner).eval()
    cancelled = {"convolution.bias", "projection.bias", "norm_input.weight", "norm_input.bias"}
    moved = [value for name, value in plain.named_parameters() if name not in cancelled]

    def gradient(triple):
        head, relation, tail = (torch.tensor([int(part)]) for part in triple)
        losses = [
            cross_entropy(plain.scores(Queries(given, directed)), answer)
            for given, directed, answer in ((head, relation, tail), (tail, relation + relations, head))
        ]
        return torch.cat([part.flatten() for part in torch.autograd.grad(sum(losses), moved)])

    ours, theirs = (torch.stack([gradient(triple) for triple in some]) for some in (train, asked))
    exact = 0.01 * (ours @ theirs.T).numpy()
    found = everything(run, asked, checkpoints=("best",))[:40]
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-4 * np.abs(exact).max())


def test_checkpoints_add_up_with_their_learning_rates(run):
    """Scores over two checkpoints are the sum of those over each; the breakdown says the same."""
    asked, names = some_test(run, 2), ("epoch-0001", "epoch-0003")
    both = everything(run, asked, checkpoints=names)
    alone = [everything(run, asked, checkpoints=(name,)) for name in names]
    np.testing.assert_allclose(both, sum(alone), rtol=0, atol=2e-6 * np.abs(both).max())
    scale = {"checkpoints": names[:1], "learning_rate": 1.0}
    np.testing.assert_allclose(everything(run, asked, **scale) * 0.01, alone[0], rtol=1e-4, atol=1e-9)
    found = tracin(run, asked, TracInConfig(checkpoints=names, by_checkpoint=True, top_k=4))
    assert set(found.checkpoints) == set(names)
    for one in found.triples[0].proponents:
        assert sum(one.by_checkpoint.values()) == pytest.approx(one.score, rel=1e-3)
        assert one.by_checkpoint["epoch-0001"] == pytest.approx(alone[0][one.row, 0], rel=1e-3, abs=1e-6)


def test_the_checkpoints_kept_for_good_are_the_default(own):
    """Every second epoch of three; without checkpoint_frequency the one that predicts."""
    assert list(tracin(Run.open(own), some_test(Run.open(own), 1)).checkpoints) == ["best"]
    config = json.loads((own / "config.json").read_text())
    config["training"]["checkpoint_frequency"] = 2
    del config["seal"]
    (own / "config.json").write_text(json.dumps(sealed(config)))
    assert list(tracin(Run.open(own), some_test(Run.open(own), 1)).checkpoints) == ["epoch-0002"]


def test_deletion_follows_the_training(run):
    """kvsall takes labels away; the other meaning can be asked for."""
    assert tracin(run, some_test(run, 1)).deletion == "label"
    assert tracin(run, some_test(run, 1), TracInConfig(deletion="example")).deletion == "example"


def test_two_runs_give_the_same_bytes(run, tmp_path):
    """Files of the same question."""
    for name in ("a.json", "b.json"):
        write_json(tracin(run, some_test(run), TracInConfig(by_entity=True)), tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("top_k", [4, None])
def test_a_killed_run_goes_on_to_the_same_result(run, tmp_path, top_k):
    """From the block after the last one noted; the note is gone at the end."""
    asked, state = some_test(run), tmp_path / "found.json.progress"
    config = TracInConfig(top_k=top_k, batch_size=700, by_entity=True)
    whole = tracin(run, asked, config)

    def kill(done, total):
        if done >= 2100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tracin(run, asked, config, state=state, saved_every=0, progress=kill)
    seen, said = [], []
    again = tracin(
        run,
        asked,
        config,
        state=state,
        saved_every=0,
        progress=lambda done, _: seen.append(done),
        say=said.append,
    )
    assert seen[0] == 2800
    assert said == [f"going on after 3 blocks noted in {state}"]
    assert again.as_dict() == whole.as_dict()
    assert not state.exists()


def test_a_note_of_another_question_is_not_used(run, tmp_path):
    """Nor one that is damaged: the work starts over, and that is said."""
    asked, state = some_test(run), tmp_path / "progress"

    def kill(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tracin(run, asked, TracInConfig(batch_size=700), state=state, saved_every=0, progress=kill)
    said = []
    tracin(run, asked[:2], TracInConfig(batch_size=700), state=state, say=said.append)
    assert said == [f"{state} is of another model, graph or question: starting over"]
    state.write_bytes(b"PK\x03\x04 not a note")
    said.clear()
    tracin(run, asked, TracInConfig(batch_size=700), state=state, say=said.append)
    assert "cannot be read" in said[0]


def test_candidates_near_the_asked_triple(run):
    """One hop: triples that share an entity; two: those that share one with these."""
    asked = some_test(run, 1)
    scores, split = everything(run, asked)[:, 0], np.asarray(run.graph.triples("train"))
    near = {int(asked[0, 0]), int(asked[0, 2])}
    for hops in (1, 2):
        inside = np.isin(split[:, 0], list(near)) | np.isin(split[:, 2], list(near))
        found = tracin(run, asked, TracInConfig(top_k=3, within_hops=hops)).triples[0]
        assert found.num_candidates == inside.sum()
        best = np.argsort(np.where(inside, -scores, np.inf), kind="stable")[:3]
        assert [one.row for one in found.proponents] == best.tolist()
        near |= set(split[inside][:, 0].tolist()) | set(split[inside][:, 2].tolist())


def test_candidates_of_a_relation_or_a_list(run):
    """Scores of the others are as without the restriction."""
    asked, split = some_test(run, 1), np.asarray(run.graph.triples("train"))
    found = tracin(run, asked, TracInConfig(relations=("borders",))).triples[0]
    assert {one.triple.relation for one in (*found.proponents, *found.opponents)} == {"borders"}
    rows = training_rows(run, split[[5, 9]].astype(np.int64))
    found = tracin(run, asked, candidates=rows).triples[0]
    assert found.num_candidates == 2
    with pytest.raises(InputError, match="is not among the training triples"):
        training_rows(run, some_test(run, 1))
    with pytest.raises(InputError, match="no training triple is a candidate"):
        tracin(run, asked, TracInConfig(relations=("borders",)), candidates=np.array([], dtype=np.int64))


def test_score_and_contrast_targets(run):
    """A contrast of an answer with a rival is the score's influence less the rival's."""
    asked = some_test(run, 1)
    rival = asked.copy()
    rival[0, 2] = (rival[0, 2] + 1) % run.graph.num_entities
    ours, theirs = (everything(run, one, target="score") for one in (asked, rival))
    found = tracin(run, asked, TracInConfig(target="contrast", top_k=3), rivals=[int(rival[0, 2])]).triples[0]
    assert found.instead_of == run.graph.entities.label(int(rival[0, 2]))
    for one in found.proponents:
        assert one.score == pytest.approx((ours - theirs)[one.row, 0], rel=1e-2, abs=1e-6)
    with pytest.raises(ConfigError, match="target = contrast and the answers to compare with go together"):
        tracin(run, asked, TracInConfig(target="contrast"))


@pytest.mark.parametrize("measure", ["output", "output-kfac", "cosine"])
def test_other_measures_run_over_a_whole_graph(run, measure):
    """Named in the result for what they are."""
    found = tracin(run, some_test(run), TracInConfig(measure=measure))
    assert found.measure == measure
    assert all(np.isfinite(one.score) for traced in found.triples for one in traced.proponents)


def test_bf16_products_keep_the_ranking(run):
    """Rank agreement over all training triples."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bf16 products")
    asked = some_test(run, 2)
    exact, half = everything(run, asked), everything(run, asked, use_mixed_precision=True)
    for one, other in zip(exact.T, half.T, strict=True):
        ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
        assert np.corrcoef(*ranks)[0, 1] > 0.99


def test_suspects_are_the_hardest_triples(run):
    """The order is by loss, or by self-influence."""
    for by in ("loss", "self_influence"):
        found = suspects(run, TracInConfig(top_k=20), by=by)
        values = [getattr(one, by) for one in found.triples]
        assert values == sorted(values, reverse=True)
        assert len(found.to_pandas()) == 20
        assert min(values) > 0


def test_unknown_names_are_said_and_the_rest_asked(run):
    """With the line of the file and the nearest name."""
    said = []
    wanted = [("France", "borders", "Spain"), ("Frence", "borders", "Spain")]
    found = asked_triples(run, wanted, where="ask.tsv", say=said.append)
    assert len(found) == 1
    assert "ask.tsv:2: entity 'Frence' is not known. Did you mean" in said[0]
    with pytest.raises(InputError, match=r"ask\.tsv: none of the 1 triples is left"):
        asked_triples(run, wanted[1:], where="ask.tsv")


def test_a_limit_is_refused_before_any_work(run):
    """An itemised message, with what would fit."""
    with pytest.raises(
        PlanDoesNotFit, match=r"influence with .* needs at least .* feature maps .* unit .* \(MiB\)"
    ):
        tracin(run, some_test(run), memory_limit="100MiB")


def test_the_batch_size_is_part_of_the_rounding_alone(run):
    """The same triples lead."""
    asked = some_test(run)
    free, small = tracin(run, asked), tracin(run, asked, TracInConfig(batch_size=16))
    assert (free.block, small.block) == (512, 16)
    for one, other in zip(free.triples, small.triples, strict=True):
        assert [p.row for p in one.proponents[:3]] == [p.row for p in other.proponents[:3]]


def test_what_is_held_changes_no_byte(run):
    """Feature maps made again."""
    asked = some_test(run)
    free, again = (tracin(run, asked, TracInConfig(recompute=value)) for value in (False, True))
    assert free.as_dict() == again.as_dict()
    assert again.planned_bytes < free.planned_bytes


def test_an_ensemble_is_the_mean_of_its_runs(run, own, countries):
    """The same run twice changes nothing but the names; another graph is refused."""
    asked = some_test(run, 2)
    alone, both = tracin(run, asked), tracin(run, asked, ensemble=[Run.open(own)])
    assert both.ensemble == ["run"]
    assert len(both.checkpoints) == 2
    for one, other in zip(alone.triples, both.triples, strict=True):
        assert [p.row for p in one.proponents] == [p.row for p in other.proponents]
        assert [p.score for p in one.proponents] == pytest.approx(
            [p.score for p in other.proponents], rel=1e-5
        )
    other = Run.open(own)
    other.graph.info = other.graph.info.model_copy(update={"fingerprint": "0" * 64})
    with pytest.raises(GraphMismatch, match="an ensemble is of one graph"):
        tracin(run, asked, ensemble=[other])


def test_adam_needs_the_moments_of_its_checkpoints(run, own):
    """`epoch-0003` still has them, `best` never had; other optimisers have none."""
    asked = some_test(run, 2)
    found = tracin(run, asked, TracInConfig(measure="adam", checkpoints=("epoch-0003",), top_k=5))
    assert found.measure == "adam"
    plain = tracin(run, asked, TracInConfig(checkpoints=("epoch-0003",), top_k=5))
    assert [p.row for p in found.triples[0].proponents] != [p.row for p in plain.triples[0].proponents]
    with pytest.raises(RunError, match=r"best holds no moments .* --set training\.keep_optimizer=true"):
        tracin(run, asked, TracInConfig(measure="adam"))
    config = json.loads((own / "config.json").read_text())
    config["training"]["optimizer"]["name"] = "sgd"
    del config["seal"]
    (own / "config.json").write_text(json.dumps(sealed(config)))
    with pytest.raises(ConfigError, match="was trained by sgd"):
        tracin(Run.open(own), asked, TracInConfig(measure="adam"))


def test_every_influence_is_written_without_being_in_memory_by_name(run, tmp_path):
    """Streamed files hold what the result says."""
    asked = some_test(run, 2)
    found = tracin(run, asked, TracInConfig(top_k=None, relations=("borders",), distribution=True))
    write_json(found, tmp_path / "all.json")
    assert json.loads((tmp_path / "all.json").read_text()) == json.loads(json.dumps(found.as_dict()))
    for name in ("all.csv", "all.parquet"):
        write_table(found, tmp_path / name)
    assert len(pd.read_csv(tmp_path / "all.csv")) == len(found.to_pandas())
    with duckdb.connect() as connection:
        assert len(connection.read_parquet(str(tmp_path / "all.parquet"))) == len(found.to_pandas())
    listed = sum(len(one.proponents) + len(one.opponents) for one in found.triples)
    assert listed == len(found.to_pandas())
    assert listed == sum(found.distribution.support) + sum(found.distribution.opposition)


def test_a_graph_that_has_changed_is_named(own):
    """Also a large one, which is not looked at when a run is opened."""
    run = Run.open(own)
    edges = run.graph.path / "edges" / "train.npy"
    content = bytearray(edges.read_bytes())
    content[-4] ^= 1
    edges.write_bytes(content)
    run.graph._verified = False
    with pytest.raises(GraphDamaged, match="train.npy has changed since it was written"):
        tracin(run, some_test(run, 1))


def reseal(folder, *without, **changes):
    """Write a checkpoint's manifest anew, as if it had been made so."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("seal", *without):
        manifest.pop(name)
    manifest |= changes
    manifest["files"] = {name: sha256(folder / name) for name in manifest["files"]}
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest)))


def change_weights(folder, change):
    """Change tensors of a checkpoint, checksum and all."""
    file = folder / "weights.safetensors"
    values = load_file(file)
    values = {name: value.clone() for name, value in values.items()}
    change(values)
    file.unlink()
    save_file(values, file)
    reseal(folder)


def test_a_checkpoint_that_cannot_be_used_is_named(own):
    """Without buffers, of another shape, not finite, without a learning rate, cut short."""
    run, asked = Run.open(own), some_test(Run.open(own), 1)
    best = own / "checkpoints" / "best"
    kept = own.parent / "kept"
    shutil.copytree(best, kept)

    def refused(error, match, change):
        shutil.rmtree(best)
        shutil.copytree(kept, best)
        change()
        with pytest.raises(error, match=match):
            tracin(run, asked)

    refused(
        RunDamaged, "'norm_features.running_mean' is in one of them only",
        lambda: change_weights(best, lambda values: values.pop("norm_features.running_mean")),
    )  # fmt: skip
    refused(
        RunDamaged, r"'relations' is \(2, 32\), not",
        lambda: change_weights(best, lambda values: values.update(relations=torch.zeros(2, 32))),
    )  # fmt: skip
    refused(
        RunDamaged, "best holds numbers in 'relations' that are not finite",
        lambda: change_weights(best, lambda values: values["relations"].fill_(float("nan"))),
    )  # fmt: skip
    refused(RunError, "has learning rate 0.0", lambda: reseal(best, learning_rate=0.0))
    refused(RunDamaged, "manifest.json is missing or damaged", lambda: reseal(best, "learning_rate"))
    refused(
        RunDamaged, "weights.safetensors is missing or has changed",
        lambda: (best / "weights.safetensors").write_bytes(b"short"),
    )  # fmt: skip
    assert list(tracin(Run.open(own), asked, TracInConfig(checkpoints=("final",))).checkpoints) == ["final"]


def test_a_checkpoint_of_another_architecture_or_graph_is_named(own, tiny, countries, tmp_path):
    """One put among those of a run; a run that is opened with another graph."""
    values = {"embedding_dim": 32, "channels": 2, "batch_size": 64}
    config = RunConfig.build({"model": values, "training": {"epochs": 1, "lr": 0.01}})
    train_conve(countries, tmp_path / "narrow", config)
    shutil.rmtree(own / "checkpoints" / "best")
    shutil.copytree(tmp_path / "narrow" / "checkpoints" / "final", own / "checkpoints" / "best")
    run = Run.open(own)
    with pytest.raises(RunDamaged, match=r"best.*'filters' is \(2, 1, 3, 3\), not \(4, 1, 3, 3\)"):
        tracin(run, some_test(run, 1))
    with pytest.raises(GraphMismatch, match="is not the graph that"):
        Run.open(own, graph=tiny.path)


def test_there_is_something_to_ask(run):
    """No triples, no work."""
    with pytest.raises(InputError, match="there is no triple to ask about"):
        tracin(run, np.zeros((0, 3), dtype=np.int64))
