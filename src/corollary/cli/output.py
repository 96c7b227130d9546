"""What commands print: tables for people, JSON for programs, a display for long work."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from corollary.budget import peak_bytes, resident_bytes, show_bytes

if TYPE_CHECKING:
    from corollary.budget import Plan
    from corollary.training.loop import LoopState

# Labels such as "[14C]urea" or "a:smile:b" are not markup.
console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)
errors = Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(message: str) -> None:
    """One line about what is happening, on standard error so that results can be piped."""
    errors.print(message, markup=False, style="dim", soft_wrap=True)


def show_error(message: str) -> int:
    """Print an error alone; the exit code that goes with it."""
    errors.print(message, markup=False, style="red", soft_wrap=True)
    return 1


def print_json(value: Any) -> None:
    """JSON on standard output, as it is."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """A table; numbers to the right, four digits after the point, nothing where a value is unknown (None, NaN)."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(
            isinstance(row[number], int | float) or row[number] is None for row in rows
        )
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN: unknown
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def show_plan(found: "Plan", as_json: bool) -> None:
    """The parts, their sum and the limit."""
    if as_json:
        print_json(found.model_dump(mode="json") | {"total": found.total})
        return
    rows = [[name, show_bytes(size)] for name, size in found.parts.items()]
    print_table(["part", "bytes"], [*rows, ["total", show_bytes(found.total)]])
    ways = found.ways()
    say(f"limit: {show_bytes(found.budget.bytes)}" + (f"; {'; '.join(ways)}" if ways else ""))


def show_memory() -> str:
    """Resident memory now, with that of child processes, and the most that there was."""
    now = resident_bytes()
    return f"{show_bytes(now)}, peak {show_bytes(max(now, peak_bytes()))}"


class TrainingDisplay:
    """A progress bar with loss, queries a second, memory now and at most, and time left; without a terminal a line a validation."""

    def __init__(self) -> None:
        self._live = errors.is_terminal
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[rate]:,.0f}/s  {task.fields[memory]}"),
            TimeRemainingColumn(table_column=Column(min_width=7, no_wrap=True)),
            console=errors,
            disable=not self._live,
        )
        self._queries, self._since, self._drawn = 0, time.monotonic(), 0.0

    def started(self, *, epochs: int, steps: int, state: "LoopState") -> None:
        """Set up the bar; a resumed run starts where it stands."""
        self._epochs, self._steps = epochs, steps
        self._task = self._progress.add_task(
            "train", total=epochs * steps, completed=state.epoch * steps + state.step,
            epoch=f"{state.epoch + 1}/{epochs}", loss=float("nan"), rate=0.0, memory="",
        )  # fmt: skip
        self._progress.start()

    def stepped(self, *, state: "LoopState", examples: int, loss: float, lr: float) -> None:
        """Redraw at most five times a second."""
        self._queries += examples
        now = time.monotonic()
        if not self._live or now - self._drawn < 0.2:
            return
        self._drawn = now
        self._progress.update(
            self._task, completed=state.epoch * self._steps + state.step, epoch=f"{state.epoch + 1}/{self._epochs}",
            loss=loss, rate=self._queries / max(now - self._since, 1e-9), memory=show_memory(),
        )  # fmt: skip

    def finished_epoch(self, line: Mapping[str, Any]) -> None:
        """One line for each validation."""
        valid = line.get("valid")
        if valid is not None:
            averaged = line.get("valid_average")
            more = f", averaged weights {averaged['mrr']:.4f}" if averaged else ""
            loss = (
                f"loss {line['loss']:.4f}" if "loss" in line else f"sampled loss {line['sampled_loss']:.4f}"
            )
            shown = (
                f"validation MRR {valid['mrr']:.4f}"
                if "mrr" in valid
                else ", ".join(f"{name} {value:.4f}" for name, value in valid.items())
            )
            say(f"epoch {line['epoch']}: {loss}, {shown}{more}; memory {show_memory()}")
        if line["epoch"] == self._epochs:
            self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()
