"""The run folder: made once, read back, locked, and clear about what is not there."""

import json
import os

import pytest

from corollary.errors import RunDamaged, RunError, RunInUse, StorageError
from corollary.records.run_folder import RunFolder
from corollary.storage import FolderLock


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", {"seed": 3})


def checkpoint(run, *names):
    for name in names:
        run.checkpoint(name).mkdir()


def test_what_was_recorded_is_read_back(run):
    """With the format it was written in."""
    opened = RunFolder.open(str(run.path))
    assert opened.config == {"format": 1, "seed": 3}
    assert opened.name == "run"
    opened.write_json("evaluation.json", {"mrr": 0.5})
    assert run.read_json("evaluation.json") == {"mrr": 0.5}


def test_a_second_run_in_the_same_folder_is_refused(run):
    """What stands there is untouched, and the message says how to go on with it."""
    with pytest.raises(RunError) as caught:
        RunFolder.create(run.path, {"seed": 4})
    assert str(caught.value) == (
        f"{run.path} holds a run already: go on with --resume {run.path}, or choose another folder"
    )
    assert run.config["seed"] == 3


def test_a_run_below_a_file_is_refused(tmp_path):
    """As a place that cannot be written."""
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/run"):
        with pytest.raises(StorageError, match="a part of the path is a file, not a folder"):
            RunFolder.create(tmp_path / place, {})


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("x"), "is a file"),
        (lambda path: path.mkdir(), "has no config.json"),
    ],
)
def test_what_is_no_run_folder_is_refused(tmp_path, make, what):
    """With the reason and what makes one."""
    make(tmp_path / "x")
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path / "x")
    assert str(caught.value) == (
        f"{tmp_path / 'x'} is not a run folder: it {what}. Make one with 'corollary train'."
    )


def test_another_format_is_refused(run):
    """With both numbers."""
    run.write_json("config.json", {"format": 7})
    with pytest.raises(RunError, match="run has format 7; this version reads 1"):
        RunFolder.open(run.path)


def test_a_damaged_or_missing_file_is_named(run):
    """Not JSON; not there."""
    (run.path / "config.json").write_text('{"form')
    with pytest.raises(RunDamaged, match=r"run/config\.json is damaged: it is not JSON"):
        RunFolder.open(run.path)
    with pytest.raises(RunError, match=r"run/evaluation\.json is missing"):
        run.read_json("evaluation.json")


def test_metrics_are_lines(run):
    """In order; a last line that a kill cut short is left out; a damaged one is named."""
    assert run.metrics() == []
    for epoch in (1, 2):
        run.append_metrics({"epoch": epoch, "loss": 0.1 + epoch})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')
    assert run.metrics() == [{"epoch": 1, "loss": 1.1}, {"epoch": 2, "loss": 2.1}]
    run.keep_metrics(1)
    assert run.metrics() == [{"epoch": 1, "loss": 1.1}]
    assert (run.path / "metrics.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "is damaged: it is not JSON"),
        ("[]", "is damaged: it is not a table of values"),
        ('{"loss": 1}', "is damaged: it does not say its epoch"),
        ("\x80", "is damaged: it is not JSON"),
    ],
)
def test_a_damaged_line_of_metrics_is_named(run, line, what):
    """With its number, and what to do."""
    run.append_metrics({"epoch": 1, "loss": 0.5})
    with (run.path / "metrics.jsonl").open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    for look in (run.metrics, lambda: run.keep_metrics(1)):
        with pytest.raises(RunDamaged) as caught:
            look()
        assert str(caught.value) == (
            f"{run.path / 'metrics.jsonl'}:2 {what}: remove the line; training goes on without it"
        )


