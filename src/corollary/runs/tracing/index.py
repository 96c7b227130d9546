"""An index of the training triples of a run, on disk: built once, asked many times.

    manifest.json                 format, fingerprint of models and graph, options, recall, checksum of every file
    CHECKPOINT/axes.safetensors   what feature maps and small gradients are projected on
    CHECKPOINT/part-00000.safetensors

While it is built it lies in `.building-NAME/` beside, where every part is whole or absent, so that a killed build goes on
at the next part. It gets its name when it is whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveInt
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from corollary.budget import Budget
from corollary.config import Config
from corollary.errors import RunDamaged, RunError, StorageError
from corollary.explain import deltas as meaning
from corollary.explain.deltas import Deletion
from corollary.explain.factors import Factors, factors
from corollary.explain.indexing import Arrays, Axes, Question, entries, evenly
from corollary.explain.influence import Asked, Checkpoint, Hold, Influence
from corollary.explain.products import Asked as AskedFactors
from corollary.explain.products import products
from corollary.graph.answers import AnswerIndex
from corollary.learners.projection import CHUNK_ROWS
from corollary.learners.protocol import Queries
from corollary.losses.workspace import Workspace
from corollary.messages import Say, silent
from corollary.records.sealing import sealed, unsealed
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.models import checkpoint_names, open_checkpoints, weights_of
from corollary.runs.tracing.plan import Work, choose_way
from corollary.runs.tracing.tracin import Bar, deletion_of
from corollary.storage import FolderLock, new_file, readable_errors, refuse_existing, sha256, sync, write_text

FORMAT = 1
PART = 1024
"""Examples of a part, which are worked on together."""
SAMPLE = 2048
"""Queries, evenly spread, whose main axes are taken."""
RESCORED = 1000
"""Candidates of each sign whose influence is made exactly."""
RECALLED = (10, 100)


class IndexConfig(Config):
    """What an index holds."""

    checkpoints: tuple[str, ...] = ()
    """Names. Not given: those kept by checkpoint_frequency, else the one that predicts."""
    learning_rate: NonNegativeFloat | None = None
    """In place of the checkpoints' own."""
    deletion: Deletion | None = None
    """As in `TracInConfig`."""
    components: PositiveInt = 256
    """Numbers that feature maps and small gradients are projected to."""
    samples: PositiveInt = 8
    """Triples, evenly spread over the test split, that recall is measured on."""


