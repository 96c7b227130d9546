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
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from corollary.errors import RunDamaged, StorageError
from corollary.learners.protocol import Files, HasFiles
from corollary.records.sealing import sealed, unsealed
from corollary.storage import new_folder, remove_folder, sha256

FORMAT = 1


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


def save(path: Path, *parts: HasFiles, position: Mapping[str, Any], replace: bool = False) -> None:
    """Write one checkpoint as a whole: the learner, and what going on needs beside it (steps, an average).

    Raises `StorageError` where the disk refuses it; what stood at `path` is still there.
    """
    try:
        with new_folder(path, replace=replace) as folder:
            for name, values in _files(parts):
                save_file({key: value.contiguous() for key, value in values.items()}, folder / name)
            files = {file.name: sha256(file) for file in sorted(folder.iterdir())}
            _write_manifest(folder, Manifest(format=FORMAT, files=files, **position))
    except StorageError as error:
        needed = sum(
            value.numel() * value.element_size() for _, values in _files(parts) for value in values.values()
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


def load(path: Path, *parts: HasFiles) -> Manifest:
    """Put a checkpoint into a learner, and into whatever else of what was saved is given.

    A checkpoint that is replaced by a training meanwhile is read again. Raises `RunDamaged` naming the file that is
    missing, changed, or does not fit the learner; nothing is loaded before every checksum has been compared.
    """
    while True:
        before = _identity(path)
        try:
            manifest = _load(path, parts)
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
def _load(path: Path, parts: Sequence[HasFiles]) -> Manifest:
    manifest = read_manifest(path)
    for name, checksum in manifest.files.items():
        if not (path / name).is_file() or sha256(path / name) != checksum:
            raise RunDamaged(
                f"{path / name} is missing or has changed since it was written: use another checkpoint"
            )
    for name, targets in _files(parts):
        _fill(path / name, targets)
    return manifest


def _files(parts: Sequence[HasFiles]) -> Files:
    """Every file of a checkpoint with the tensors, or views of them, that it holds."""
    return chain.from_iterable(part.files() for part in parts)


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
