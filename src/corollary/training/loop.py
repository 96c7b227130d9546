"""The one loop: epochs, accumulation, clipping, schedules, averaging, validation, early stopping, checkpoints.

Everything that decides a result is a function of (seed, epoch, step), so a run that was killed and resumed ends
with the same bytes as an unbroken one on the same device and thread count.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt

from corollary.budget import peak_bytes, resident_bytes
from corollary.config import Config
from corollary.errors import RunDamaged, RunError, TrainingDiverged, TrainingInterrupted
from corollary.graph.folder import Graph
from corollary.learners.protocol import HasFiles, Learner
from corollary.records.run_folder import RunFolder
from corollary.training import checkpoints
from corollary.training.averaging import Average
from corollary.training.cleanup import release_memory
from corollary.training.optimizers import OptimizerConfig
from corollary.training.prefetch import prefetch
from corollary.training.schedules import Progress, ScheduleConfig
from corollary.training.steps import Steps

KEPT_FOR_RESUMING = 5


class LoopConfig(Config):
    """How long a learner is trained, and what is kept on the way."""

    epochs: PositiveInt = 100
    """Passes over the training data."""
    lr: PositiveFloat = 1e-3
    """First learning rate."""
    schedule: ScheduleConfig = ScheduleConfig()
    validate_every: PositiveInt = 5
    """Epochs between validations."""
    early_stopping: PositiveInt | None = None
    """Validations without improvement after which training stops; not set: never."""
    num_workers: NonNegativeInt = 1
    """Threads that make batches ahead; never changes a result."""
    checkpoint_frequency: PositiveInt | None = None
    """Keep the checkpoint of every Nth epoch for good, for influence analysis."""
    keep_optimizer: bool = False
    """Checkpoints kept for good hold the optimiser's moments too."""
    checkpoint_minutes: PositiveFloat = 10.0
    """Save also within an epoch, when the last checkpoint is this old."""


class TrainingConfig(LoopConfig):
    """How a learner with gradients is trained."""

    optimizer: OptimizerConfig = OptimizerConfig()
    accumulation: PositiveInt = 1
    """Batches whose gradients are averaged into one optimiser step; each keeps its own batch-norm statistics."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of the whole gradient; longer ones are scaled down."""
    average_decay: float | None = Field(None, gt=0, lt=1)
    """Decay of a moving average of the weights, validated beside them; not set: no average."""


class LoopState(BaseModel):
    """Where the loop stands; saved in every checkpoint."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Batches finished in the epoch under way."""
    updates: int = 0
    loss_sum: float = 0.0
    """Of the updates of the epoch under way."""
    loss_count: int = 0
    seconds: float = 0.0
    """Of the epoch under way."""
    progress: Progress = Progress()
    steps: dict[str, Any] = {}
    """What the steps record."""


class TrainingResult(BaseModel):
    """How a training ended."""

    epochs: int
    updates: int
    stopped_early: bool
    best: float | None
    """Best validation metric."""
    best_epoch: int | None
    train_seconds: float
    peak_bytes: int


class Observer(Protocol):
    """Told what happens; a display, or nothing."""

    def started(self, *, epochs: int, steps: int, state: LoopState) -> None: ...

    def stepped(self, *, state: LoopState, examples: int, loss: float, lr: float) -> None: ...

    def finished_epoch(self, line: Mapping[str, Any]) -> None: ...


class Silent:
    """An observer that shows nothing."""

    def started(self, *, epochs: int, steps: int, state: LoopState) -> None:
        return

    def stepped(self, *, state: LoopState, examples: int, loss: float, lr: float) -> None:
        return

    def finished_epoch(self, line: Mapping[str, Any]) -> None:
        return


