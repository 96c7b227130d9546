"""Runs of DRUM: groups of targets, going on in the middle of a rotation, one model a target, runs put together, other graphs."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from corollary.errors import (
    ConfigError,
    CorollaryError,
    GraphError,
    GraphMismatch,
    InputError,
    PlanDoesNotFit,
    RunDamaged,
    RunError,
    TrainingInterrupted,
)
from corollary.graph.folder import write_graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.learners.counted_rules import CountedRules
from corollary.rules.counting import Counting, count
from corollary.runs.drum.concluding import figures_of
from corollary.runs.drum.elsewhere import evaluate_elsewhere, inductive_graphs, is_inductive
from corollary.runs.drum.ensemble import combine_drum
from corollary.runs.drum.independent import train_independent
from corollary.runs.drum.inductive import rank_test_graph, train_inductive
from corollary.runs.drum.kind import KIND, train_drum
from corollary.runs.drum.options import DrumOptions
from corollary.runs.evaluating import evaluate
from corollary.runs.predicting import Question, predict
from corollary.runs.rules.kind import import_rules, load_rules, mine_rules, save_rules, train_links
from corollary.runs.rules.options import RulesOptions
from corollary.runs.rules.showing import apply_rules
from corollary.runs.run import Run
from corollary.runs.training import resume

SMALL = {
    "model": {"query_embed_size": 8, "lstm_size": 6, "components": 2, "batch_size": 16},
    "training": {"epochs": 2},
    "evaluation": {"resamples": 0},
    "extracting": {"facts": 20, "top": 20, "candidates": 20},
}
GROUPS = {"groups": {"target_batch_size": 2, "epochs_per_group": 2, "rotations": 2}}


def options(**changes) -> DrumOptions:
    return DrumOptions.build({**SMALL, **changes})


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Run:
    return train_drum(tiny, tmp_path_factory.mktemp("drum") / "run", options())


@pytest.fixture(scope="module")
def grouped(tiny, tmp_path_factory) -> Run:
    return train_drum(tiny, tmp_path_factory.mktemp("groups") / "run", options(**GROUPS))


def test_a_run_holds_model_rules_and_figures_of_both(run, tiny):
    """Rules are counted as the counter counts them; both predictors are evaluated, with the share that is reached."""
    rules = load_rules(run.path)
    again = count(rules, train_links(tiny), heldout=None, how=Counting())
    assert (rules.support == again.support).all()
    assert (rules.pairs == again.pairs).all()
    assert np.isfinite(rules.weights).any()
    assert np.isnan(rules.weights).any()  # candidates that the model did not give
    reach = run.folder.read_json("reach.json")
    assert set(reach) == {"model", "counted rules"}
    assert 0 < reach["counted rules"] <= 1
    queries = run.folder.read_json("queries.json")
    assert queries["examples"] == 2 * queries["triples"] == 280
    assert run.evaluation is not None
    assert evaluate(Run.open(run.path)).mrr == run.evaluation.mrr


def same_figures(run: Run) -> bool:
    """Whether `evaluate` writes what training wrote, but for the seconds."""
    written = run.folder.read_json("evaluation.json")
    evaluate(Run.open(run.path, graph=run.graph.path))
    again = run.folder.read_json("evaluation.json")
    return written | {"seconds": 0} == again | {"seconds": 0}


@pytest.mark.parametrize("limit", [{}, {"targets": ["likes", "treats"]}, {"max_relations": 1}])
def test_evaluating_gives_the_figures_of_the_training(tiny, tmp_path, limit):
    """Also where a run asks for some relations alone: the triples of others are not ranked by either."""
    run = train_drum(tiny, tmp_path / "run", options(**limit, evaluation={"resamples": 20}))
    assert same_figures(run)
    relations = run.ranking.relations(tiny)
    test = np.asarray(tiny.triples("test"))
    assert run.evaluation is not None
    asked = test if relations is None else test[np.isin(test[:, 1], relations)]
    assert run.evaluation.num_triples == len(asked) == len(run.ranking.triples(tiny, "test"))


def test_a_relation_without_model_and_rules_is_not_asked(tiny, tmp_path):
    run = train_drum(tiny, tmp_path / "run", options(targets=["likes"]))
    assert predict(run, [Question("e03", "likes", None)]).predictions[0].answers
    message = "relation 'treats' is not among the run's 1 target: likes. Ask for one of them"
    with pytest.raises(InputError, match=message):
        predict(run, [Question("e03", "treats", None)])
    with pytest.raises(InputError, match=message):
        apply_rules(run, [Question("e03", "treats", None)])
    beside = mine_rules(tiny, tmp_path / "rules", RulesOptions.build({"targets": ["treats"]}))
    save_rules(run.path, load_rules(beside.path), tiny, {})
    answered = predict(Run.open(run.path), [Question("e03", "treats", None)])
    assert not answered.predictions[0].unanswered


def test_evaluating_rules_gives_the_figures_of_the_mining(tiny, tmp_path):
    config = RulesOptions.build({"targets": ["knows"], "evaluation": {"resamples": 20}})
    run = mine_rules(tiny, tmp_path / "run", config)
    assert same_figures(run)
    assert run.evaluation is not None
    assert {item.relation for item in run.evaluation.figures.relations} == {"knows"}


def test_a_split_without_triples_of_the_targets_is_named(tmp_path):
    graph = write_graph(
        tmp_path / "graph",
        name="small",
        labels=["a", "b", "c"],
        relations=["likes", "knows"],
        triples={
            "train": np.array([[0, 0, 1], [0, 1, 1], [1, 0, 2], [1, 1, 2]]),
            "test": np.array([[0, 1, 2]]),
        },
    )
    run = mine_rules(graph, tmp_path / "run", RulesOptions.build({"targets": ["likes"]}))
    assert run.evaluation is None
    with pytest.raises(
        GraphError, match="split 'test' of graph small holds no triples of the target 'likes' of"
    ):
        evaluate(run)


def test_every_epoch_is_measured_with_its_own_weights(tiny, tmp_path):
    """The figures of an epoch are those of its checkpoint opened again: nothing of older weights is kept."""
    run = train_drum(tiny, tmp_path / "run", options(training={"epochs": 3, "lr": 0.05}))
    found = [line["valid"]["mrr"] for line in run.folder.metrics()]
    assert len(set(found)) == 3
    for epoch, mrr in enumerate(found, start=1):
        opened = Run.open(run.path, checkpoint=f"epoch-{epoch:04d}")
        assert evaluate(opened, split="valid", filter="train+valid").mrr == pytest.approx(mrr, abs=1e-9)


def test_groups_have_a_manifest_and_answer_together(grouped, tiny):
    """Groups of two targets and of one, twice: four turns with their weights; a target is answered by its last turn."""
    manifest = json.loads((grouped.path / "groups" / "manifest.json").read_text())
    assert [(entry["rotation"], entry["group"]) for entry in manifest] == [
        (r, g) for r in (1, 2) for g in (1, 2)
    ]
    for rotation in (1, 2):
        mine = [name for entry in manifest if entry["rotation"] == rotation for name in entry["relations"]]
        assert sorted(mine) == ["knows", "likes", "treats"]
    for entry in manifest:
        assert set(entry) == {
            "rotation",
            "group",
            "relations",
            "epoch",
            "metric",
            "value",
            "file",
            "sha256",
            "peak_bytes",
        }
        assert (entry["epoch"] - 1) // 2 == (entry["rotation"] - 1) * 2 + entry["group"] - 1
        assert entry["metric"] == "mrr"
    members = grouped.scorer.members
    assert sorted(np.concatenate([np.flatnonzero(member.covers) for member in members]).tolist()) == [0, 1, 2]


def test_groups_without_validation_triples_are_measured_by_their_training_answers(tmp_path):
    """Their epochs are no better and no worse than others of another figure: they take no part in `best`."""
    known = np.array(
        [[head, relation, (head + 1 + relation) % 6] for head in range(6) for relation in range(2)]
    )
    some = np.flatnonzero(known[:, 1] == 0)[:2]
    graph = write_graph(
        tmp_path / "graph",
        name="half",
        labels=list("abcdef"),
        relations=["likes", "knows"],
        triples={"train": np.delete(known, some, axis=0), "valid": known[some]},
    )
    groups = {"target_batch_size": 1, "epochs_per_group": 2, "rotations": 1}
    run = train_drum(graph, tmp_path / "run", options(groups=groups))
    manifest = json.loads((run.path / "groups" / "manifest.json").read_text())
    by_target = {entry["relations"][0]: entry for entry in manifest}
    assert by_target["likes"]["metric"] == "mrr"
    assert by_target["knows"]["metric"] == "log_score"
    assert by_target["knows"]["value"] < 0
    figures = [set(line["valid"]) for line in run.folder.metrics()]
    assert sum(names == {"log_score"} for names in figures) == 2
    state = json.loads((run.path / "checkpoints" / "final" / "manifest.json").read_text())
    assert state["loop"]["progress"]["best"] == max(
        line["valid"]["mrr"] for line in run.folder.metrics() if "mrr" in line["valid"]
    )


class StopAt:
    """An observer that stops the training after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def started(self, *args, **kwargs):
        return None

    def stepped(self, *args, **kwargs):
        return None

    def finished_epoch(self, line):
        if line["epoch"] == self.epoch:
            raise TrainingInterrupted("enough")

    def close(self):
        return None