def test_a_changed_number_is_noticed(run):
    """In the options, in figures, in a line of metrics; without a seal, as in older folders, it is not."""
    run.write_json("evaluation.json", {"mrr": 0.25})
    run.append_metrics({"epoch": 1, "loss": 0.25})
    for name, remedy in (
        (
            "config.json",
            f"put back what was there, or start a new run with --config {run.path / 'config.json'}",
        ),
        ("evaluation.json", f"write it again with corollary evaluate {run.path}"),
        ("metrics.jsonl", "remove the line; training goes on without it"),
    ):
        file = run.path / name
        text = file.read_text()
        changed = text.replace('"seed": 3', '"seed": 7').replace("0.25", "0.29")
        assert changed != text
        file.write_text(changed)
        with pytest.raises(RunDamaged) as caught:
            run.metrics() if name == "metrics.jsonl" else run.read_json(name)
        where = f"{file}:1" if name == "metrics.jsonl" else file
        assert str(caught.value) == f"{where} has changed since it was written: {remedy}"
        file.write_text(text)
    (run.path / "config.json").write_text('{"format": 1, "seed": 4}')
    assert run.config["seed"] == 4


def test_a_full_disk_during_training_says_how_to_go_on(run):
    """Which checkpoint is whole, and the command."""
    for checkpoints, where in (
        ((), "there is no checkpoint yet"),
        (("epoch-0001", "epoch-0002"), "the last checkpoint, epoch-0002, is whole"),
    ):
        checkpoint(run, *checkpoints)
        with pytest.raises(StorageError) as caught, run.resumable():
            raise StorageError("x was not written: the disk is full: free some space or choose another place")
        assert str(caught.value) == (
            "x was not written: the disk is full: free some space or choose another place. Training has stopped; "
            f"{where}. Once that is put right, go on with: corollary train --resume {run.path}"
        )


def test_of_two_starts_in_one_folder_one_wins(tmp_path):
    """While one writes its configuration the other is refused, and changes nothing."""
    place = tmp_path / "run"
    place.mkdir()
    with FolderLock(place), pytest.raises(RunInUse, match="run is being written by process"):
        RunFolder.create(place, {"seed": 4})
    assert not (place / "config.json").exists()
    assert RunFolder.create(place, {"seed": 5}).config["seed"] == 5


def test_checkpoints_come_in_the_order_of_training(run):
    """By number, not by letter; those within an epoch after the epoch before; neither best nor half-written ones."""
    names = ["epoch-0002", "epoch-0002-step-000010", "epoch-0002-step-000009", "epoch-9999", "epoch-10000"]
    checkpoint(run, *names, "best", "final", ".partial-epoch-0003-abcdef12")
    assert [path.name for path in run.epoch_checkpoints()] == [
        "epoch-0002",
        "epoch-0002-step-000009",
        "epoch-0002-step-000010",
        "epoch-9999",
        "epoch-10000",
    ]


def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(run):
    """And how to get further; `final` stands in for a best that nobody chose."""
    checkpoint(run, "epoch-0001", ".partial-best-abcdef12")
    with pytest.raises(RunError) as caught:
        run.finished_checkpoint("best")
    assert str(caught.value) == (
        f"{run.path} has no checkpoint 'best' (there: epoch-0001); to go on training: "
        f"corollary train --resume {run.path}"
    )
    assert run.finished_checkpoint("epoch-0001").name == "epoch-0001"
    checkpoint(run, "final")
    assert run.finished_checkpoint("best").name == "final"
    checkpoint(run, "best")
    assert run.finished_checkpoint("best").name == "best"


def test_locking_keeps_others_out_and_clears_up(run):
    """What a killed writer left half-written goes, in the folder and among the checkpoints."""
    half = run.path / "checkpoints" / ".partial-epoch-0001" / "epoch-0001"
    half.mkdir(parents=True)
    (half / "weights").write_text("half")
    (run.path / ".partial-config.json-abcdef12").mkdir()
    (run.path / ".partial-config.json-abcdef12" / "config.json").write_text("half")
    with run.lock():
        with pytest.raises(RunInUse, match=f"run is being written by process {os.getpid()}"):
            RunFolder.open(run.path).lock()
        assert sorted(path.name for path in run.path.rglob("*")) == [".lock", "checkpoints", "config.json"]
    run.lock().release()


def test_a_run_that_cannot_be_recorded_leaves_nothing_half_written(run):
    """A value that JSON does not know is an error before the file changes."""
    with pytest.raises(TypeError):
        run.write_json("config.json", {"bad": object()})
    assert json.loads((run.path / "config.json").read_text())["seed"] == 3