@dataclass(frozen=True)
class IndexInfo:
    """What `manifest.json` says of an index."""

    folder: str
    checkpoints: dict[str, float]
    deletion: Deletion
    components: int
    examples: int
    parts: int
    bytes: int
    rescored: int
    recall: dict[str, float]
    """By k: share of the exact k largest, of both signs, among the candidates of the index."""

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def build_index(
    run: Run,
    folder: Path,
    config: IndexConfig = IndexConfig(),
    *,
    memory_limit: str | int | None = None,
    progress: Bar | None = None,
    say: Say = silent,
) -> IndexInfo:
    """Write an index of the training triples of a run; a build that was killed goes on.

    On disk about 2 * (3 * dim + components) bytes an example and 2 * (dim + components) a query, for each checkpoint.
    Raises `StorageError` where something stands at `folder`.
    """
    refuse_existing(folder)
    run.graph.verify()
    names = list(config.checkpoints) or checkpoint_names(run)
    deletion = deletion_of(run, TracInConfig(deletion=config.deletion))
    index = run.graph.answers("train")
    index = index if run.config.model.sides == "both" else index.one_side("tail")
    count = index.num_examples
    sampled = _sampled(run, config.samples)
    kept = 4 * len(sampled) * run.graph.info.num_triples["train"] + 4 * SAMPLE * run.config.model.features()
    work = Work(len(sampled), 1, count, kept, unit=PART // 2)
    plan, hold = choose_way([run], work, Budget.parse(memory_limit))
    building = folder.with_name(f".building-{folder.name}")
    with readable_errors(folder):
        building.mkdir(parents=True, exist_ok=True)
        with FolderLock(building):
            _begin(building, _fingerprint(run, names, config, deletion), say)
            exact = np.zeros((len(sampled), run.graph.info.num_triples["train"]))
            nearly, rates = np.zeros_like(exact), {}
            for number, name in enumerate(names):
                [point] = open_checkpoints(run, [name], plan, learning_rate=config.learning_rate)
                rates[point.name] = point.learning_rate
                maker = _Maker(run, point, index, deletion, sampled, config, hold)
                maker.make(
                    building / point.name,
                    exact,
                    nearly,
                    lambda done, n=number: progress and progress(n * count + done, len(names) * count),
                )
            info = _finish(
                building, folder, run, config, deletion, rates, count, _recall(exact, nearly), names
            )
    return info


class _Maker:
    """Parts of one checkpoint."""

    def __init__(
        self,
        run: Run,
        point: Checkpoint,
        index: AnswerIndex,
        deletion: Deletion,
        sampled: Int[np.ndarray, "samples 3"],
        config: IndexConfig,
        hold: Hold,
    ) -> None:
        self.run, self.point, self.index, self.deletion = run, point, index, deletion
        self.config, self.hold = config, hold
        self.frozen, self.workspace = point.frozen, Workspace()
        influence = Influence([point], run.graph.answers("train"), deletion=deletion, hold=hold)
        self.asked = influence.ask(Asked(sampled)).asked[0]
        self.samples = len(sampled)

    def make(self, folder: Path, exact: np.ndarray, nearly: np.ndarray, done: Any) -> None:
        """Write the parts that are not there, and add what they say of the sampled triples."""
        folder.mkdir(exist_ok=True)
        axes = self._axes(folder)
        questions = [
            Question(self.asked, list(range(number, self.asked.count, self.samples)), axes)
            for number in range(self.samples)
        ]
        for number, start in enumerate(range(0, self.index.num_examples, PART)):
            some = slice(start, min(start + PART, self.index.num_examples))
            place, beside = (
                folder / f"part-{number:05d}.safetensors",
                folder / f"exact-{number:05d}.safetensors",
            )
            if not (place.exists() and beside.exists()):
                self._write(some, axes, place, beside)
            rows = np.asarray(self.index.triples[some])
            rate = self.point.learning_rate
            np.add.at(exact.T, rows, rate * _read(beside)["exact"])
            part = _read(place)
            answers = answers_of(self.index, part)
            for sample, question in enumerate(questions):
                np.add.at(nearly[sample], rows, rate * question.scores(part, answers).numpy())
            done(some.stop)

    def _axes(self, folder: Path) -> Axes:
        """From a sample of queries, each with its first answer."""
        place = folder / "axes.safetensors"
        if not place.exists():
            examples = np.asarray(self.index.offsets[evenly(self.index.num_queries, SAMPLE)])
            f, k = torch.empty(len(examples), self.frozen.projection.shape[1]), []
            for start in range(0, len(examples), CHUNK_ROWS):
                some = self._factors(examples[start : start + CHUNK_ROWS])
                every = torch.arange(len(some.of))
                f[start : start + len(every)] = some.encoded.maps_of(self.frozen, every, self.workspace)[1]
                k.append(some.k)
            axes = Axes.of(f, torch.cat(k), self.config.components)
            _write(place, {"f": axes.f.numpy(), "k": axes.k.numpy()})
        return read_axes(place)

    def _write(self, some: slice, axes: Axes, place: Path, beside: Path) -> None:
        found = self._factors(np.arange(some.start, some.stop), against=self.asked)
        exact = products(found, self.asked, self.workspace).view(len(found.of), -1, self.samples).sum(1)
        _write(beside, {"exact": exact.numpy()})
        _write(place, entries(self.frozen, found, axes, self.workspace))

    def _factors(
        self, examples: Int[np.ndarray, " examples"], against: AskedFactors | None = None
    ) -> Factors:
        """Of examples by their place in the index of answers, ascending."""
        index, config = self.index, self.frozen.config
        query = np.searchsorted(np.asarray(index.offsets), examples, side="right") - 1
        distinct, of = np.unique(query, return_inverse=True)
        entity, relation = index.queries(distinct)
        answers = torch.from_numpy(np.asarray(index.answers[examples]).astype(np.int64))
        labels, like, size = self.frozen.learner.labels, self.frozen.filters, self.frozen.entities.num_rows
        if self.deletion == "example":
            deltas = meaning.of_examples(config, labels, answers, like=like, num_entities=size)
        else:
            offsets, row = index.gather(distinct)
            known = torch.from_numpy(offsets), torch.from_numpy(row.astype(np.int64))
            deltas = meaning.of_labels(
                config, labels, torch.from_numpy(of), answers, *known, like=like, num_entities=size
            )
        queries = Queries(torch.from_numpy(entity), torch.from_numpy(relation))
        return factors(
            self.frozen,
            queries,
            torch.from_numpy(of),
            deltas,
            self.workspace,
            against=against,
            keep=self.hold.maps,
        )


def read_axes(place: Path) -> Axes:
    """What a checkpoint's index projects on."""
    found = _read(place)
    return Axes(torch.from_numpy(found["f"]), torch.from_numpy(found["k"]))


def answers_of(index: AnswerIndex, part: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Known answers of a part's queries, where an example has a weight on them; else none."""
    if not part["beta"].any():
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    offsets, ids = index.gather(index.find(part["head"].astype(np.int64), part["relation"].astype(np.int64)))
    return offsets, ids.astype(np.int64)


def open_index(run: Run, folder: Path) -> tuple[IndexInfo, dict[str, str]]:
    """An index, and the checksums of its files.

    Raises `RunError` where it is none or of another model or graph, `RunDamaged` where its manifest is damaged.
    """
    try:
        found = unsealed(
            json.loads((folder / "manifest.json").read_bytes()), str(folder), "build the index again"
        )
        files, mark = found.pop("files"), found.pop("fingerprint")
        if found.pop("format") != FORMAT:
            raise RunError(f"{folder} has another format than this version reads: build the index again")
        config = IndexConfig(**found.pop("options"))
        info = IndexInfo(**{**found, "folder": str(folder)})
    except FileNotFoundError:
        raise RunError(
            f"{folder} is not an index: make one with 'corollary tracin index {run.path}'"
        ) from None
    except (ValueError, KeyError, TypeError, OSError):
        raise RunDamaged(f"{folder / 'manifest.json'} is damaged: build the index again") from None
    if mark != _fingerprint(run, list(info.checkpoints), config, info.deletion):
        raise RunError(
            f"{folder} is of another model or graph than {run.path} now has: build the index again"
        )
    return info, files


def read_part(folder: Path, name: str, checksum: str) -> Arrays:
    """One file of an index. Raises `RunDamaged` where it is not what was written."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise RunDamaged(f"{folder / name} cannot be read ({error}): build the index again") from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise RunDamaged(f"{folder / name} has changed since it was written: build the index again")
    return load(content)


def _sampled(run: Run, wanted: int) -> Int[np.ndarray, "samples 3"]:
    """Of the test split, else of another."""
    graph = run.graph
    split = next(name for name in ("test", "valid", "train") if graph.info.num_triples.get(name))
    triples = graph.triples(split)
    return np.asarray(triples[evenly(len(triples), wanted)]).astype(np.int64)


def _fingerprint(run: Run, names: Sequence[str], config: IndexConfig, deletion: Deletion) -> str:
    """Of everything that decides what an index holds."""
    weights = {name: mark for name, mark in weights_of(list(names), run).items() if "/optimizer" not in name}
    parts = {
        "models": weights,
        "graph": run.graph.fingerprint,
        "options": config.model_dump(mode="json", exclude={"checkpoints"}),
        "deletion": deletion,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _begin(building: Path, mark: str, say: Say) -> None:
    """Go on where a build of the same index stopped; clear away another one's parts."""
    note = building / "fingerprint"
    if note.exists() and note.read_text(encoding="utf-8") == mark:
        parts = len(list(building.glob("*/part-*.safetensors")))
        say(f"going on after {parts} parts in {building}")
        return
    for entry in building.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    write_text(note, mark)


def _finish(
    building: Path,
    folder: Path,
    run: Run,
    config: IndexConfig,
    deletion: Deletion,
    rates: dict[str, float],
    examples: int,
    recall: dict[str, float],
    names: Sequence[str],
) -> IndexInfo:
    """Checksums and manifest; then the folder gets its name."""
    for entry in (*building.glob("*/exact-*"), *building.glob("*/.partial-*")):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    paths = sorted(building.glob("*/*.safetensors"))
    files = {str(path.relative_to(building)): sha256(path) for path in paths}
    size = sum(path.stat().st_size for path in paths)
    info = IndexInfo(
        "", rates, deletion, config.components, examples, len(paths) - len(rates), size, RESCORED, recall
    )
    values = {
        **asdict(info), "format": FORMAT, "fingerprint": _fingerprint(run, names, config, deletion),
        "options": config.model_dump(mode="json"), "files": files,
    }  # fmt: skip
    del values["folder"]
    (building / "fingerprint").unlink(missing_ok=True)
    write_text(building / "manifest.json", json.dumps(sealed(values), indent=1) + "\n")
    (building / ".lock").unlink()
    try:
        os.rename(building, folder)
    except OSError as error:
        raise StorageError(f"{folder} was made by another process meanwhile ({error})") from error
    sync(folder.parent)
    return IndexInfo(**{**asdict(info), "folder": str(folder)})


def _recall(exact: Float[np.ndarray, "samples train"], nearly: np.ndarray) -> dict[str, float]:
    """Mean over samples and signs of the share of the exact k largest among the candidates."""
    found = {}
    for k in RECALLED:
        shares = []
        for one, other in zip(exact, nearly, strict=True):
            for sign in (1, -1):
                best = np.argsort(-sign * one, kind="stable")[:k]
                best = best[sign * one[best] > 0]
                chosen = np.argsort(-sign * other, kind="stable")[:RESCORED]
                shares.append(float(np.isin(best, chosen).mean()) if len(best) else 1.0)
        found[str(k)] = float(np.mean(shares))
    return found


def _write(place: Path, arrays: Arrays) -> None:
    with new_file(place) as partial:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial)


def _read(place: Path) -> Arrays:
    try:
        return load(place.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise RunDamaged(
            f"{place} cannot be read ({error}): remove {place.parent.parent} and build again"
        ) from None


def parts_of(files: dict[str, str], name: str) -> Iterator[str]:
    """Names of the parts of one checkpoint, in order."""
    yield from sorted(file for file in files if file.startswith(f"{name}/part-"))