def test_a_run_goes_on_in_the_middle_of_a_rotation(grouped, tiny, tmp_path):
    """Stopped within the second rotation and a group's turn, it ends with the same bytes in every turn's weights and in the rules."""
    with pytest.raises(TrainingInterrupted):
        train_drum(tiny, tmp_path / "run", options(**GROUPS), observer=StopAt(5))
    found = resume(tmp_path / "run")
    for path in sorted((grouped.path / "groups").glob("*.safetensors")):
        assert (found.path / "groups" / path.name).read_bytes() == path.read_bytes()
    final = "checkpoints/final/weights.safetensors"
    assert (found.path / final).read_bytes() == (grouped.path / final).read_bytes()
    assert (found.path / "rules.tsv").read_bytes() == (grouped.path / "rules.tsv").read_bytes()


def test_rows_of_other_groups_stay(tiny, tmp_path):
    """Queries of targets outside the first group have the first weights still, and no moments."""
    from safetensors.numpy import load_file

    from corollary.runs.drum.models import fresh

    once = options(groups={"target_batch_size": 1, "epochs_per_group": 1, "rotations": 1})
    found = train_drum(tiny, tmp_path / "run", once)
    manifest = json.loads((found.path / "groups" / "manifest.json").read_text())
    first = fresh(tiny, once).queries.detach().numpy()
    weights = load_file(found.path / "groups" / manifest[0]["file"])["queries"]
    moved = tiny.relations.labels.rows_of(manifest[0]["relations"][0])[0]
    for row in range(6):
        assert (weights[row] == first[row]).all() == (row % 3 != moved)


