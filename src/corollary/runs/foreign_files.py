"""Weights that another program wrote, read without ever running what is in them.

A `.pt` or `.pth` file is a pickle: it is opened with torch's weights-only reader, which knows tensors, numbers, text
and containers and refuses everything else. A `.safetensors` file holds nothing else anyway.
"""

import json
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from corollary.errors import InputError
from corollary.graph.reading.archives import Unpacked
from corollary.graph.reading.id_files import Kind, read_ids
from corollary.graph.reading.readers import Reading
from corollary.graph.reading.staging import Staging
from corollary.messages import Say

PYKEEN_MODEL = "trained_model.pkl"
ID_FILES: Mapping[Kind, str] = {"entity": "entity_to_id.tsv.gz", "relation": "relation_to_id.tsv.gz"}
"""As PyKEEN writes them into `training_triples`."""
_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
_STATES = ("model_state_dict", "state_dict", "model")
"""Keys under which programs put the weights of a checkpoint that holds more than that."""
_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""
_NUMBERS = [
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
]
"""A metric that was left a NumPy number; holds no code."""


@dataclass(frozen=True)
class Weights:
    """One file of weights. Tensors are mapped from the file and by the names that its program gave them."""

    path: Path
    tensors: Mapping[str, Tensor]
    epoch: int | None
    """What the file says, counted as its program counts."""
    learning_rate: float | None
    updates: int
    """Optimiser steps; 0 where the file does not say."""
    described: Mapping[str, Any]
    """What the file says of the architecture."""

    @property
    def number(self) -> int | None:
        """The last number in the file's name: `checkpoint_epoch_12.pt` is 12."""
        found = re.findall(r"\d+", self.path.stem)
        return int(found[-1]) if found else None


def weight_files(source: Path) -> list[Path]:
    """The files to read: `source` itself, or those in the folder and its `checkpoints`, in the order of their names.

    Raises `InputError` where there are none, with what to do where PyKEEN's pickled model lies there.
    """
    if source.is_file():
        if source.name == PYKEEN_MODEL:
            raise InputError(_save_it_as_weights(source))
        return [source]
    if not source.is_dir():
        raise InputError(f"{source} does not exist: give a file of weights or the folder it lies in")
    found = [
        file
        for folder in (source, source / "checkpoints")
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix in _SUFFIXES and file.is_file()
    ]
    if found:
        return found
    if (source / PYKEEN_MODEL).is_file():
        raise InputError(_save_it_as_weights(source / PYKEEN_MODEL))
    raise InputError(f"{source} holds no weights: expected a file that ends in {', '.join(_SUFFIXES)}")


def _save_it_as_weights(path: Path) -> str:
    """Advice for the user's own hands: nothing here opens the file."""
    return (
        f"{path} is a pickle of a whole model, which can run code when it is opened, so it is never opened here. Where "
        f"PyKEEN is installed and you trust the file, two lines of Python write its weights beside it:\n"
        f'    model = torch.load("{path}", weights_only=False)\n'
        f'    torch.save(model.state_dict(), "{path.with_name("state.pt")}")\n'
        f"then import {path.with_name('state.pt')}"
    )


def read_weights(path: Path) -> Weights:
    """Open one file. Raises `InputError` where it is damaged, holds objects, or holds no tensors."""
    content = _content(path)
    state = next((content[key] for key in _STATES if isinstance(content.get(key), Mapping)), content)
    tensors = {_bare(str(name)): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(
            f"{path} holds no tensors: expected a state dict, alone or under {', '.join(map(repr, _STATES))}"
        )
    optimizer = content.get("optimizer_state_dict")
    optimizer = optimizer if isinstance(optimizer, Mapping) else {}
    groups = optimizer.get("param_groups") or [content]
    rate = groups[0].get("lr", content.get("learning_rate"))
    steps = [state["step"] for state in (optimizer.get("state") or {}).values() if "step" in state]
    epoch, described = content.get("epoch"), content.get("model_config")
    return Weights(
        path=path,
        tensors=tensors,
        epoch=int(epoch) if isinstance(epoch, int | float) else None,
        learning_rate=float(rate) if isinstance(rate, int | float) else None,
        updates=max((int(step) for step in steps), default=0),
        described=described if isinstance(described, Mapping) else {},
    )


def _content(path: Path) -> Mapping[str, Any]:
    _check_magic(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_NUMBERS):
            warnings.simplefilter("ignore")  # of a newer pickle protocol: what it cannot read it refuses
            try:
                content = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
            except (RuntimeError, ValueError):  # written before torch 1.6, which cannot be mapped
                content = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        what = re.search(r"GLOBAL (\S+)", str(error))
        raise InputError(
            f"{path} holds more than weights{f' ({what[1]})' if what else ''}, and what a pickle holds can run code when "
            f"it is opened, so it is not opened here. Where you trust the file, write its weights alone: "
            f'torch.save(torch.load("{path}", weights_only=False)["model_state_dict"], "state.pt")'
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read as weights of torch or safetensors: {str(error).splitlines()[0]}"
        ) from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}: expected a state dict")
    return content


def _check_magic(path: Path) -> None:
    """Raises `InputError` for what neither torch nor safetensors writes."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not (start.startswith((b"PK", b"\x80")) or start[8:] == b"{"):
        raise InputError(f"{path} is no file of weights: neither torch nor safetensors wrote it")


def _bare(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def read_labels(path: Path, kind: Kind, *, beside: Path, say: Say) -> list[str]:
    """Labels in the order of their ids, from a file of labels and ids in any of the layouts that an import reads.

    Args:
        beside: the output; the database that reads the file lies beside it meanwhile.
    """
    with Staging(beside.parent, None) as staging:
        unpacked = Unpacked(staging.folder / "unpacked")
        reading = Reading(staging, unpacked, "raise", lambda message: say(unpacked.name(message)))
        with unpacked.named():
            quotes = True if path.name == ID_FILES[kind] else None  # pandas quotes where it must
            read_ids(reading, unpacked.plain(path), kind, quotes=quotes)
        rows = staging.connection.execute(f"SELECT label FROM {kind}_ids ORDER BY id").fetchall()
    return [label for (label,) in rows]


def id_file(source: Path, kind: Kind) -> Path | None:
    """PyKEEN's own file of labels and ids, in or beside the folder of the weights."""
    for folder in _around(source):
        for place in (folder, folder / "training_triples"):
            if (place / ID_FILES[kind]).is_file():
                return place / ID_FILES[kind]
    return None


def script_config(source: Path) -> Mapping[str, Any]:
    """`config.json` of a plain training script, in or beside the folder of the weights; empty where there is none."""
    for folder in _around(source):
        try:
            table = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # none, or of another program
        if isinstance(table, dict) and "output_channels" in (table.get("model") or {}):
            return {"path": str(folder / "config.json"), **table}
    return {}


def _around(source: Path) -> Iterator[Path]:
    folder = source if source.is_dir() else source.parent
    yield folder
    if folder.name == "checkpoints":
        yield folder.parent
