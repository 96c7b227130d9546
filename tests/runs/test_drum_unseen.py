"""Relations that no training saw, asked of a run of DRUM with generated queries."""

import json

import numpy as np
import pytest

from corollary.errors import (
    ConfigError,
    GraphMismatch,
    InputError,
    RunError,
    TrainingInterrupted,
    UnknownName,
)
from corollary.graph.folder import write_graph
from corollary.runs.drum.elsewhere import evaluate_elsewhere
from corollary.runs.drum.kind import train_drum
from corollary.runs.drum.options import DrumOptions
from corollary.runs.drum.unseen import predict_unseen, read_facts
from corollary.runs.evaluating import evaluate
from corollary.runs.predicting import Question
from corollary.runs.run import Run
from corollary.runs.training import resume
from tests.runs.test_drum_runs import GROUPS, SMALL, StopAt

GENERATED = {**SMALL, "model": {**SMALL["model"], "generated": True, "generated_width": 8}}


def options(**changes) -> DrumOptions:
    return DrumOptions.build({**GENERATED, **changes})


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Run:
    return train_drum(tiny, tmp_path_factory.mktemp("generated") / "run", options())


def larger_graph(tiny, place):
    """The tiny graph with a fourth relation that holds where `likes` does, and the relations turned round."""
    triples = {split: np.asarray(tiny.triples(split)).copy() for split in ("train", "valid", "test")}
    for split, rows in triples.items():
        extra = rows[rows[:, 1] == 0].copy()
        rows[:, 1] = 3 - rows[:, 1]
        extra[:, 1] = 0
        triples[split] = np.concatenate([rows, extra[:3] if split == "train" else extra])
    relations = ["likes too", *list(tiny.relations.labels)[::-1]]
    labels = list(tiny.entities.labels)
    return write_graph(place, name="larger", labels=labels, relations=relations, triples=triples)


def test_a_run_opened_again_scores_the_same(run):
    """Descriptions are made anew from the graph, on the scale that the weights keep."""
    again = evaluate(Run.open(run.path))
    assert run.evaluation is not None
    assert again.metrics.values() == run.evaluation.metrics.values()


@pytest.mark.parametrize("groups", [{}, GROUPS])
def test_a_stopped_run_goes_on_to_the_same_bytes(tiny, tmp_path, groups):
    """What a step does without is a function of seed, epoch and step."""
    whole = train_drum(tiny, tmp_path / "whole", options(**groups))
    with pytest.raises(TrainingInterrupted):
        train_drum(tiny, tmp_path / "run", options(**groups), observer=StopAt(1))
    found = resume(tmp_path / "run")
    for name in ("checkpoints/final/weights.safetensors", "rules.tsv", "evaluation.json"):
        one, other = ((path / name).read_bytes() for path in (whole.path, found.path))
        if name.endswith("json"):
            one, other = (json.loads(text)["figures"] for text in (one, other))
        assert one == other


@pytest.mark.parametrize("groups", [{}, GROUPS])
def test_another_graph_may_have_other_relations(tiny, tmp_path, groups):
    """In any order and with new ones: ranks of all its test triples by model and rules. Missing relations are named."""
    run = train_drum(tiny, tmp_path / "run", options(**groups))
    larger = larger_graph(tiny, tmp_path / "larger")
    found = evaluate_elsewhere(run, larger)
    assert found["model"].num_triples == larger.info.num_triples["test"]
    assert 0 < found["model"].mrr < 1
    assert found["counted rules"].mrr > 0
    fewer = write_graph(
        tmp_path / "fewer", name="fewer", labels=list(tiny.entities.labels), relations=["likes"],
        triples={s: np.asarray(tiny.triples(s))[np.asarray(tiny.triples(s))[:, 1] == 0] for s in ("train", "test")},
    )  # fmt: skip
    with pytest.raises(GraphMismatch, match="lacks relation 'knows' of"):
        evaluate_elsewhere(run, fewer)


def test_seen_relations_score_as_at_home(run, tiny, tmp_path):
    """The same facts under other numbers, beside a relation without any: the same figures, to rounding in float32."""
    triples = {split: np.asarray(tiny.triples(split)).copy() for split in ("train", "valid", "test")}
    for rows in triples.values():
        rows[:, 1] = 3 - rows[:, 1]
    relations = ["unheard of", *list(tiny.relations.labels)[::-1]]
    other = write_graph(
        tmp_path / "other", name="o", labels=list(tiny.entities.labels), relations=relations, triples=triples
    )
    assert run.evaluation is not None
    assert evaluate_elsewhere(run, other)["model"].mrr == pytest.approx(run.evaluation.mrr, rel=0.02)


def test_answers_about_a_new_relation_come_with_their_bodies(run, tiny):
    """Best first, those that are among the facts marked, each with the body that carries most of it; rules beside."""
    likes = np.asarray(tiny.triples("train"))
    head, _, tail = likes[likes[:, 1] == 0][0]
    label = tiny.entities.label
    facts = [(label(int(h)), label(int(t))) for h, r, t in likes[likes[:, 1] == 0][:5]]
    found = predict_unseen(run, Question(label(int(head)), "likes too", None), facts, k=30)
    scores = [line["score"] for line in found.model]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0
    known = [line for line in found.model if line["known"]]
    assert {line["label"] for line in known} <= {t for h, t in facts if h == label(int(head))}
    assert any("<-" in line["body"] for line in found.model)
    heads = [line["body"].split(" <- ")[0] for line in found.model if "<-" in line["body"]]
    assert set(heads) == {'"likes too"(X, Y)'}
    assert all(0 < line["share"] <= 1 for line in found.model if line["body"])
    assert any(line["rule"] == '"likes too"(X, Y) <- likes(X, Y)' for line in found.rules)
    assert found.num_facts == 5
    assert found.as_dict()["query"] == f"({label(int(head))}, likes too, ?)"
    heads = predict_unseen(run, Question(None, "likes too", label(int(tail))), facts)
    assert heads.model
    assert heads.model[0]["place"] == 1


def test_a_name_alone_is_enough(run, tiny):
    """Without facts there are no rules, and answers of the model all the same."""
    found = predict_unseen(run, Question("e01", "likes too", None))
    assert found.rules == []
    assert len(found.model) > 3


def test_what_cannot_be_asked_is_named(run, tiny, tmp_path):
    """A relation of the graph, an unknown entity, a run without generated queries, a wrong file."""
    with pytest.raises(ConfigError, match="has the relation 'likes': ask for it with --relation"):
        predict_unseen(run, Question("e01", "likes", None))
    with pytest.raises(UnknownName, match="'e99'"):
        predict_unseen(run, Question("e99", "likes too", None))
    with pytest.raises(UnknownName, match="'e98'"):
        predict_unseen(run, Question("e01", "likes too", None), [("e01", "e98")])
    plain = train_drum(tiny, tmp_path / "plain", DrumOptions.build(SMALL))
    with pytest.raises(RunError, match="train one with corollary train drum --generated-queries"):
        predict_unseen(plain, Question("e01", "likes too", None))
    file = tmp_path / "facts.tsv"
    file.write_text("e01\tlikes too\te02\ne01\tlikes\te02\n")
    with pytest.raises(InputError, match=r"facts.tsv:2: relation 'likes', and the new one is 'likes too'"):
        read_facts(file, "likes too")
    file.write_text("e01\te02\n")
    with pytest.raises(InputError, match=r"facts.tsv:1: expected head, relation, tail between tabs, found 2"):
        read_facts(file, "likes too")
    file.write_text("e01\tlikes too\te02\n")
    assert read_facts(file, "likes too") == [("e01", "e02")]