def test_a_missing_group_file_is_named(grouped, tmp_path):
    shutil.copytree(grouped.path, tmp_path / "run")
    shutil.copytree(grouped.graph.path, tmp_path / "graph")
    broken = Run.open(tmp_path / "run", graph=tmp_path / "graph")
    path = next(iter(sorted((tmp_path / "run" / "groups").glob("rotation-2*.safetensors"))))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(RunDamaged, match="has changed since it was written: the weights of group"):
        _ = broken.scorer
    path.unlink()
    with pytest.raises(
        RunDamaged, match=r"rotation-2-group-001.safetensors is missing: the weights of group 1"
    ):
        _ = Run.open(tmp_path / "run", graph=tmp_path / "graph").scorer


@pytest.mark.parametrize("left", [None, "[]"])
def test_a_missing_manifest_of_groups_is_named(grouped, tmp_path, left):
    shutil.copytree(grouped.path, tmp_path / "run")
    manifest = tmp_path / "run" / "groups" / "manifest.json"
    manifest.unlink()
    if left is not None:
        manifest.write_text(left)
    with pytest.raises(RunDamaged, match=r"manifest.json is missing or names no group"):
        evaluate(Run.open(tmp_path / "run", graph=grouped.graph.path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ["knowz"]}, "relation 'knowz' is not known. Did you mean 'knows'"),
        ({"model": {"resplit": True}}, "model.*resplit = true draws anew what queries = split draws"),
        ({"max_relations": 4}, "max_relations = 4 is more than the 3 with facts in train"),
        ({"groups": {"target_batch_size": 4}}, "target_batch_size = 4 is more than the 3 targets that have facts"),
        ({"groups": {"target_batch_size": 0}}, "target_batch_size = 0: Input should be greater than 0"),
        ({"groups": {"target_batch_size": 1}, "training": {"early_stopping": 1}},
         "training.early_stopping does not go with groups.target_batch_size"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_are_named(tiny, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train_drum(tiny, tmp_path / "run", options(**changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("loose", [False, True], ids=["graph", "files"])
@pytest.mark.parametrize("there", [False, True], ids=["no folder", "a folder"])
def test_a_start_that_is_refused_leaves_no_run(tiny, tmp_path, loose, there):
    """Also where loose files were imported into it; what was there before stays, and the corrected command works."""
    source = tiny
    if loose:
        rows = [
            "\t".join(row) for row in (("a", "p", "b"), ("b", "p", "c"), ("a", "q", "c"), ("c", "q", "a"))
        ]
        (tmp_path / "train.txt").write_text("\n".join(rows) + "\n")
        source = ImportConfig(train=(tmp_path / "train.txt",))
    place = tmp_path / "run"
    if there:
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="'knowz'"):
        train_drum(source, place, options(model={**SMALL["model"], "body_relations": ["knowz"]}))
    assert sorted(entry.name for entry in place.iterdir()) == ["notes.txt"] if there else not place.exists()
    train_drum(source, place, options())
    assert (place / "report.html").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"facts_only": True}, "facts"),
        ({"queries": "given"}, "facts"),
        ({"extra_facts": False}, "leaves nothing to walk on"),
    ],
)
def test_data_that_do_not_go_leave_no_run(tiny, tmp_path, model, message):
    with pytest.raises(CorollaryError, match=message):
        train_drum(tiny, tmp_path / "run", options(model={**SMALL["model"], **model}))
    assert not (tmp_path / "run").exists()


