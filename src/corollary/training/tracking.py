"""TensorBoard and MLflow beside a training: they are shown the lines of `metrics.jsonl`, and can neither change a
number nor stop the training.

`metrics.jsonl` is the truth. When a training goes on after a stop, TensorBoard is written anew from it and MLflow is
given what it lacks, so that no epoch stands there twice or not at all.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from corollary.budget import MIB
from corollary.config import Config
from corollary.errors import MissingExtra, RunError, TrainingInterrupted
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.training.loop import LoopState, Observer, Silent

TENSORBOARD_BYTES, MLFLOW_BYTES = 8 * MIB, 112 * MIB
"""Resident after a first event (measured: 4 and 107 MiB)."""

_PARAMETERS_A_CALL = 100  # MLflow takes no more at once


class TrackingConfig(Config):
    """Who is told of the training besides the run folder. Changes no number."""

    tensorboard: bool = False
    """Write events for TensorBoard into `tensorboard/` of the run folder."""
    mlflow: str | None = None
    """Tracking URI of MLflow: sqlite:///mlflow.db, a folder, or the address of a server. Not set: no MLflow."""
    experiment: str = "corollary"
    """MLflow's experiment."""


class Tracker(Protocol):
    """A program that draws curves. `line` is one of `metrics.jsonl`."""

    title: str

    def start(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Begin, or go on: `lines` are those of the epochs that are done."""
        ...

    def add(self, line: Mapping[str, Any]) -> None: ...

    def finish(self, test: Mapping[str, float], status: str) -> None:
        """End with the figures on the test split. Status: FINISHED, KILLED (stopped by the user) or FAILED."""
        ...


class Following:
    """An observer that passes on what happens to another one and to trackers. One that fails is left out from then
    on, with one message."""

    def __init__(self, observer: Observer, trackers: Sequence[Tracker], folder: RunFolder, say: Say) -> None:
        self._observer, self._folder, self._say = observer, folder, say
        self._trackers = list(trackers)
        self._test: dict[str, float] = {}

    def started(self, *, epochs: int, steps: int, state: LoopState) -> None:
        self._observer.started(epochs=epochs, steps=steps, state=state)
        self._tell(lambda tracker: tracker.start(self._folder.metrics()))

    def stepped(self, *, state: LoopState, examples: int, loss: float, lr: float) -> None:
        self._observer.stepped(state=state, examples=examples, loss=loss, lr=lr)

    def finished_epoch(self, line: Mapping[str, Any]) -> None:
        self._observer.finished_epoch(line)
        self._tell(lambda tracker: tracker.add(line))

    def tested(self, figures: Mapping[str, float | None]) -> None:
        """Note the figures on the test split."""
        self._test = {name: value for name, value in figures.items() if value is not None}

    def close(self, status: str) -> None:
        """Let every tracker end."""
        self._tell(lambda tracker: tracker.finish(self._test, status))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                what(tracker)
            except Exception as error:  # whatever another program raises, the training is worth more
                self._trackers.remove(tracker)
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                self._say(f"{tracker.title} is left out from here on: {reason}")


@contextmanager
def following(
    config: TrackingConfig,
    folder: RunFolder,
    parameters: Mapping[str, Any],
    observer: Observer | None = None,
    say: Say = silent,
) -> Iterator[Following]:
    """The observer to train with; at the end of the block trackers are closed with how it ended.

    Args:
        parameters: options of the run, nested, shown by MLflow.
    """
    follower = Following(observer or Silent(), _trackers(config, folder, parameters), folder, say)
    status = "FAILED"
    try:
        yield follower
        status = "FINISHED"
    except (TrainingInterrupted, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        follower.close(status)


def tracker_bytes(config: TrackingConfig) -> int:
    """Resident memory of the trackers, for the plan."""
    return TENSORBOARD_BYTES * config.tensorboard + MLFLOW_BYTES * (config.mlflow is not None)


def check_installed(config: TrackingConfig) -> None:
    """Raises `MissingExtra` where a program that is to be told is not installed."""
    for wanted, module in ((config.tensorboard, "tensorboard"), (config.mlflow, "mlflow")):
        if wanted and find_spec(module) is None:
            raise MissingExtra(
                f"{module} is not installed: pip install 'corollary[track]', or leave tracking.{module} out"
            )


def _trackers(config: TrackingConfig, folder: RunFolder, parameters: Mapping[str, Any]) -> list[Tracker]:
    found: list[Tracker] = []
    if config.tensorboard:
        found.append(TensorBoard(folder.path / "tensorboard"))
    if config.mlflow:
        found.append(Mlflow(config.mlflow, config.experiment, folder, parameters))
    return found


class TensorBoard:
    """Event files in one folder."""

    title = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def start(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Older events are hidden, and those of finished epochs written again."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=0)
        for line in lines:
            self.add(line)

    def add(self, line: Mapping[str, Any]) -> None:
        for name, value in scalars(line).items():
            self._writer.add_scalar(name, value, line["epoch"])
        self._writer.flush()

    def finish(self, test: Mapping[str, float], status: str) -> None:
        if self._writer is None:
            return
        for name, value in test.items():
            self._writer.add_scalar(f"test/{name}", value)
        self._writer.close()


class Mlflow:
    """One MLflow run for one run folder; its id stands in `mlflow.json`, so that a resumed training goes on in it."""

    title = "MLflow"

    def __init__(self, uri: str, experiment: str, folder: RunFolder, parameters: Mapping[str, Any]) -> None:
        self._uri, self._experiment, self._folder, self._parameters = uri, experiment, folder, parameters
        self._client: Any = None
        self._run_id = ""

    def start(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """A new run with all parameters, or the old one with the epochs that it lacks."""
        # MLflow's own defaults let a training wait for minutes, each epoch, when its server is away.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self._uri)
        known = self._known()
        if known is None:
            known = self._create(client)
        else:
            client.update_run(known, status="RUNNING")
        self._client, self._run_id = client, known
        there = {point.step for point in client.get_metric_history(known, "updates")}
        for line in lines:
            if line["epoch"] not in there:
                self.add(line)

    def _known(self) -> str | None:
        """The run that this folder was shown in before."""
        try:
            kept = self._folder.read_json("mlflow.json")
        except RunError:
            return None
        return str(kept["run_id"]) if kept.get("uri") == self._uri else None

    def _create(self, client: Any) -> str:
        from mlflow.entities import Param

        found = client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else client.create_experiment(self._experiment)
        run_id = str(client.create_run(experiment, run_name=self._folder.name).info.run_id)
        self._folder.write_json("mlflow.json", {"uri": self._uri, "run_id": run_id})
        parameters = [Param(name, str(value)) for name, value in _flat(self._parameters).items()]
        for start in range(0, len(parameters), _PARAMETERS_A_CALL):
            client.log_batch(run_id, params=parameters[start : start + _PARAMETERS_A_CALL])
        return run_id

    def add(self, line: Mapping[str, Any]) -> None:
        self._log(scalars(line), int(line["epoch"]))

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name.replace("@", "_at_"), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def finish(self, test: Mapping[str, float], status: str) -> None:
        if self._client is None:
            return
        if test:
            self._log({f"test/{name}": value for name, value in test.items()}, 0)
        self._client.set_terminated(self._run_id, status=status)


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a metrics line by name, those of a group as `valid/mrr`; the epoch is their place, not a curve."""
    return {
        name: float(value)
        for name, value in _flat(line, "/").items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "epoch"
    }


def _flat(table: Mapping[str, Any], joint: str = ".", prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, joint, f"{prefix}{name}{joint}")
        else:
            found[prefix + name] = value
    return found
