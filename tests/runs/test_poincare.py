"""Runs of poincare: from a taxonomy to figures with their controls."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from corollary.budget import MIB
from corollary.errors import (
    ConfigError,
    GraphError,
    InputError,
    PlanDoesNotFit,
    RunDamaged,
    RunError,
    UnknownName,
)
from corollary.evaluation.withholding import PAIRS, PARENTS
from corollary.graph.folder import write_graph
from corollary.graph.taxonomy import Taxonomy
from corollary.runs.poincare import asking
from corollary.runs.poincare.analysis import analyze_taxonomy, corrupted
from corollary.runs.poincare.export import embedding_frame, export_embedding
from corollary.runs.poincare.kind import KIND, Embedded, PoincareRunConfig, build_taxonomy, train_poincare
from corollary.runs.run import Run
from corollary.runs.training import resume
from corollary.training.loop import Silent
from tests.reference import taxonomy as reference

RANKS = ("root", "phylum", "class", "order", "genus", "species")
SMALL = {
    "model": {"dim": 4, "batch_size": 300, "negatives": {"count": 10}},
    "training": {"epochs": 2, "checkpoint_minutes": 1e-9},
}


def make_taxonomy(path, *, second_parents=0):
    """A tree of six ranks with 3 children each; some species belong to a second genus."""
    count = (3**6 - 1) // 2
    depth = [0] * count
    triples = []
    for node in range(1, count):
        depth[node] = depth[(node - 1) // 3] + 1
        triples.append((node, 0, (node - 1) // 3))
    genera = [node for node in range(count) if depth[node] == 4]
    species = [node for node in range(count) if depth[node] == 5]
    triples += [(species[at], 0, genera[-1 - at]) for at in range(second_parents)]
    return write_graph(
        path,
        name=path.name,
        labels=[f"n{node}" for node in range(count)],
        relations=["is a"],
        triples={"train": np.array(triples)},
        names=[f"{RANKS[depth[node]]} {node}" for node in range(count)],
        types=[RANKS[d] for d in depth],
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_taxonomy(tmp_path_factory.mktemp("graphs") / "animals")


@pytest.fixture(scope="module")
def run(tree, tmp_path_factory):
    """A finished run. Only for looking."""
    return train_poincare(tree, tmp_path_factory.mktemp("runs") / "run", PoincareRunConfig.build(SMALL))


def changed(**parts):
    """SMALL with other options."""
    table = {
        name: {**SMALL.get(name, {}), **value} for name, value in parts.items() if isinstance(value, dict)
    }
    rest = {name: value for name, value in parts.items() if not isinstance(value, dict)}
    return PoincareRunConfig.build({**SMALL, **table, **rest})


def weights(path):
    return (path / "checkpoints" / "final" / "weights.safetensors").read_bytes()


def test_a_run_folder_holds_places_figures_and_what_was_cut(run):
    """The tree is given back; clamps are counted; the report is there."""
    figures = run.folder.read_json("taxonomy.json")["sample"]
    assert figures["map"] > 0.9
    assert figures["mean_rank"] < 3
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {
        "map",
        "mean_rank",
        "mrr",
        "cut_at_start",
        "cut_steps",
        "cut_radii",
        "pairs_without_negatives",
    } <= set(lines[0]["valid"])
    names = {path.name for path in (run.path / "checkpoints").iterdir()}
    assert {"best", "final", "epoch-0002"} <= names
    assert (run.path / "report.html").exists()


class Stop(Exception):
    pass


class StopAt(Silent):
    """Ends the training after some steps, as a crash would."""

    def __init__(self, steps):
        self.left = steps

    def stepped(self, *, state, examples, loss, lr):
        self.left -= 1
        if self.left == 0:
            raise Stop


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": {"loss": "hinge", "placement": {"name": "depth"}}},
        {"model": {"coordinates": "ball", "optimizer": "sgd"}},
        {"model": {"held_out": 0.1}},
    ],
    ids=["softmax", "hinge", "ball", "held out"],
)
def test_a_run_that_broke_goes_on_to_the_same_bytes(tree, tmp_path, options):
    """Vectors, optimiser and counts, for every loss and kind of coordinates, from the middle of the second epoch."""
    config = changed(**options)
    train_poincare(tree, tmp_path / "whole", config)
    with pytest.raises(Stop):
        train_poincare(tree, tmp_path / "broken", config, observer=StopAt(12))
    assert not (tmp_path / "broken" / "checkpoints" / "final").exists()
    resume(tmp_path / "broken")
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
    last = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])
        for name in ("whole", "broken")
    ]
    assert last[0]["valid"] == last[1]["valid"]
    assert last[0]["loss"] == last[1]["loss"]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(tree, tmp_path):
    """SIGKILL, in a process of its own."""
    config = changed(training={"epochs": 15, "checkpoint_minutes": 10})
    code = (
        "import json, sys; from corollary.runs.poincare.kind import *; "
        "train_poincare(sys.argv[1], sys.argv[2], PoincareRunConfig.build(json.loads(sys.argv[3])))"
    )
    words = [str(tree.path), str(tmp_path / "run"), config.model_dump_json()]
    process = subprocess.Popen([sys.executable, "-c", code, *words])
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "checkpoints" / "final").exists()
    resume(tmp_path / "run")
    train_poincare(tree, tmp_path / "unbroken", config)
    assert weights(tmp_path / "run") == weights(tmp_path / "unbroken")


def test_a_truncated_checkpoint_is_named_and_passed_over(tree, tmp_path):
    """An older one is used and said; where none is whole, that is the error."""
    with pytest.raises(Stop):
        train_poincare(tree, tmp_path / "run", PoincareRunConfig.build(SMALL), observer=StopAt(12))
    checkpoints = sorted((tmp_path / "run" / "checkpoints").glob("epoch-*"))
    file = checkpoints[-1] / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    said = []
    resume(tmp_path / "run", say=said.append)
    assert any("weights.safetensors" in text and "an older one is used" in text for text in said)
    final = tmp_path / "run" / "checkpoints" / "final" / "weights.safetensors"
    final.write_bytes(final.read_bytes()[:-100])
    with pytest.raises(RunDamaged, match="weights.safetensors"):
        Embedded.of(Run.open(tmp_path / "run"))


def test_seeds_repeat_and_differ(tree, run, tmp_path):
    """The same bytes again; others with another seed."""
    again = train_poincare(tree, tmp_path / "again", PoincareRunConfig.build(SMALL))
    other = train_poincare(tree, tmp_path / "other", changed(seed=1))
    assert weights(again.path) == weights(run.path)
    assert weights(other.path) != weights(run.path)


def test_early_stopping_looks_at_withheld_pairs(tree, tmp_path):
    """Not at the loss of training; without withheld pairs it is refused."""
    with pytest.raises(ConfigError, match="early stopping needs withheld pairs to stop by: --held-out 0.02"):
        train_poincare(tree, tmp_path / "no", changed(training={"early_stopping": 1}))
    config = changed(model={"held_out": 0.1}, training={"early_stopping": 1, "epochs": 50, "lr": 2.0})
    stopped = train_poincare(tree, tmp_path / "run", config)
    lines = (stopped.path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) < 50
    values = [json.loads(line)["valid"]["map"] for line in lines]
    assert values[-1] <= max(values[:-1])


def test_withheld_parts_are_disjoint_from_training(tree, tmp_path):
    """Pairs, parents of leaves, and whole ranks: none of them is left, and every node keeps an ancestor."""
    options = changed(
        model={
            "held_out": 0.1,
            "held_out_parents": 0.2,
            "held_out_ranks": ["phylum", "class"],
            "held_out_nodes": 0.1,
        }
    )
    left, withheld = build_taxonomy(options, tree)
    full = withheld.full
    assert set(withheld.parts) == {PAIRS, PARENTS, "phylum", "class"}
    remaining = {
        (int(left.entity_ids[row]), int(left.entity_ids[above]))
        for row, above in left.pairs(np.arange(left.num_pairs))
    }
    every = {
        (int(full.entity_ids[a]), int(full.entity_ids[b])) for a, b in full.pairs(np.arange(full.num_pairs))
    }
    taken = {
        (int(full.entity_ids[a]), int(full.entity_ids[b]))
        for part in withheld.parts.values()
        for a, b in part
    }
    assert remaining | taken == every
    assert not remaining & taken
    assert len(left) == len(full)
    assert {child for child, _ in remaining} == {child for child, _ in every}
    types = [tree.info.node_types[kind] for kind in tree.types]
    for rank, higher in (("phylum", {"root"}), ("class", {"root", "phylum"})):
        for _, above in withheld.parts[rank]:
            assert types[full.entity_ids[above]] in {rank, *higher}
    for row, above in withheld.parts[PARENTS]:
        assert full.tree.parent[row] == above
    points = np.arange(len(left), dtype=float)[:, None]
    assert (left.entity_ids[withheld.moved(points)[:, 0].astype(int)] == full.entity_ids).all()


def test_the_analysis_has_four_controls(tree, tmp_path):
    """Every figure for the run and for each control; the tree metric is the best there is."""
    options = changed(
        model={
            "held_out": 0.05,
            "held_out_parents": 0.1,
            "held_out_ranks": ["phylum"],
            "held_out_nodes": 0.05,
        }
    )
    run = train_poincare(tree, tmp_path / "run", options)
    found = analyze_taxonomy(run, sample=100)
    assert list(found.figures) == ["run", "untrained", "random", "euclidean", "tree"]
    ours, tree_metric = found.figures["run"], found.figures["tree"]
    assert ours["reconstruction"]["map"] > found.figures["random"]["reconstruction"]["map"]
    assert set(ours) >= {
        "reconstruction", "withheld_pairs", "leaf_attachment", "separation", "neighbour_accuracy",
        "neighbour_accuracy_withheld", "spearman_tree", "mean_distortion", "depth_radius", "depth_norm", "is_a",
    }  # fmt: skip
    assert tree_metric["spearman_tree"] == pytest.approx(1.0)
    assert tree_metric["mean_distortion"] == 0.0
    assert tree_metric["separation"]["phylum"]["ratio_uniform"] > 1.2
    assert tree_metric["neighbour_accuracy_withheld"] == {"phylum": 1.0}
    assert ours["separation"]["phylum"]["p_gromov"] > 0.9
    assert found.conditions["withheld"].keys() == {PAIRS, PARENTS, "phylum"}
    frame = found.to_pandas()
    assert frame.loc["reconstruction map", "run"] == ours["reconstruction"]["map"]
    assert run.folder.read_json("taxonomy.json")["figures"]["run"]["depth_radius"] == ours["depth_radius"]
    with pytest.raises(UnknownName, match="control 'random2'"):
        analyze_taxonomy(run, controls=("random2",))
    with pytest.raises(UnknownName, match="rank 'genera'.*Did you mean 'genus'"):
        analyze_taxonomy(run, ranks=("genera",))


def test_a_taxonomy_with_several_parents(tmp_path):
    """Off-chain pairs have figures of their own."""
    graph = make_taxonomy(tmp_path / "dag", second_parents=20)
    run = train_poincare(graph, tmp_path / "run", PoincareRunConfig.build(SMALL))
    figures = analyze_taxonomy(run, controls=()).figures["run"]["reconstruction"]
    assert figures["mean_rank_off_chain"] > figures["mean_rank_on_chain"]
    assert figures["num_pairs"] == Taxonomy.of(graph).num_pairs


def test_corrupted_pairs_are_never_true(tree):
    """Neither in a tree nor with several parents; pairs with the root are corrupted at the other end."""
    rng = np.random.default_rng(0)
    for taxonomy in (Taxonomy.of(tree), Taxonomy.build(np.array([1, 2, 3, 3, 4]), np.array([0, 0, 1, 2, 2]))):
        pairs = taxonomy.pairs(np.arange(taxonomy.num_pairs))
        true = set(map(tuple, pairs.tolist()))
        others = corrupted(taxonomy, pairs, 3, rng)
        assert len(others) > 2 * len(pairs)
        assert not true & set(map(tuple, others.tolist()))
        assert all(row != above for row, above in others.tolist())
    chain = Taxonomy.build(np.array([1, 2]), np.array([0, 1]))
    assert all(
        tuple(pair) not in {(1, 0), (2, 0), (2, 1)}
        for pair in corrupted(chain, chain.pairs(np.arange(3)), 2, rng)
    )


def test_neighbours_and_ancestors_by_name(run, tree):
    """Nearest nodes with distances, ancestors with whether they are true; unknown names suggest the nearest."""
    embedded = Embedded.of(run)
    links = [(int(child), int(parent)) for child, _, parent in tree.triples("train")]
    above = reference.ancestors(links)[363]
    found = asking.ancestors(embedded, "species 363", 5)
    assert {line["label"] for line in found if line["true"]} <= {f"n{node}" for node in above}
    assert sum(line["true"] for line in found) >= 4
    near = asking.neighbours(embedded, "n363", 3)
    assert [line["distance"] for line in near] == sorted(line["distance"] for line in near)
    assert "n363" not in {line["label"] for line in near}
    with pytest.raises(UnknownName, match="Did you mean"):
        asking.neighbours(embedded, "speces 363", 3)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet"])
def test_exports(run, tmp_path, suffix):
    """Every node once, inside the ball; floats come back to the last digit."""
    embedded = Embedded.of(run)
    export_embedding(embedded, tmp_path / f"e{suffix}")
    frame = embedding_frame(embedded)
    if suffix == ".txt":
        lines = (tmp_path / "e.txt").read_text().splitlines()
        assert lines[0] == "364 4"
        words = [line.split(" ") for line in lines[1:]]
        assert len({word[0] for word in words}) == 364
        values = np.array([[float(number) for number in word[1:]] for word in words])
        assert (values == frame[[f"x{axis}" for axis in range(4)]].to_numpy()).all()
        return
    import duckdb

    reader = "read_csv" if suffix == ".csv" else "read_parquet"
    back = duckdb.sql(f"SELECT * FROM {reader}('{tmp_path / ('e' + suffix)}')").df()
    assert list(back.columns) == list(frame.columns)
    assert (back["x0"].to_numpy() == frame["x0"].to_numpy()).all()
    assert set(back["rank"]) == set(RANKS)


def test_export_formats_are_named(run, tmp_path):
    """Nothing is written."""
    with pytest.raises(ConfigError, match=r"the suffix says the format: \.txt, \.vec, \.csv, \.parquet"):
        export_embedding(Embedded.of(run), tmp_path / "e.bin")
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_drawn(run, tmp_path):
    """PNG and SVG."""
    asking.draw(Embedded.of(run), tmp_path / "disk.png", "phylum")
    assert (tmp_path / "disk.png").read_bytes()[:4] == b"\x89PNG"
    asking.draw(Embedded.of(run), tmp_path / "disk.svg", None)
    assert "phylum 1" in (tmp_path / "disk.svg").read_text() or "class" in (tmp_path / "disk.svg").read_text()


def test_the_plan_is_stated_and_kept(tree, tmp_path):
    """Bytes by part; a smaller limit is refused before any work."""
    options = PoincareRunConfig.build(SMALL)
    plan = KIND.plan(tree, options, loaded=100 * MIB)
    assert plan.total == sum(plan.parts.values())
    assert (
        KIND.plan(tree, changed(model={"dim": 40}), loaded=0).total > KIND.plan(tree, options, loaded=0).total
    )
    assert (
        KIND.plan(tree, changed(model={"held_out": 0.1}), loaded=0).total
        > KIND.plan(tree, options, loaded=0).total
    )
    with pytest.raises(
        PlanDoesNotFit, match="poincare on animals needs at least .* MiB and the budget is 10.0 MiB"
    ):
        train_poincare(tree, tmp_path / "run", changed(memory_limit="10MiB"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"coordinates": "ball"},
            "coordinates = ball are trained with Riemannian SGD: set optimizer = sgd too",
        ),
        (
            {"coordinates": "ball", "optimizer": "sgd", "loss": "hinge"},
            "loss = hinge is for free coordinates",
        ),
        (
            {"coordinates": "ball", "optimizer": "sgd", "placement": {"largest_radius": 33}},
            "placement.largest_radius is above 30",
        ),
        ({"negatives": {"degree": 0.9, "structural": 0.2}}, "the shares of negatives sum to 1.1: at most 1"),
        ({"dim": 1}, "dim"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    """Named before any work."""
    with pytest.raises(ConfigError, match=message):
        PoincareRunConfig.build({"model": options})


def test_ranks_that_are_not_there(tiny, tree, tmp_path):
    """A graph without types; a rank that no node has."""
    with pytest.raises(UnknownName, match="rank 'fylum'.*Did you mean 'phylum'"):
        train_poincare(tree, tmp_path / "run", changed(model={"held_out_ranks": ["fylum"]}))
    assert not (tmp_path / "run").exists()
    plain = write_graph(
        tmp_path / "plain",
        name="plain",
        labels=["a", "b"],
        relations=["is a"],
        triples={"train": np.array([(1, 0, 0)])},
    )
    with pytest.raises(GraphError, match="graph plain has no ranks: import the taxonomy with a rank column"):
        train_poincare(plain, tmp_path / "run", changed(model={"held_out_ranks": ["phylum"]}))


def test_a_graph_that_is_no_taxonomy_leaves_no_run(tiny, tmp_path):
    """Several relations, or a cycle."""
    with pytest.raises(
        InputError, match=r"3 relations \(likes, knows, treats\): say which of them mean 'is a'"
    ):
        train_poincare(tiny, tmp_path / "run", PoincareRunConfig.build(SMALL))
    with pytest.raises(InputError, match="'e14' is its own parent and has another one too"):
        train_poincare(tiny, tmp_path / "run", changed(model={"relations": ["likes"]}))
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_learner_is_refused(trained, run):
    """Both ways."""
    with pytest.raises(RunError, match="is a run of conve, and this is for runs of poincare"):
        Embedded.of(Run.open(trained / "run"))
    with pytest.raises(
        RunError, match="is a run of poincare, which does not rank facts: ask corollary analyze-taxonomy"
    ):
        run.scorer  # noqa: B018
