"""Checkpoints: weights, buffers, optimiser, average and the state of the loop, in safetensors with a manifest.

    manifest.json                       position, learning rate, loop state, checksum of every file
    weights.safetensors                 parameters and buffers outside the entity table
    entities-0000000.safetensors        rows of the table; the number is the first row
    optimizer.safetensors, optimizer-entities-*.safetensors
    average.safetensors, average-entities-*.safetensors

Row files hold whole blocks of the table, so nothing in them depends on how many processes wrote them.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from corollary.errors import RunDamaged, StorageError
from corollary.learners.planning import ROW_FILE_BLOCKS
from corollary.learners.protocol import Learner
from corollary.records.sealing import sealed, unsealed
from corollary.storage import new_folder, remove_folder, sha256
from corollary.training.averaging import Average, tensors

FORMAT = 1
_TABLE = "entities."
States = dict[str, dict[str, Tensor]]


class Manifest(BaseModel):
    """The content of `manifest.json`."""

    model_config = ConfigDict(frozen=True)
    format: int
    epoch: int
    """Epochs finished."""
    step: int
    """Batches finished in the epoch that is under way."""
    updates: int
    """Optimiser steps since the start."""
    learning_rate: float
    averaged: bool
    """Whether the weights are the moving average."""
    loop: dict[str, Any]
    files: dict[str, str]


def save(
    path: Path,
    learner: Learner,
    position: Mapping[str, Any],
    *,
    states: States | None,
    average: Average | None,
    replace: bool = False,
) -> None:
    """Write one checkpoint as a whole. Without `states` and `average` it serves inference and influence only.

    Raises `StorageError` where the disk refuses it; what stood at `path` is still there.
    """
    try:
        with new_folder(path, replace=replace) as folder:
            for name, values in _contents(learner, states, average):
                save_file({key: value.contiguous() for key, value in values.items()}, folder / name)
            files = {file.name: sha256(file) for file in sorted(folder.iterdir())}
            _write_manifest(folder, Manifest(format=FORMAT, files=files, **position))
    except StorageError as error:
        needed = sum(
            value.numel() * value.element_size()
            for _, values in _contents(learner, states, average)
            for value in values.values()
        )
        free = shutil.disk_usage(path.parent).free
        raise StorageError(
            f"{error} (the checkpoint takes {needed:,} bytes, and {free:,} are free)"
        ) from error


def read_manifest(path: Path) -> Manifest:
    """The manifest of a checkpoint. Raises `RunDamaged`, also where a number in it has changed."""
    file, remedy = path / "manifest.json", "use another checkpoint"
    try:
        manifest = Manifest.model_validate(unsealed(json.loads(file.read_bytes()), str(file), remedy))
    except (OSError, ValueError, RunDamaged):
        raise RunDamaged(f"{file} is missing or damaged: {remedy}") from None
    if manifest.format != FORMAT:
        raise RunDamaged(f"{path} has checkpoint format {manifest.format}; this version reads {FORMAT}")
    return manifest


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    text = json.dumps(sealed(manifest.model_dump(mode="json")), indent=1)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
    mode = (folder / "manifest.json").stat().st_mode
    for name in manifest.files:
        (folder / name).chmod(mode)  # safetensors lets nobody but the owner read what it writes


def load(
    path: Path, learner: Learner, *, states: States | None = None, average: Average | None = None
) -> Manifest:
    """Put a checkpoint into a learner, and into optimiser states and an average where given.

    A checkpoint that is replaced by a training meanwhile is read again. Raises `RunDamaged` naming the file that is
    missing, changed, or does not fit the learner; nothing is loaded before every checksum has been compared.
    """
    while True:
        before = _identity(path)
        try:
            manifest = _load(path, learner, states, average)
        except RunDamaged:
            if _identity(path) in (None, before):
                raise
            continue
        if _identity(path) in (None, before):
            return manifest


def _identity(path: Path) -> int | None:
    """Tells one folder from another that takes its name."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


@torch.no_grad()
def _load(path: Path, learner: Learner, states: States | None, average: Average | None) -> Manifest:
    manifest = read_manifest(path)
    for name, checksum in manifest.files.items():
        if not (path / name).is_file() or sha256(path / name) != checksum:
            raise RunDamaged(
                f"{path / name} is missing or has changed since it was written: use another checkpoint"
            )
    for name, targets in _contents(learner, states, average):
        _fill(path / name, targets)
    return manifest


def _contents(
    learner: Learner, states: States | None, average: Average | None
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every file of a checkpoint with the tensors, or views of them, that it holds."""
    table = learner.entities
    yield "weights.safetensors", {n: t for n, t in tensors(learner).items() if not n.startswith(_TABLE)}
    if states is not None:
        yield (
            "optimizer.safetensors",
            {f"{n}.{m}": t for n, state in states.items() for m, t in state.items()},
        )
    if average is not None:
        yield "average.safetensors", {n: t for n, t in average.values.items() if not n.startswith(_TABLE)}
    step = ROW_FILE_BLOCKS * table.block_rows
    for start in range(0, table.num_rows, step):
        rows, name = slice(start, start + step), f"entities-{start:07d}.safetensors"
        view = table.storage.view
        yield name, {part: view(values, rows) for part, values in table.parts.items()}
        if states is not None:
            yield (
                f"optimizer-{name}",
                {moment: view(values, rows) for moment, values in table.moments.items()},
            )
        if average is not None:
            yield f"average-{name}", {part: view(average.values[_TABLE + part], rows) for part in table.parts}


def prune(checkpoints: list[Path], *, keep: int, keep_every: int | None, keep_optimizer: bool) -> None:
    """Leave the last `keep`; of older ones only every `keep_every`th epoch, without what resuming alone needs.

    A checkpoint whose manifest is damaged is of no use and goes too.
    """
    for path in checkpoints[:-keep]:
        try:
            manifest = read_manifest(path)
        except RunDamaged:
            remove_folder(path)
            continue
        if keep_every and manifest.step == 0 and manifest.epoch % keep_every == 0:
            _strip(path, manifest, keep_optimizer=keep_optimizer)
        else:
            remove_folder(path)


def _strip(path: Path, manifest: Manifest, *, keep_optimizer: bool) -> None:
    """Drop the average, and the optimiser unless it is to be kept."""
    gone = [
        name
        for name in manifest.files
        if name.startswith("average") or (name.startswith("optimizer") and not keep_optimizer)
    ]
    if not gone:
        return
    files = {name: checksum for name, checksum in manifest.files.items() if name not in gone}
    smaller = manifest.model_copy(update={"files": files})
    with new_folder(path, replace=True) as folder:
        for name in files:
            (folder / name).hardlink_to(path / name)
        _write_manifest(folder, smaller)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise RunDamaged(f"{path} cannot be read: {error}") from None


def _fill(path: Path, targets: Mapping[str, Tensor]) -> None:
    values = _read(path)
    if set(values) != set(targets):
        odd = sorted(set(values) ^ set(targets))[0]
        raise RunDamaged(f"{path} does not fit this model: {odd!r} is in one of them only")
    for name, target in targets.items():
        if values[name].shape != target.shape:
            raise RunDamaged(
                f"{path} does not fit this model: {name!r} is {tuple(values[name].shape)}, not {tuple(target.shape)}"
            )
        target.copy_(values[name])
