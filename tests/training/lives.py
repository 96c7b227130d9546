"""A small training, and the same in a process of its own that may be killed at any moment.

Processes are forked from one server that has imported everything, so that a life costs what its training costs.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from corollary.errors import CorollaryError
from corollary.graph.folder import Graph
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.protocol import Queries
from corollary.records.run_folder import RunFolder
from corollary.storage import sha256
from corollary.training.averaging import Average
from corollary.training.loop import Loop, LoopState, Silent, TrainingConfig
from corollary.training.steps import GradientSteps

MODEL = {"embedding_dim": 12, "channels": 4, "batch_size": 25, "block_rows": 7}
VARYING = ("seconds", "validation_seconds", "resident_bytes", "peak_bytes")


class Steps(Silent):
    """Calls `told` after every optimiser step."""

    def __init__(self, told: Callable[[LoopState], None]) -> None:
        self._told = told

    def stepped(self, *, state: LoopState, examples: int, loss: float, lr: float) -> None:
        self._told(state)


def small_loop(
    graph: Graph,
    folder: RunFolder,
    training: Mapping[str, Any],
    *,
    told: Callable[[LoopState], None] | None = None,
    validated: bool = True,
    **model: Any,
) -> Loop:
    """A loop over a small ConvE; it validates on the mean probability of validation answers."""
    learner = ConvE(
        ConvEConfig(**{**MODEL, **model}),
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        seed=1,
    )
    held_out = torch.from_numpy(graph.triples("valid").astype("int64"))

    def validate() -> dict[str, float]:
        prepared = learner.prepare(Queries(held_out[:, 0], held_out[:, 1]))
        scores = learner.scores(prepared, slice(0, graph.num_entities)).softmax(1)
        return {"mrr": scores.gather(1, held_out[:, 2:]).mean().item()}

    config = TrainingConfig.build(training)
    steps = GradientSteps(
        learner,
        config.optimizer,
        device=torch.device("cpu"),
        accumulation=config.accumulation,
        clip_norm=config.clip_norm,
    )
    return Loop(
        learner,
        steps,
        graph,
        config,
        folder,
        seed=5,
        device=torch.device("cpu"),
        average=Average(learner, config.average_decay) if config.average_decay else None,
        validate=validate if validated else None,
        planned_bytes=0,
        observer=Steps(told) if told else None,
    )


def start_or_resume(path: Path) -> RunFolder:
    """The run folder, made when it is first asked for."""
    return RunFolder.open(path) if (path / "config.json").exists() else RunFolder.create(path, {})


def live(
    path: Path, graph: Path, training: Mapping[str, Any], messages: Connection, last_call: int | None
) -> None:
    """One life: goes on with the run until it ends. After `last_call` Python calls it kills itself; those of loading
    compiled code are not counted, since they are most of all and nothing is at stake in them.

    Sends the number of every step, at the end the number of calls; or the message of the error it met.
    """
    torch.set_num_threads(1)
    _load_compiled_code(graph)
    calls = 0

    def count(*event: object) -> None:
        nonlocal calls
        calls += 1
        if calls == last_call:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        folder = start_or_resume(path)
        with folder.lock():
            loop = small_loop(Graph.open(graph), folder, training, told=lambda s: messages.send(s.updates))
            loop.resume()
            loop.train()
        messages.send({"calls": calls})
    except CorollaryError as error:
        messages.send({"error": type(error).__name__, "message": str(error)})
    finally:
        sys.setprofile(None)


def _load_compiled_code(graph: Path) -> None:
    """One loss of a model that is thrown away."""
    learner = ConvE(ConvEConfig(**MODEL), num_entities=30, num_relations=3, seed=0)
    learner.loss(learner.batches(Graph.open(graph), seed=0, epoch=0)[0]).backward()


def record(path: Path) -> dict[str, Any]:
    """What two runs of the same bytes have in common: checksums of weights, positions, metrics."""
    run, found = RunFolder.open(path), {}
    for name in ("best", "final"):
        for file in sorted(run.checkpoint(name).glob("*.safetensors")):
            found[f"{name}/{file.name}"] = sha256(file)
        manifest = json.loads((run.checkpoint(name) / "manifest.json").read_text())
        found[f"{name}/loop"] = manifest["loop"]
    lines = [{key: value for key, value in line.items() if key not in VARYING} for line in run.metrics()]
    return {**found, "metrics": lines}
