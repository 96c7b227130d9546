"""The run folder: what a training leaves behind, and how it is read.

config.json        every option resolved, versions, seed, graph and its fingerprints, plan
metrics.jsonl      one line an epoch: loss, learning rate, seconds, bytes, validation
checkpoints/       epoch-0003/ ..., best/, final/
evaluation.json    metrics with their conditions
report.html        one file, opens anywhere

Each JSON table and each line of metrics is sealed (`sealing`): one that has changed since is refused by name.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from corollary.errors import RunDamaged, RunError, StorageError
from corollary.records.sealing import sealed, unsealed
from corollary.storage import FolderLock, readable_errors, recover, sync, write_text

FORMAT = 1


class RunFolder:
    """Paths and small files of one run. What is inside a checkpoint is `checkpoints`' business."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> Self:
        """Start a new run. Raises `RunError` where one stands already, `RunInUse` where one is just being started."""
        with readable_errors(path):
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        run = cls(path)
        with FolderLock(path):
            if (path / "config.json").exists():
                raise RunError(
                    f"{path} holds a run already: go on with --resume {path}, or choose another folder"
                )
            recover(path)
            run.write_json("config.json", {"format": FORMAT, **config})
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run. Raises `RunError` where there is none."""
        path = Path(path)
        if not (path / "config.json").is_file():
            what = (
                "does not exist"
                if not path.exists()
                else "is a file"
                if path.is_file()
                else "has no config.json"
            )
            raise RunError(f"{path} is not a run folder: it {what}. Make one with 'corollary train'.")
        run = cls(path)
        if run.config.get("format") != FORMAT:
            raise RunError(f"{path} has format {run.config.get('format')}; this version reads {FORMAT}")
        return run

    @property
    def config(self) -> dict[str, Any]:
        """The content of `config.json`. Raises `RunDamaged` where it is not a table, or not the one that was written."""
        found = self.read_json("config.json")
        if not isinstance(found, dict):
            raise RunDamaged(f"{self.path / 'config.json'} is damaged: it is not a table of options")
        return found

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def read_json(self, name: str) -> Any:
        """One of the JSON files. Raises `RunDamaged` where it is not JSON or has changed since it was written."""
        file = self.path / name
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except OSError:
            raise RunError(f"{file} is missing") from None
        except ValueError:
            raise RunDamaged(f"{file} is damaged: it is not JSON") from None
        if not isinstance(found, dict):
            return found
        again = {
            "config.json": f"put back what was there, or start a new run with --config {file}",
            "evaluation.json": f"write it again with corollary evaluate {self.path}",
        }
        return unsealed(found, str(file), again.get(name, "remove it"))

    def find_json(self, name: str) -> Any:
        """The same, None where there is no such file."""
        return self.read_json(name) if (self.path / name).exists() else None

    def write_json(self, name: str, values: Mapping[str, Any] | Sequence[Any]) -> None:
        """Replace one of the JSON files as a whole; a table is sealed."""
        whole = sealed(values) if isinstance(values, Mapping) else values
        write_text(self.path / name, json.dumps(whole, indent=1) + "\n")

    def lock(self) -> FolderLock:
        """Keep other writers out, and clear away what a killed one left half-written."""
        lock = FolderLock(self.path).acquire()
        recover(self.path)
        recover(self.path / "checkpoints")
        return lock

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`; a last line that a kill cut short is left out.

        Raises `RunDamaged` naming the line that is not what was written.
        """
        file = self.path / "metrics.jsonl"
        try:
            lines = file.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        whole = [line for line in lines if line.endswith(b"\n")]
        return [_metrics_line(line, f"{file}:{number}") for number, line in enumerate(whole, start=1)]

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add one line."""
        file = self.path / "metrics.jsonl"
        with readable_errors(file):
            with file.open("a", encoding="utf-8") as out:
                out.write(_line(values))
            sync(file)

    def keep_metrics(self, epochs: int) -> None:
        """Forget lines of epochs from number `epochs` on: they will be run again."""
        kept = [line for line in self.metrics() if line["epoch"] <= epochs]
        write_text(self.path / "metrics.jsonl", "".join(map(_line, kept)))

    @contextmanager
    def resumable(self) -> Iterator[None]:
        """Adds to what is said of a full disk where the training stands and how it goes on."""
        try:
            yield
        except StorageError as error:
            whole = self.epoch_checkpoints()
            where = (
                f"the last checkpoint, {whole[-1].name}, is whole" if whole else "there is no checkpoint yet"
            )
            raise StorageError(
                f"{error}. Training has stopped; {where}. Once that is put right, go on with: "
                f"corollary train --resume {self.path}"
            ) from error

    def checkpoint(self, name: str) -> Path:
        """Folder of a checkpoint, `best`, `final` or `epoch-0003`."""
        return self.path / "checkpoints" / name

    def epoch_checkpoints(self) -> list[Path]:
        """Checkpoints made on the way, oldest first."""
        found = [path for path in (self.path / "checkpoints").glob("epoch-*") if path.is_dir()]
        return sorted(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])

    def finished_checkpoint(self, name: str) -> Path:
        """Folder of a checkpoint that exists; `final` stands in for a `best` that no validation chose.

        Raises `RunError` where training has not come that far, or the name is not among the checkpoints.
        """
        names = [name, "final"] if name == "best" else [name]
        for candidate in names:
            if self.checkpoint(candidate).is_dir():
                return self.checkpoint(candidate)
        there = ", ".join(sorted(path.name for path in (self.path / "checkpoints").glob("[!.]*"))) or "none"
        raise RunError(
            f"{self.path} has no checkpoint {name!r} (there: {there}); to go on training: "
            f"corollary train --resume {self.path}"
        )


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(sealed(values)) + "\n"


def _metrics_line(text: bytes, where: str) -> dict[str, Any]:
    remedy = "remove the line; training goes on without it"
    try:
        found = json.loads(text)
    except ValueError:
        raise RunDamaged(f"{where} is damaged: it is not JSON: {remedy}") from None
    line = unsealed(found, where, remedy)
    if not isinstance(line.get("epoch"), int):
        raise RunDamaged(f"{where} is damaged: it does not say its epoch: {remedy}")
    return line
