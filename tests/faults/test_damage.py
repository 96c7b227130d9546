"""One changed bit or a cut, in any file of a run folder or a graph folder: the file is named, or nothing depends on it."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from corollary.errors import CorollaryError, GraphDamaged
from corollary.graph.filters import FilterConfig
from corollary.graph.folder import Graph
from corollary.graph.splits import SplitConfig, split_graph
from corollary.graph.subset import subset_graph
from corollary.records.run_folder import RunFolder
from corollary.reports.html import render
from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve
from corollary.runs.evaluating import evaluate
from corollary.runs.predicting import Question, predict
from corollary.runs.run import Run
from corollary.runs.training import resume
from corollary.training.checkpoints import read_manifest

CONFIG = {
    "device": "cpu",
    "model": {"embedding_dim": 12, "channels": 4, "batch_size": 64},
    "training": {
        "epochs": 3,
        "validate_every": 1,
        "average_decay": 0.9,
        "checkpoint_frequency": 1,
        "num_workers": 0,
    },
    "evaluation": {"resamples": 0},
}
EVALUATE, PREDICT, RESUME, REPORT = "evaluate", "predict", "resume", "report"
READ_BY = {
    "config.json": {EVALUATE, PREDICT, RESUME, REPORT},
    "metrics.jsonl": {RESUME, REPORT},
    "evaluation.json": {REPORT},
    "memory.json": set(),
    "report.html": set(),
    ".lock": set(),
    "checkpoints/best": {EVALUATE, PREDICT, RESUME},
    "checkpoints/final": set(),
    "checkpoints/epoch-0001": set(),
    "checkpoints/epoch-0002": set(),
    "checkpoints/epoch-0003": set(),
    "graph": {EVALUATE, PREDICT, RESUME},
}
"""What refuses to work when a file has changed. The rest goes on, to the same result: an epoch's checkpoint gives way
to the one before it, what `final` holds is written again, and `epoch-0001` is read where it is asked for by name."""
QUICK = (
    "config.json",
    "metrics.jsonl",
    "best/manifest.json",
    "epoch-0003/optimizer.safetensors",
    "edges/train.npy",
)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """A folder with a run, and in the run its graph."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(tiny.path, folder / "run" / "graph")
    train_conve(folder / "run" / "graph", folder / "run", RunConfig.build(CONFIG))
    return folder / "run"


@pytest.fixture(scope="module")
def expected(whole, tmp_path_factory):
    """What each action gives when nothing is damaged."""
    place = tmp_path_factory.mktemp("expected") / "run"
    return {action: act(linked(whole, place), action) for action in (EVALUATE, PREDICT, REPORT, RESUME)}


def linked(whole, place):
    """A copy that shares its files: nothing here is changed in place."""
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(whole, place, copy_function=os.link))


def act(run, action):
    """What one command makes of a run, or what it says."""
    if action == EVALUATE:
        return evaluate(Run.open(run)).metrics.values()
    if action == PREDICT:
        return predict(Run.open(run), [Question("e01", "likes", None)]).as_list()
    if action == REPORT:
        return render(RunFolder.open(run)).replace(str(run), "")
    resume(run)
    return ending(run)


def ending(run):
    """What a training ends with: its metrics, its last weights, and the state that they come from."""
    found = {
        "metrics": [(line["epoch"], line["loss"], line["valid"]) for line in RunFolder.open(run).metrics()]
    }
    for name in ("final", "epoch-0003"):
        manifest = read_manifest(run / "checkpoints" / name)
        found[name] = (dict(sorted(manifest.files.items())), manifest.loop)
    return found


def damage(file, how, rng):
    """Put another file in its place: one bit flipped at random, or a random part of it left."""
    content = bytearray(file.read_bytes())
    if not content:
        return
    if how == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:
        del content[rng.randrange(len(content)) :]
    file.unlink()
    file.write_bytes(content)