def test_a_target_without_facts_is_named(tmp_path):
    graph = write_graph(
        tmp_path / "g",
        name="g",
        labels=["a", "b", "c"],
        relations=["p", "q"],
        triples={"train": np.array([(0, 0, 1)])},
    )
    with pytest.raises(ConfigError, match="target 'q' has no facts in train: leave it out or add some"):
        train_drum(graph, tmp_path / "run", options(targets=["q"]))
    with pytest.raises(
        ConfigError, match=r"no training triple of .* can be reached by 2 steps without itself"
    ):
        train_drum(graph, tmp_path / "run", options())


def test_runs_over_different_targets_are_put_together(tiny, tmp_path):
    """Two runs that ask for one relation each: the third is listed and answered by mined rules."""
    for name in ("likes", "knows"):
        train_drum(tiny, tmp_path / name, options(targets=[name]))
    said: list[str] = []
    both = combine_drum([tmp_path / "likes", tmp_path / "knows"], tmp_path / "both", say=said.append)
    assert "no run covers 1 relations, which counted rules answer for: treats" in said
    assert both.folder.read_json("rules.json")["uncovered"] == ["treats"]
    opened = Run.open(tmp_path / "both")
    assert opened.scorer.uncovered == [2]
    assert isinstance(opened.scorer.fallback, CountedRules)
    assert both.evaluation is not None
    assert evaluate(opened).mrr == both.evaluation.mrr
    assert set(load_rules(both.path).relations.tolist()) == {0, 1, 2}


