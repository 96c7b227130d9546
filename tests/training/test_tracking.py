"""TensorBoard and MLflow see every epoch once, change no number, and cannot stop a training."""

import json
import re
import shutil
from importlib.util import find_spec

import pytest

import corollary
from corollary.errors import MissingExtra, TrainingInterrupted
from corollary.records.run_folder import RunFolder
from corollary.training import tracking
from corollary.training.loop import LoopState, Silent
from corollary.training.tracking import Following, TrackingConfig, check_installed, following, scalars

SMALL = {"model": {"embedding_dim": 12, "channels": 2, "batch_size": 64}, "training": {"epochs": 4}}
LINE = {"epoch": 3, "loss": 0.5, "valid": {"mrr": 0.25, "hits@10": 0.5}, "note": "text", "done": True}


class Notes:
    """A tracker that keeps what it is told, and fails when it is told to."""

    title = "Notes"

    def __init__(self, fails_at: str = "") -> None:
        self.told: list[object] = []
        self.fails_at = fails_at

    def _note(self, what: str, value: object) -> None:
        if what == self.fails_at:
            raise OSError("no space left\nsecond line")
        self.told.append((what, value))

    def start(self, lines):
        self._note("start", [line["epoch"] for line in lines])

    def add(self, line):
        self._note("add", line["epoch"])

    def finish(self, test, status):
        self._note("finish", (dict(test), status))


class Stops(Silent):
    """Ends a training after so many epochs as if the process had died."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def finished_epoch(self, line):
        if line["epoch"] == self.epoch:
            raise RuntimeError("killed")


def train(graph, output, *, observer=None, **track):
    config = corollary.RunConfig.build({**SMALL, "tracking": track})
    return corollary.train_conve(graph, output, config, observer=observer)


def weights(run) -> bytes:
    return (run.folder.checkpoint("final") / "weights.safetensors").read_bytes()


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", {})


@pytest.mark.parametrize("moment", ["start", "add", "finish"])
def test_a_tracker_that_fails_is_left_out_with_one_message(folder, moment):
    """The others hear everything, and so does the display."""
    said: list[str] = []
    good, bad = Notes(), Notes(moment)
    follower = Following(Silent(), [bad, good], folder, said.append)
    follower.started(epochs=2, steps=1, state=LoopState())
    for epoch in (1, 2):
        follower.finished_epoch({"epoch": epoch, "loss": 1.0})
    follower.tested({"mrr": 0.5, "adjusted_mean_rank_index": None})
    follower.close("FINISHED")
    assert good.told == [("start", []), ("add", 1), ("add", 2), ("finish", ({"mrr": 0.5}, "FINISHED"))]
    assert said == ["Notes is left out from here on: no space left"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(TrainingInterrupted("x"), "KILLED"), (KeyboardInterrupt(), "KILLED"), (OSError(), "FAILED")],
)
def test_trackers_are_told_how_it_ended(folder, monkeypatch, error, status):
    """The error goes on to whoever catches it."""
    notes = Notes()
    monkeypatch.setattr(tracking, "_trackers", lambda *_: [notes])
    with pytest.raises(type(error)), following(TrackingConfig(), folder, {}):
        raise error
    assert notes.told == [("finish", ({}, status))]


def test_numbers_of_a_line_become_curves():
    """Groups by a slash; text and flags are no curves, the epoch is the place."""
    assert scalars(LINE) == {"loss": 0.5, "valid/mrr": 0.25, "valid/hits@10": 0.5}


@pytest.mark.parametrize(("option", "value"), [("tensorboard", True), ("mlflow", "sqlite:///m.db")])
def test_what_is_not_installed_is_said_before_any_work(tiny, tmp_path, monkeypatch, option, value):
    """With the command that installs it; nothing is left."""
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        train(tiny, tmp_path / "run", **{option: value})
    assert str(caught.value) == (
        f"{option} is not installed: pip install 'corollary[track]', or leave tracking.{option} out"
    )
    assert not (tmp_path / "run").exists()
    check_installed(TrackingConfig())


needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="TensorBoard is not installed"
)
needs_mlflow = pytest.mark.skipif(
    find_spec("mlflow") is None, reason="MLflow is not installed (pip install 'corollary[track]')"
)


def events(run) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run.path / "tensorboard")).Reload()
    return {tag: [(item.step, item.value) for item in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_every_epoch_once_also_after_a_resume(tiny, tmp_path):
    """The curves are the lines of metrics.jsonl; the weights are those of a training that nobody watched."""
    alone = train(tiny, tmp_path / "alone")
    with pytest.raises(RuntimeError, match="killed"):
        train(tiny, tmp_path / "run", observer=Stops(2), tensorboard=True)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "epoch-0002")  # two epochs were shown, one is known
    run = corollary.resume(tmp_path / "run")
    shown, lines = events(run), run.folder.metrics()
    assert [step for step, _ in shown["loss"]] == [1, 2, 3, 4]
    assert [value for _, value in shown["loss"]] == pytest.approx([line["loss"] for line in lines])
    last = next(line["valid"]["mrr"] for line in lines if "valid" in line)
    assert shown["valid/mrr"] == [(4, pytest.approx(last))]
    assert shown["test/mrr"][0][1] == pytest.approx(run.evaluation.mrr)
    assert weights(run) == weights(alone)


@needs_mlflow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_one_run_also_after_a_resume(tiny, tmp_path):
    """Parameters once, every epoch once, figures on the test split, the state it ended in."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(RuntimeError, match="killed"):
        train(tiny, tmp_path / "run", observer=Stops(2), mlflow=uri)
    client = MlflowClient(tracking_uri=uri)
    run_id = json.loads((tmp_path / "run" / "mlflow.json").read_text())["run_id"]
    assert client.get_run(run_id).info.status == "FAILED"
    run = corollary.resume(tmp_path / "run")
    found = client.get_run(run_id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    assert found.data.params["model.embedding_dim"] == "12"
    assert found.data.metrics["test/mrr"] == pytest.approx(run.evaluation.mrr)
    assert found.data.metrics["valid/hits_at_10"] == run.folder.metrics()[-1]["valid"]["hits@10"]
    assert [point.step for point in client.get_metric_history(run_id, "loss")] == [1, 2, 3, 4]
    experiment = client.get_experiment_by_name("corollary")
    assert len(client.search_runs([experiment.experiment_id])) == 1


@needs_mlflow
@pytest.mark.filterwarnings("ignore")
def test_a_server_that_is_away_stops_nothing(tiny, tmp_path):
    """One message, and the training ends as it would have."""
    said: list[str] = []
    config = corollary.RunConfig.build({**SMALL, "tracking": {"mlflow": "http://127.0.0.1:9"}})
    run = corollary.train_conve(tiny, tmp_path / "run", config, say=said.append)
    assert run.evaluation is not None
    assert len([line for line in said if re.match("MLflow is left out from here on: ", line)]) == 1
