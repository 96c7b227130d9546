"""HGT as a run: the same furniture as every learner."""

import csv
import dataclasses
import json
import shutil

import duckdb
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import corollary
from corollary.budget import MIB
from corollary.cli.main import app
from corollary.cli.train_hgt import joined_numbers
from corollary.errors import ConfigError, InputError, PlanDoesNotFit, RunError, TrainingInterrupted
from corollary.graph.folder import derive_graph, write_graph
from corollary.graph.typed_links import TypedLinks
from corollary.learners.hgt.questions import Links
from corollary.runs.hgt import planning
from corollary.runs.hgt.auditing import audit, canary, fake_facts
from corollary.runs.hgt.checks import check_types
from corollary.runs.hgt.embedding import embed
from corollary.runs.hgt.features import read_features
from corollary.runs.hgt.kind import train_hgt
from corollary.runs.hgt.options import HgtOptions
from corollary.runs.hgt.planning import plan_hgt, sizes_of
from corollary.runs.hgt.reporting import figures_of
from corollary.runs.run import Run
from corollary.training.checkpoints import _read
from tests.learners.hgt.small import typed_graph

SMALL = {
    "model": {"hidden_dim": 12, "embedding_dim": 8, "attn": 3},
    "links": {"folds": 4},
    "training": {"epochs": 3, "validate_every": 1, "lr": 0.01},
}
WAYS = {
    "exact": {},
    "edges": {"name": "edges", "edge_sample_size": 25, "batches": 4},
    "neighbors": {"name": "neighbors", "num_neighbors": (3, 2), "batches": 4},
    "budget": {"name": "budget", "width": 3, "rounds": 1, "batches": 4},
}


def small(way="exact", **more):
    return HgtOptions.build({**SMALL, "sampling": WAYS[way], **more})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `graph` and a finished `run`. Only for looking."""
    place = tmp_path_factory.mktemp("hgt")
    train_hgt(typed_graph(place / "graph"), place / "run", small())
    return place


def test_a_run_is_evaluated_beside_the_degree_baseline(folder):
    """Test figures, those of the degree product, and an audit that found no leak."""
    run = Run.open(folder / "run")
    found = figures_of(run)
    figures = found.values()
    assert set(figures) == {"hgt", "degree"}
    assert 0 < figures["degree"]["mrr"] < 1
    audit = json.loads((folder / "run" / "audit.json").read_text())
    assert audit["leaked_pairs"] == 0
    assert audit["audited_steps"] == 2
    assert audit["held_out_triples"] == 30
    assert audit["canary"]["at_chance"]
    assert (folder / "run" / "report.html").exists()
    assert corollary.evaluate(run).mrr == pytest.approx(figures["hgt"]["mrr"])


def test_a_run_and_the_degree_baseline_are_compared_among_the_same_candidates(folder):
    """Within the answer's types, where both were ranked so; the adjusted mean rank index would differ otherwise."""
    run = Run.open(folder / "run")
    corollary.evaluate(run, candidates="types")
    found = figures_of(run)
    assert found.candidates == "types"
    assert found.columns["hgt"] == run.evaluation.in_range.figures.sides["both"][run.evaluation.ties]
    assert found.columns["hgt"].mean_candidates == found.columns["degree"].mean_candidates
    corollary.evaluate(run)
    found = figures_of(run)
    assert found.candidates == "all"
    assert found.columns["hgt"].mean_candidates == found.columns["degree"].mean_candidates
    resumed = CliRunner().invoke(app, ["train", "--resume", str(folder / "run"), "--json"])
    assert json.loads(resumed.stdout)["candidates"] == "types"
    assert json.loads(resumed.stdout)["figures"] == figures_of(run).values()