def same_values(file, original):
    """Whether JSON says the same after all: a flipped bit may make 1e-05 of 1E-05, or of `seal` another word."""
    if file.read_bytes() == original.read_bytes():  # it is empty
        return True
    if file.suffix != ".json":
        return False
    try:
        found, before = (json.loads(path.read_bytes()) for path in (file, original))
    except ValueError:
        return False
    return all(found.get(key) == value for key, value in before.items() if key != "seal")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "quick", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["some files", "every file"]
)
@pytest.mark.parametrize("how", ["flip", "cut"])
def test_a_damaged_file_of_a_run_is_named_or_nothing_depends_on_it(whole, expected, tmp_path, how, quick):
    """For evaluating, predicting, resuming and the report; one message, with the file."""
    rng, seen = random.Random(how), 0
    for name in files(whole):
        if quick and not name.endswith(QUICK):
            continue
        refused_by = next(actions for start, actions in READ_BY.items() if name.startswith(start))
        for action in (EVALUATE, PREDICT, REPORT, RESUME):
            run = linked(whole, tmp_path / "run")
            damage(run / name, how, rng)
            harmless = same_values(run / name, whole / name)
            # Of metrics, a last line that a kill cut short is no damage; the report shows what graph.json says.
            unseen = (name == "metrics.jsonl" and how == "cut") or (
                name == "graph/graph.json" and action == REPORT
            )
            message, found = attempt(run, action)
            if message is None:
                assert harmless or unseen or action not in refused_by, f"{name}, {action}: not noticed"
                assert unseen or found == expected[action], f"{name}, {action}: another result"
            else:
                assert unseen or action in refused_by, f"{name}, {action}: {message}"
                assert str(run / name) in message, f"{name}, {action}: {message}"
                assert "\n" not in message
                seen += 1
    assert seen >= (10 if quick else 80)


def attempt(run, action):
    """The message that a command ends with, or what it makes."""
    try:
        return None, act(run, action)
    except CorollaryError as error:
        return str(error), None


def test_a_checkpoint_that_is_passed_over_is_said(whole, expected, tmp_path):
    """Resuming from the one before it, and where none is whole, not at all."""
    run, said = linked(whole, tmp_path / "run"), []
    newest = run / "checkpoints" / "epoch-0003" / "optimizer.safetensors"
    damage(newest, "flip", random.Random(0))
    resume(run, say=said.append)
    assert (
        f"note: {newest} is missing or has changed since it was written: use another checkpoint; an older one is used"
        in said
    )
    assert ending(run) == expected[RESUME]


@pytest.mark.parametrize("how", ["flip", "cut"])
def test_every_damaged_file_of_a_graph_is_named_before_it_is_used(tiny, tmp_path, how):
    """By training, and by what makes another graph of it, whose checksums would hide it."""
    rng = random.Random(how)
    for name in files(tiny.path):
        place = linked(tiny.path, tmp_path / "graph")
        damage(place / name, how, rng)
        if same_values(place / name, tiny.path / name):
            continue
        for use in (train, split, cut):
            with pytest.raises(GraphDamaged) as caught:
                use(place, tmp_path / "made")
            assert str(caught.value).startswith(str(place / name)), name
            assert [path.name for path in tmp_path.iterdir()] == ["graph"]


def train(graph, output):
    train_conve(graph, output, RunConfig.build(CONFIG))


def split(graph, output):
    split_graph(Graph.open(graph), output, SplitConfig())


def cut(graph, output):
    subset_graph(Graph.open(graph), output, FilterConfig(keep_predicates=("likes",)))


def test_a_graph_is_read_once_for_its_checksums(tiny, monkeypatch):
    """Not again by the evaluation that ends a training; a file under several names once; a large graph when asked."""
    from corollary.graph import folder

    read, sha256 = [], folder.sha256
    monkeypatch.setattr(folder, "sha256", lambda path: read.append(path.stat().st_ino) or sha256(path))
    opened = Graph.open(tiny.path)
    opened.verify(most=10)
    assert read == []
    opened.verify()
    assert sorted(read) == sorted({(tiny.path / name).stat().st_ino for name in opened.info.files})
    opened.verify()
    assert len(read) == len(set(read))