def test_only_runs_of_drum_on_one_graph_go_together(run, tiny, countries, tmp_path):
    with pytest.raises(ConfigError, match="nothing to put together"):
        combine_drum([], tmp_path / "x")
    with pytest.raises(ConfigError, match="run is named twice, and every run answers once"):
        combine_drum([run.path, run.path / "."], tmp_path / "x")
    rules = mine_rules(tiny, tmp_path / "rules", RulesOptions.build({"evaluation": {"resamples": 0}}))
    with pytest.raises(RunError, match="is a run of rules: only runs of drum go together"):
        combine_drum([run.path, rules.path], tmp_path / "x")


def test_one_model_a_target(tiny, tmp_path):
    """Each in a process of its own, in one table; started again, finished targets stay as they are."""
    found = train_independent(tiny, tmp_path / "all", options(), processes=1)
    table = [line.split("\t") for line in (tmp_path / "all" / "targets.tsv").read_text().splitlines()]
    assert [row[0] for row in table] == ["target", "likes", "knows", "treats"]
    assert all(float(row[table[0].index("peak_bytes")]) > 0 for row in table[1:])
    assert len(found.scorer.members) == 3
    alone = train_drum(tiny, tmp_path / "alone", options(targets=["knows"]))
    name = "checkpoints/final/weights.safetensors"
    assert (tmp_path / "all" / "targets" / "00001" / name).read_bytes() == (alone.path / name).read_bytes()
    assert same_figures(found)
    with pytest.raises(RunError, match="holds a run already"):
        train_independent(tiny, tmp_path / "all", options(), processes=1)


def test_one_model_for_each_of_some_targets(tiny, tmp_path):
    """Targets that are drawn limit the figures as named ones do."""
    found = train_independent(tiny, tmp_path / "all", options(max_relations=1), processes=1)
    assert len(found.options.targets) == 1
    assert found.folder.read_json("rules.json")["uncovered"] == []
    assert found.evaluation is not None
    assert found.evaluation.num_triples == len(found.ranking.triples(tiny, "test"))
    assert same_figures(found)


def test_one_model_a_target_needs_room(tiny, tmp_path):
    with pytest.raises(PlanDoesNotFit, match="one model a target on tiny needs .* MiB a process beside the"):
        train_independent(tiny, tmp_path / "x", options(memory_limit="300MiB"))
    with pytest.raises(ConfigError, match="leaves nothing to group"):
        train_independent(tiny, tmp_path / "x", options(**GROUPS))


def test_a_start_with_other_options_is_refused(tiny, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "independent.json").write_text('{"graph": "another"}')
    with pytest.raises(RunError, match="was begun with another graph or other options"):
        train_independent(tiny, tmp_path / "x", options())


def test_weights_go_to_another_graph(tiny, tmp_path, run):
    """The same graph with its entities renumbered: the same figures. Other relations are refused."""
    order = np.random.default_rng(1).permutation(30)
    triples = {split: np.asarray(tiny.triples(split)).copy() for split in ("train", "valid", "test")}
    for rows in triples.values():
        rows[:, [0, 2]] = order[rows[:, [0, 2]]]
    labels = [""] * 30
    for old, new in enumerate(order):
        labels[new] = f"x{old}"
    relations = list(tiny.relations.labels)
    other = write_graph(tmp_path / "o", name="o", labels=labels, relations=relations, triples=triples)
    found = evaluate_elsewhere(run, other)
    assert run.evaluation is not None
    assert found["model"].mrr == pytest.approx(run.evaluation.mrr, abs=1e-12)
    assert found["counted rules"].mrr > 0
    wrong = write_graph(tmp_path / "w", name="w", labels=labels, relations=relations[::-1], triples=triples)
    with pytest.raises(GraphMismatch, match="has 3 relations that are not those of"):
        evaluate_elsewhere(run, wrong)