def test_a_canary_is_at_chance_unless_its_facts_travelled(folder, tmp_path):
    """Made-up facts that no split holds rank like any other; put into train, they are known."""
    run = Run.open(folder / "run")
    graph, options = run.graph, run.options
    fakes = fake_facts(graph, Links(graph, options.links, TypedLinks.of(graph)), seed=1)
    held = {tuple(fact) for split in graph.splits for fact in graph.triples(split).tolist()}
    assert not held & {tuple(fact) for fact in fakes.tolist()}
    honest = canary(graph, run.scorer, fakes)
    assert honest["at_chance"]
    train = np.concatenate([graph.triples("train"), fakes[:100]])
    given_away = derive_graph(graph, tmp_path / "leaky", triples={"train": train})
    leaky = train_hgt(given_away, tmp_path / "run", small(training={"epochs": 30, "lr": 0.01}))
    assert not canary(graph, Run.open(leaky.path).scorer, fakes[:100])["at_chance"]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "exact"])
def test_the_audit_looks_at_the_parts_that_training_draws(folder, tmp_path, monkeypatch, way):
    """Messages are counted in drawn parts; a sampler that forgets to hide what is asked is found out."""
    run = Run.open(folder / "run")
    options, scorer = small(way), run.scorer
    assert audit(run.graph, options, scorer)["leaked_pairs"] == 0
    monkeypatch.setattr(Links, "hidden", lambda links, asked: np.zeros(len(links.relations), np.uint8))
    assert audit(run.graph, options, scorer)["leaked_pairs"] > 0


def test_where_every_possible_pair_is_a_fact_there_is_no_canary(tmp_path):
    """One node of each type and the edge between them: the run ends with its report."""
    graph = write_graph(
        tmp_path / "graph",
        name="pair",
        labels=["a", "b"],
        relations=["r"],
        triples={"train": np.array([(0, 0, 1)])},
        types=["A", "B"],
    )
    train_hgt(graph, tmp_path / "run", small(training={"epochs": 1}))
    found = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert found["canary"] == {"pairs": 0, "adjusted_mean_rank_index": None, "at_chance": True}
    assert "every possible pair is a fact" in (tmp_path / "run" / "report.html").read_text()


def test_a_relation_that_is_not_there_leaves_no_run(folder, tmp_path):
    """The corrected command finds no run in its folder."""
    with pytest.raises(ConfigError, match="relation 'treets' is not known"):
        train_hgt(folder / "graph", tmp_path / "run", small(links={"folds": 4, "relations": ("treets",)}))
    assert not (tmp_path / "run").exists()


def test_predictions_are_of_the_right_type(folder):
    run = Run.open(folder / "run")
    head = run.graph.entities.label(int(run.graph.triples("test")[0, 0]))
    found = corollary.predict(run, [corollary.Question(head, "treats", None)], k=5)
    kinds = run.graph.types
    answers = [run.graph.entities.find(a.label, where="") for a in found.predictions[0].answers]
    assert {run.graph.info.node_types[kinds[a]] for a in answers} == {"disease"}


@pytest.mark.parametrize("way", list(WAYS))
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, way):
    """Stopped within an epoch: weights, moments and figures are those of the unbroken run."""
    graph = typed_graph(tmp_path / "graph")
    train_hgt(graph, tmp_path / "whole", small(way))

    class Stop:
        def started(self, **_):
            pass

        def stepped(self, *, state, **_):
            if state.updates == 6:
                raise KeyboardInterrupt

        def finished_epoch(self, line):
            pass

    with pytest.raises((KeyboardInterrupt, TrainingInterrupted)):
        train_hgt(graph, tmp_path / "broken", small(way), observer=Stop())
    corollary.resume(tmp_path / "broken")
    for name in ("weights.safetensors", "entities-0000000.safetensors"):
        one, other = (_read(tmp_path / run / "checkpoints" / "final" / name) for run in ("whole", "broken"))
        assert all(torch.equal(one[key], other[key]) for key in one), name


