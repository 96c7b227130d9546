"""The checkpoints of a run that influence is summed over, opened and checked."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from corollary.budget import Plan
from corollary.errors import ConfigError, GraphMismatch, RunDamaged, RunError
from corollary.explain.encoding import Frozen
from corollary.explain.influence import Checkpoint
from corollary.explain.weights import Weights
from corollary.learners.conve import ConvE
from corollary.runs.conve import build_learner
from corollary.runs.device import settle_threads
from corollary.runs.run import Run
from corollary.runs.tracing.plan import Work as Work
from corollary.runs.tracing.plan import plan_influence as plan_influence
from corollary.training import checkpoints


def checkpoint_names(run: Run) -> list[str]:
    """Those kept for good by `checkpoint_frequency`, oldest first; without any, the one that predicts."""
    every = run.config.training.checkpoint_frequency
    kept = []
    for path in run.folder.epoch_checkpoints() if every else []:
        manifest = checkpoints.read_manifest(path)
        if every and manifest.step == 0 and manifest.epoch % every == 0:
            kept.append(path.name)
    return kept or [run.folder.finished_checkpoint(run.checkpoint).name]


def open_checkpoints(
    run: Run, names: list[str], plan: Plan, *, learning_rate: float | None = None, metric: bool = False
) -> list[Checkpoint]:
    """Models in evaluation mode with their learning rates, on the device of the run.

    Args:
        metric: with what Adam divides gradients by, from the checkpoints' second moments.

    Raises `RunDamaged` naming the checkpoint that is not whole, is of another architecture, or holds numbers that are
    not finite; `RunError` where a learning rate or the moments are missing.
    """
    settle_threads()
    if metric:
        _check_adam(run)
    found = []
    for name in names:
        folder = run.folder.finished_checkpoint(name)
        learner = build_learner(run.config, run.graph, device=run.device, plan=plan, folder=run.path)
        manifest = checkpoints.load(folder, learner)
        rate = manifest.learning_rate if learning_rate is None else learning_rate
        if not 0 < rate < float("inf"):
            raise RunError(
                f"{folder / 'manifest.json'} has learning rate {rate}, and influence is a sum of gradients times "
                "learning rates: give one with --learning-rate"
            )
        _check_finite(learner, str(folder))
        frozen = Frozen(learner.eval())
        scale = _adam_metric(run, folder, manifest, frozen) if metric else None
        found.append(Checkpoint(folder.name, frozen, rate, scale))
    return found


def check_same_graph(run: Run, others: Sequence[Run]) -> None:
    """Raises `GraphMismatch` for a run that was trained on another graph."""
    for other in others:
        if other.graph.fingerprint != run.graph.fingerprint:
            raise GraphMismatch(
                f"{other.path} was trained on {other.graph.path} (fingerprint {other.graph.fingerprint[:12]}) and "
                f"{run.path} on {run.graph.path} ({run.graph.fingerprint[:12]}): an ensemble is of one graph"
            )
        if other.config.model.sides != run.config.model.sides:
            raise ConfigError(
                f"{other.path} and {run.path} predict different sides: an ensemble predicts the same"
            )


def weights_of(names: list[str], run: Run) -> dict[str, str]:
    """Checksums of every weight file of these checkpoints, from their manifests, and of moments where there are any."""
    found = {}
    for name in names:
        folder = run.folder.finished_checkpoint(name)
        for file, checksum in checkpoints.read_manifest(folder).files.items():
            if not file.startswith("average"):
                found[f"{name}/{file}"] = checksum
    return found


def threads() -> int:
    """Threads of matrix products: a part of what the bytes of a result depend on."""
    return torch.get_num_threads()


def _check_finite(learner: ConvE, where: str) -> None:
    values = {**dict(learner.named_parameters()), **dict(learner.named_buffers())}
    odd = next((name for name, value in values.items() if not value.isfinite().all()), None)
    if odd is None:
        table = learner.entities
        for rows in table.block_slices():
            odd = next((n for n, part in zip(table.parts, table.block(rows), strict=False)
                        if part is not None and not part.isfinite().all()), odd)  # fmt: skip
    if odd is not None:
        raise RunDamaged(f"{where} holds numbers in {odd!r} that are not finite: use another checkpoint")


def _check_adam(run: Run) -> None:
    """Raises `ConfigError` where there is no second moment of every parameter."""
    optimizer, model = run.config.training.optimizer, run.config.model
    if optimizer.name not in ("adam", "adamw") or optimizer.table != "same" or model.negatives.sampled:
        raise ConfigError(
            f"measure = adam is for runs trained by adam or adamw over all entities; {run.path} was trained by "
            f"{optimizer.name}{' with sampled negatives' if model.negatives.sampled else ''}: use measure = tracin"
        )


def _adam_metric(run: Run, folder: Path, manifest: checkpoints.Manifest, frozen: Frozen) -> Weights:
    """1 / (sqrt(second moment, its bias corrected) + eps) for every parameter that training moves."""
    if "optimizer.safetensors" not in manifest.files:
        raise RunError(
            f"{folder} holds no moments of the optimiser, which measure = adam divides by: train with "
            "--checkpoint-frequency N --set training.keep_optimizer=true, or name one of the last checkpoints"
        )
    made = Weights.zeros(frozen)
    try:
        found = load_file(folder / "optimizer.safetensors")
        for name, part in made.named(frozen):
            part.copy_(found[f"{name}.second"].view(part.shape))
        for file in sorted(name for name in manifest.files if name.startswith("optimizer-entities-")):
            found, start = load_file(folder / file), int(file.split("-")[-1].split(".")[0])
            for name, part in made.entities.items():
                values = found[f"{name}.second"]
                frozen.entities.storage.store(part, slice(start, start + len(values)), values)
    except (KeyError, RuntimeError, OSError, SafetensorError) as error:
        raise RunDamaged(
            f"{folder} holds other moments than this model has ({error}): use another checkpoint"
        ) from None
    optimizer = run.config.training.optimizer
    correction = 1 - optimizer.beta2**manifest.updates
    made.change(frozen, lambda second: ((second / correction).sqrt() + optimizer.eps).reciprocal())
    return made