def test_an_inductive_folder_is_two_graphs(tmp_path):
    """Facts and queries of one graph to train on; facts of another to walk on at test; relations the same."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, text in {
        "train_facts": "a\tp\tb\nb\tq\tc\n",
        "train": "a\tr\tc\n",
        "test_facts": "x\tq\ty\n",
        "test": "x\tp\ty\n",
    }.items():
        (folder / f"{name}.txt").write_text(text)
    assert is_inductive(folder)
    with pytest.raises(ConfigError, match="'knowz'"):
        train_inductive(
            folder, tmp_path / "run", options(model={**SMALL["model"], "body_relations": ["knowz"]})
        )
    assert not (tmp_path / "run").exists()
    run = train_inductive(folder, tmp_path / "run", options())
    assert run.evaluation is not None
    assert (run.evaluation.graph, run.evaluation.num_triples) == ("test-graph", 1)
    assert set(figures_of(run)) == {"model", "counted rules"}
    assert "1 test triple of the graph test-graph, each asked" in (run.path / "report.html").read_text()
    again = rank_test_graph(Run.open(run.path))
    assert again["model"].mrr == run.evaluation.mrr
    first, second = inductive_graphs(folder, tmp_path / "out")
    assert list(first.relations.labels) == list(second.relations.labels) == ["p", "q", "r"]
    assert list(second.entities.labels) == ["x", "y"]
    (folder / "train_facts.txt").unlink()
    with pytest.raises(Exception, match="has no train_facts.txt"):
        inductive_graphs(folder, tmp_path / "other")


def test_facts_that_lost_rows_are_named(tmp_path):
    """A triple that stands in facts.txt and in train.txt is stored once, so that facts are no longer told apart."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "facts.txt").write_text("a\tp\tb\nb\tp\tc\n")
    (tmp_path / "d" / "train.txt").write_text("a\tp\tb\na\tq\tc\n")
    graph = import_graph(tmp_path / "g", ImportConfig(files=(tmp_path / "d",)))
    with pytest.raises(ConfigError, match="holds 3 training triples of 4 that were read"):
        train_drum(graph, tmp_path / "run", options())


def test_the_plan_is_refused_where_it_does_not_fit(tiny):
    with pytest.raises(PlanDoesNotFit, match="drum on tiny needs at least"):
        KIND.plan(tiny, options(memory_limit="100MiB"))


def test_a_smaller_limit_scores_fewer_queries_at_once_with_the_same_result(tiny, run, tmp_path):
    """The chunk of an evaluation is no part of its figures."""
    assert run.evaluation is not None
    scorer = run.scorer
    from corollary.evaluation.ranking import rank_split

    found = [rank_split(scorer, tiny, "test", chunk=chunk, resamples=0).mrr for chunk in (1, 7, 256)]
    assert found == [run.evaluation.mrr] * 3


def test_rules_of_one_run_are_counted_on_another_graph(tiny, tmp_path, run):
    """Exported and imported again, with what was left out."""
    from corollary.rules.files.writing import write_rules
    from corollary.runs.rules.kind import names_of

    rules = load_rules(run.path)
    write_rules(tmp_path / "rules.txt", rules, names_of(tiny), "anyburl")
    quick = RulesOptions.build({"evaluation": {"resamples": 0}})
    found = load_rules(import_rules(tmp_path / "rules.txt", tiny, tmp_path / "in", quick).path)
    mine = {rule: row for row, rule in enumerate(rules)}
    assert len(found) == len(rules)
    assert all(found.support[row] == rules.support[mine[rule]] for row, rule in enumerate(found))


@pytest.mark.parametrize("what", ["drum", "generated", "rules"])
def test_the_peak_stays_under_the_plan(countries, tmp_path, what):
    """Of a whole run in a process of its own, figures and report included."""
    words = {
        "drum": ["train", "drum", countries.path, "-o", tmp_path / "run", "--num-epochs", "1"],
        "generated": [
            "train",
            "drum",
            countries.path,
            "-o",
            tmp_path / "run",
            "--num-epochs",
            "1",
            "--generated-queries",
        ],
        "rules": ["rules", "mine", countries.path, "-o", tmp_path / "run", "--longest", "2"],
    }[what]
    program = "from corollary.cli.main import main; main()"
    command = [sys.executable, "-c", program, *map(str, words), "--set", "evaluation.resamples=10"]
    subprocess.run(command, check=True, capture_output=True)
    memory = json.loads((tmp_path / "run" / "memory.json").read_text())
    assert 0.3 * memory["planned_bytes"] < memory["peak_bytes"] <= memory["planned_bytes"]