class Loop:
    """One training of one learner on one graph, recorded in one run folder."""

    def __init__(
        self,
        learner: Learner,
        steps: Steps,
        graph: Graph,
        config: LoopConfig,
        run: RunFolder,
        *,
        seed: int,
        device: torch.device,
        average: Average | None = None,
        cleanup: bool = True,
        validate: Callable[[], Mapping[str, float]] | None = None,
        metric: str = "mrr",
        planned_bytes: int,
        observer: Observer | None = None,
    ) -> None:
        self.learner, self.steps, self.graph, self.average = learner, steps, graph, average
        self.config, self.run, self.seed = config, run, seed
        self.device, self.cleanup, self.validate, self.metric = device, cleanup, validate, metric
        self.planned_bytes = planned_bytes
        self.observer: Observer = observer or Silent()
        self.state = LoopState()
        self._last_save = time.monotonic()

    def resume(self) -> list[str]:
        """Continue from the newest checkpoint that is whole; none means from the start.

        Returns what is wrong with newer ones, which are passed over; raises it where no checkpoint is whole.
        """
        damaged: list[RunDamaged] = []
        for path in reversed(self.run.epoch_checkpoints()):
            try:
                manifest = checkpoints.load(path, *self._parts())
            except RunDamaged as error:
                damaged.append(error)
                continue
            self.state = LoopState.model_validate(manifest.loop)
            self.steps.recall(self.state.steps)
            break
        else:
            if damaged:
                raise damaged[0]
        self.run.keep_metrics(self.state.epoch)
        return [str(error) for error in damaged]

    def train(self) -> TrainingResult:
        """Run to the last epoch, or until validation stops improving.

        Raises `TrainingDiverged` where the loss is not finite, `TrainingInterrupted` after Ctrl-C (state saved).
        """
        config, state = self.config, self.state
        steps = len(self.learner.batches(self.graph, seed=self.seed, epoch=0))
        if steps == 0:
            raise RunError(f"{self.graph.path} has no training triples")
        total = config.epochs * -(-steps // self.steps.accumulation)
        self.observer.started(epochs=config.epochs, steps=steps, state=state)
        seconds = 0.0
        with _interruptible() as interrupted:
            while state.epoch < config.epochs and not self._should_stop():
                started = time.monotonic()
                self._epoch(total, interrupted)
                seconds += time.monotonic() - started
        self._save_final()
        return TrainingResult(
            epochs=state.epoch,
            updates=state.updates,
            stopped_early=state.epoch < config.epochs,
            best=state.progress.best,
            best_epoch=state.progress.best_epoch,
            train_seconds=seconds,
            peak_bytes=peak_bytes(),
        )

    def _should_stop(self) -> bool:
        patience = self.config.early_stopping
        return patience is not None and self.state.progress.since_best >= patience

    def _epoch(self, total: int, interrupted: threading.Event) -> None:
        state, config = self.state, self.config
        self.learner.train()
        batches = self.learner.batches(self.graph, seed=self.seed, epoch=state.epoch)
        started, before = time.monotonic(), state.seconds
        ahead = prefetch(batches, state.step, workers=config.num_workers)
        lr = 0.0
        while state.step < len(batches):
            group = min(self.steps.accumulation, len(batches) - state.step)
            lr = config.lr * config.schedule.rate(
                step=state.updates + 1, total=total, epoch=state.epoch, drops=state.progress.drops
            )
            examples, loss = self._update([next(ahead) for _ in range(group)], lr)
            state.step += group
            state.loss_sum, state.loss_count = state.loss_sum + loss, state.loss_count + 1
            state.seconds = before + time.monotonic() - started
            self.observer.stepped(state=state, examples=examples, loss=loss, lr=lr)
            if interrupted.is_set() and state.step < len(batches):
                self._save_on_the_way(lr)
                self._say_interrupted()
            if time.monotonic() - self._last_save > 60 * config.checkpoint_minutes and state.step < len(
                batches
            ):
                self._save_on_the_way(lr)
        self._finish_epoch(lr)
        if interrupted.is_set() and state.epoch < config.epochs:
            self._say_interrupted()

    def _update(self, batches: list[Any], lr: float) -> tuple[int, float]:
        """One step; number of examples and mean loss."""
        state = self.state
        moved = self.steps.update(batches, lr=lr, update=state.updates + 1)
        if not math.isfinite(moved.loss):
            last = self.run.epoch_checkpoints()
            where = f"the last good checkpoint is {last[-1]}" if last else "no checkpoint was made yet"
            raise TrainingDiverged(
                f"epoch {state.epoch + 1}, step {state.step + 1}: the loss is {moved.loss}; {where}. A smaller learning "
                f"rate (now {lr:g}), --set training.clip_norm=1 or a warm-up usually helps."
            )
        if moved.counted:
            state.updates += 1
            if self.average is not None:
                self.average.update(state.updates)
        return moved.examples, moved.loss

    def _finish_epoch(self, lr: float) -> None:
        state, config = self.state, self.config
        line: dict[str, Any] = {
            "epoch": state.epoch + 1,
            "updates": state.updates,
            self.steps.loss_name: state.loss_sum / state.loss_count,
            "learning_rate": lr,
            "seconds": round(state.seconds, 3),
        }
        state.epoch, state.step = state.epoch + 1, 0
        state.loss_sum, state.loss_count, state.seconds = 0.0, 0, 0.0
        last = state.epoch == config.epochs
        if self.validate is not None and (state.epoch % config.validate_every == 0 or last):
            started = time.monotonic()
            if self.cleanup:
                self.learner.release()
                release_memory(self.device)
            line |= self._validate(lr)
            line["validation_seconds"] = round(time.monotonic() - started, 3)
        line |= {
            "resident_bytes": resident_bytes(),
            "peak_bytes": peak_bytes(),
            "planned_bytes": self.planned_bytes,
        }
        self.run.append_metrics(line)
        self._save_on_the_way(lr)
        self.observer.finished_epoch(line)

    def _validate(self, lr: float) -> dict[str, Any]:
        """Measure the weights and their average; the better of the two may become `best/`.

        Figures without the metric, which cannot be compared with other epochs, are recorded and no more.
        """
        assert self.validate is not None
        self.learner.eval()
        found = {"valid": dict(self.validate())}
        if self.average is not None:
            with self.average.in_place():
                found["valid_average"] = dict(self.validate())
        if any(self.metric not in figures for figures in found.values()):
            return found
        chosen = max(found, key=lambda name: found[name][self.metric])
        if self.state.progress.note(found[chosen][self.metric], self.state.epoch, self.config.schedule):
            averaged = chosen == "valid_average"
            self._save_weights(self.run.checkpoint("best"), lr, averaged=averaged)
        return found

    def _save_weights(self, path: Path, lr: float, *, averaged: bool) -> None:
        with self.average.in_place() if averaged and self.average is not None else nullcontext():
            position = {**self._position(lr), "averaged": averaged}
            checkpoints.save(path, self.learner, position=position, replace=True)

    def _save_on_the_way(self, lr: float) -> None:
        state = self.state
        name = f"epoch-{state.epoch:04d}" + (f"-step-{state.step:06d}" if state.step else "")
        checkpoints.save(self.run.checkpoint(name), *self._parts(), position=self._position(lr), replace=True)
        self._prune()
        self._last_save = time.monotonic()

    def _prune(self) -> None:
        checkpoints.prune(
            self.run.epoch_checkpoints(),
            keep=KEPT_FOR_RESUMING,
            keep_every=self.config.checkpoint_frequency,
            keep_optimizer=self.config.keep_optimizer,
        )

    def _save_final(self) -> None:
        """The last weights, averaged where an average is kept."""
        self._save_weights(self.run.checkpoint("final"), self.config.lr, averaged=self.average is not None)
        self._prune()  # a run that was killed after its last checkpoint has one too many

    def _parts(self) -> list[HasFiles]:
        """What a checkpoint to go on from holds."""
        return [self.learner, self.steps, *([] if self.average is None else [self.average])]

    def _position(self, lr: float) -> dict[str, Any]:
        state = self.state
        state.steps = self.steps.record()
        return {
            "epoch": state.epoch,
            "step": state.step,
            "updates": state.updates,
            "learning_rate": lr,
            "averaged": False,
            "loop": state.model_dump(exclude={"seconds"}),
        }

    def _say_interrupted(self) -> None:
        raise TrainingInterrupted(
            f"stopped in epoch {self.state.epoch + 1}; the state is saved. Go on with: "
            f"corollary train --resume {self.run.path}"
        )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C (and a polite kill) sets the event, so that the step under way can end; a second one stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(number: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, previous[signal.SIGINT])

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