def test_embeddings_are_written_with_what_each_row_is(folder, tmp_path):
    """CSV and Parquet hold the same numbers: those of the scorer, in the order of ids."""
    run = Run.open(folder / "run")
    embed(run, tmp_path / "e.csv")
    embed(run, tmp_path / "e.parquet")
    expected = run.scorer.embeddings().numpy()
    with (tmp_path / "e.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert [row["id"] for row in rows] == list(run.graph.entities.labels)
    names = [run.graph.info.node_types[kind] for kind in run.graph.types]
    assert [row["type"] for row in rows] == names
    found = np.array([[float(row[f"e{i}"]) for i in range(8)] for row in rows], np.float32)
    np.testing.assert_array_equal(found, expected)
    table = duckdb.sql(f"SELECT * FROM '{tmp_path / 'e.parquet'}'").fetchnumpy()
    np.testing.assert_array_equal(np.array([list(row) for row in table["embedding"]], np.float32), expected)
    assert list(table["type"]) == names
    with pytest.raises(ConfigError, match="csv or .parquet"):
        embed(run, tmp_path / "e.txt")


def test_embed_is_for_hgt(trained, tmp_path):
    with pytest.raises(RunError, match="corollary export"):
        embed(Run.open(trained / "run"), tmp_path / "e.csv")


def test_a_plan_that_does_not_fit_says_what_would(folder):
    """Part by part, with a width that fits."""
    graph = Run.open(folder / "run").graph
    wide = {"hidden_dim": 256, "embedding_dim": 256, "attn": 4}
    total = plan_hgt(graph, HgtOptions.build({"model": wide}), loaded=0).total
    with pytest.raises(PlanDoesNotFit, match="--hidden-dim 128"):
        plan_hgt(graph, HgtOptions.build({"model": wide, "memory_limit": f"{total - 8 * MIB}"}), loaded=0)


def test_input_embeddings_in_mapped_files_change_no_byte(tmp_path):
    """The plan says where they lie; weights and figures are the same."""
    graph = typed_graph(tmp_path / "graph")
    model = {**SMALL["model"], "inputs": "memory"}
    train_hgt(graph, tmp_path / "memory", small(model=model))
    train_hgt(graph, tmp_path / "disk", small(model={**model, "inputs": "disk"}))
    plans = [json.loads((tmp_path / run / "config.json").read_text())["plan"] for run in ("memory", "disk")]
    assert [plan["table"] for plan in plans] == ["device", "disk"]
    names = ("weights.safetensors", "entities-0000000.safetensors")
    for name in names:
        one, other = (_read(tmp_path / run / "checkpoints" / "final" / name) for run in ("memory", "disk"))
        assert all(torch.equal(one[key], other[key]) for key in one), name
    one, other = (figures_of(Run.open(tmp_path / run)) for run in ("memory", "disk"))
    assert one == other


def test_a_limit_decides_where_input_embeddings_lie(folder, monkeypatch):
    """With two million rows: in memory where the limit has room for them, in files below that."""
    graph = Run.open(folder / "run").graph
    sizes = sizes_of(graph)
    many = dataclasses.replace(sizes, graph=sizes.graph.model_copy(update={"num_entities": 2_000_000}))
    monkeypatch.setattr(planning, "sizes_of", lambda graph: many)
    options = small()
    memory, disk = (
        plan_hgt(graph, options.changed(model=options.model.changed(inputs=way)), loaded=0)
        for way in ("memory", "disk")
    )
    assert disk.total < memory.total
    between = options.changed(memory_limit=str((disk.total + memory.total) // 2))
    assert plan_hgt(graph, between, loaded=0).table == "disk"
    assert plan_hgt(graph, options.changed(memory_limit=str(memory.total)), loaded=0).table == "device"


def test_what_is_odd_about_types_is_said(tmp_path):
    """A type without edges, a node without edges, and an edge whose ends are of the wrong types."""
    kinds = ["drug"] * 40 + ["disease"] * 41 + ["lonely"] * 2
    train = [(i, 0, 40 + j) for i in range(40) for j in range(40)]
    graph = write_graph(
        tmp_path / "graph",
        name="odd",
        labels=[f"n{i}" for i in range(83)],
        relations=["treats"],
        triples={"train": np.array([*train, (41, 0, 2)])},
        types=kinds,
    )
    said = []
    options = small(training={"epochs": 1}, links={"folds": 2})
    train_hgt(graph, tmp_path / "run", options, say=said.append)
    text = "\n".join(said)
    assert "no node of type lonely has an edge" in text
    assert "1 of 41 nodes of type disease have no edge" in text
    assert "1 of 1,601 edges of treats go from disease to drug, such as n41 -> n2" in text


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [(29, 1, True), (28, 1, False), (40, 3, True), (40, 4, False), (400, 8, True)],
)
def test_a_few_edges_of_a_small_relation_are_named_too(tmp_path, right, wrong, named):
    """At most three of thirty or more, or less than two in a hundred."""
    graph = write_graph(
        tmp_path / "graph",
        name="few",
        labels=[f"n{i}" for i in range(60)],
        relations=["treats"],
        triples={
            "train": np.array(
                [(i % 20, 0, 20 + i // 20) for i in range(right)]
                + [(20 + i, 0, 41 + i) for i in range(wrong)]
            )
        },
        types=["drug"] * 20 + ["disease"] * 40,
    )
    said = []
    check_types(graph, said.append)
    text = "\n".join(said)
    expected = f"{wrong} of {right + wrong} edges of treats go from disease to disease, such as n20 -> n41"
    assert (expected in text) == named
    assert "from drug" not in text


def test_hops_and_layers_have_to_agree():
    with pytest.raises(ConfigError, match="a layer is a hop"):
        HgtOptions.build({"sampling": {"name": "neighbors", "num_neighbors": (5,)}})


def test_a_moved_graph_is_found(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "moved")
    assert Run.open(tmp_path / "moved" / "run").scorer.num_entities == 40


def test_fan_outs_that_do_not_fit_are_refused_with_the_largest_that_do(folder):
    """The limit lies between what fan-outs of 3 and of 60 may need."""
    graph = Run.open(folder / "run").graph
    wide = {"hidden_dim": 64, "embedding_dim": 64, "attn": 4}

    def options(fan_out, limit=None):
        sampling = {"name": "neighbors", "num_neighbors": (fan_out, fan_out), "node_batch_size": 2}
        return HgtOptions.build({"model": wide, "sampling": sampling, "memory_limit": limit})

    few, many = (plan_hgt(graph, options(fan_out), loaded=0).total for fan_out in (1, 60))
    assert few < many
    with pytest.raises(PlanDoesNotFit, match=r"--num-neighbors \d+,\d+ it needs"):
        plan_hgt(graph, options(60, str(few)), loaded=0)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--edge-sample-size", "20"], "edges"),
        (["--num-neighbors", "3,2", "--node-batch-size", "30"], "neighbors"),
    ],
)
def test_the_command_takes_the_options_of_older_scripts(folder, tmp_path, flags, name):
    """`--edge-sample-size`, `--num-neighbors` and the rest, down to a run that says how it was sampled."""
    shape = ["--embedding-dim", "8", "--hidden-dim", "12", "--num-heads", "3", "--num-epochs", "1"]
    more = ["--accumulation-steps", "2", "--set", "sampling.batches=4", "--json"]
    done = CliRunner().invoke(
        app, ["train", "hgt", str(folder / "graph"), "-o", str(tmp_path / "run"), *shape, *more, *flags]
    )
    assert done.exit_code == 0, done.output
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["sampling"]["name"] == name
    assert config["training"]["accumulation"] == 2
    planned = CliRunner().invoke(app, ["plan", "hgt", str(folder / "graph"), *flags])
    assert planned.exit_code == 0, planned.output


def test_fan_outs_may_be_words_of_their_own():
    """As argparse scripts have them."""
    words = ["train", "hgt", "g", "--num-neighbors", "10", "5", "--seed", "1"]
    assert joined_numbers(words) == ["train", "hgt", "g", "--num-neighbors", "10,5", "--seed", "1"]
    assert joined_numbers(["plan", "hgt", "g"]) == ["plan", "hgt", "g"]


def test_two_samplings_at_once_are_refused(folder, tmp_path):
    flags = ["--edge-sample-size", "20", "--num-neighbors", "3,2"]
    done = CliRunner().invoke(app, ["train", "hgt", str(folder / "graph"), "-o", str(tmp_path / "r"), *flags])
    assert isinstance(done.exception, ConfigError)


def gene_features(graph, seed=0):
    genes = np.flatnonzero(np.asarray(graph.types) == graph.info.node_types.index("gene"))
    return genes, np.random.default_rng(seed).standard_normal((len(genes), 4)).astype(np.float32)


def test_features_of_any_format_give_the_same_run(tmp_path):
    """npy in the order of ids, CSV in another order with labels: the same bytes."""
    graph = typed_graph(tmp_path / "graph")
    genes, values = gene_features(graph)
    np.save(tmp_path / "genes.npy", values)
    lines = [
        ",".join([graph.entities.label(int(g)), *map(repr, map(float, row))])
        for g, row in zip(genes, values, strict=True)
    ]
    (tmp_path / "genes.csv").write_text("\n".join(["id,a,b,c,d", *reversed(lines)]) + "\n")
    for name in ("npy", "csv"):
        model = {**SMALL["model"], "features": {"gene": str(tmp_path / f"genes.{name}")}}
        train_hgt(graph, tmp_path / name, small(model=model))
    one, other = (
        _read(tmp_path / run / "checkpoints" / "final" / "weights.safetensors") for run in ("npy", "csv")
    )
    assert any(key.startswith("features.maps") for key in one)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert Run.open(tmp_path / "npy").scorer.num_entities == 40


@pytest.fixture
def numbered(tmp_path):
    """A graph whose ten genes are called 0 to 9, then a drug called 10."""
    return write_graph(
        tmp_path / "graph",
        name="numbered",
        labels=[str(number) for number in range(11)],
        relations=["binds"],
        triples={"train": np.array([(10, 0, gene) for gene in range(10)])},
        types=["gene"] * 10 + ["drug"],
    )


def test_features_go_by_id_where_ids_are_numbers(numbered, tmp_path):
    """A column of ids is one whatever stands in it; without one, rows are in the order of nodes."""
    lines = [f"{number},{number}.5" for number in reversed(range(10))]
    (tmp_path / "genes.csv").write_text("\n".join(["id,a", *lines]) + "\n")
    expected = np.arange(10)[:, None] + 0.5
    np.testing.assert_array_equal(read_features(numbered, {"gene": tmp_path / "genes.csv"})[1], expected)
    (tmp_path / "genes.csv").write_text("\n".join(["a", *(line.split(",")[1] for line in lines)]) + "\n")
    np.testing.assert_array_equal(
        read_features(numbered, {"gene": tmp_path / "genes.csv"})[1], expected[::-1]
    )


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([*range(10), 3], "genes.csv has the id '3' in rows 4 and 11: keep one of them"),
        (range(11), "1 ids that are no nodes of type gene in numbered, such as '10': leave those rows out"),
        (range(9), "no features for 1 of 10 nodes of type gene, such as '9'"),
    ],
)
def test_ids_of_features_that_do_not_fit_are_named(numbered, tmp_path, ids, message):
    (tmp_path / "genes.csv").write_text("id,a\n" + "".join(f"{number},1.0\n" for number in ids))
    with pytest.raises(InputError, match=message):
        read_features(numbered, {"gene": tmp_path / "genes.csv"})


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda x: x[:-1], "genes.npy has 13 rows, and typed has 14 nodes of type gene"),
        (lambda x: np.where(np.arange(14)[:, None] == 3, np.nan, x), "the features of 'n.*' hold a number"),
        (lambda x: x.astype(int), "rows of floating-point numbers"),
        (lambda x: None, "there is no such file"),
    ],
)
def test_features_that_do_not_fit_are_named(folder, tmp_path, broken, message):
    graph = Run.open(folder / "run").graph
    values = broken(gene_features(graph)[1])
    if values is not None:
        np.save(tmp_path / "genes.npy", values)
    with pytest.raises(InputError, match=message):
        read_features(graph, {"gene": tmp_path / "genes.npy"})
    with pytest.raises(ConfigError, match="'genes'"):
        read_features(graph, {"genes": tmp_path / "genes.npy"})
