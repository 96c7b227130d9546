"""TracIn over the checkpoints of a run: which training triples made the model say this."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Int

from corollary.budget import Budget, Plan, peak_bytes, restart_peak
from corollary.errors import ConfigError, InputError
from corollary.explain.deltas import Deletion
from corollary.explain.ensemble import Ensemble, Scores
from corollary.explain.influence import (
    UNIT,
    Asked,
    Hold,
    Influence,
    influences,
    shared_order,
)
from corollary.graph.folder import Graph
from corollary.losses.workspace import Workspace
from corollary.messages import Say, silent
from corollary.runs.run import Run
from corollary.runs.tracing.candidates import asked_triples as asked_triples
from corollary.runs.tracing.candidates import candidate_rows, near
from corollary.runs.tracing.candidates import training_rows as training_rows
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.listing import distribution_of, traced
from corollary.runs.tracing.models import (
    check_same_graph,
    checkpoint_names,
    open_checkpoints,
    threads,
    weights_of,
)
from corollary.runs.tracing.note import Note
from corollary.runs.tracing.paths import PathEdges
from corollary.runs.tracing.plan import Work, choose_way
from corollary.runs.tracing.results import Named, Naming, Suspect, Suspects, TracInResult
from corollary.runs.tracing.sums import Sums

SAVED_EVERY = 30.0
"""Seconds between two notes of how far a run has come."""


class Bar(Protocol):
    """What is told how far the work has come."""

    def __call__(self, done: int, total: int) -> None: ...


def tracin(
    run: Run,
    triples: Int[np.ndarray, "asked 3"],
    config: TracInConfig = TracInConfig(),
    *,
    rivals: Sequence[int] | None = None,
    candidates: Int[np.ndarray, " rows"] | None = None,
    ensemble: Sequence[Run] = (),
    memory_limit: str | int | None = None,
    state: Path | None = None,
    saved_every: float = SAVED_EVERY,
    progress: Bar | None = None,
    say: Say = silent,
) -> TracInResult:
    """Influence of the training triples on the asked ones, exact over all parameters that training moved.

    Two calls give the same bytes, also where one of them went on after a kill, and under any memory limit.

    Args:
        triples: entity and relation ids, known or not; `asked_triples` reads them from labels.
        rivals: for a contrast, the answer that each triple's own is compared with.
        candidates: rows of the training split to look at; all when not given.
        ensemble: other runs on the same graph; every number is the mean over all of them.
        memory_limit: most resident memory of the process, such as 1GiB; decides what is held and what is made again.
        state: a file that notes how far the work has come, so that the same call goes on there; removed at the end.

    Raises `PlanDoesNotFit` before any work, `RunDamaged` and `RunError` for a checkpoint that cannot be used.
    Source: see `corollary.explain.influence`.
    """
    restart_peak()
    _check(run, triples, config, rivals)
    run.graph.verify()
    runs = [run, *ensemble]
    check_same_graph(run, ensemble)
    pairs = np.array(rivals, dtype=np.int64) if rivals is not None else None
    asked = Asked(np.asarray(triples), config.target, config.sides(), pairs)
    sweep = _Sweep.of(run, config, asked, candidate_rows(run.graph, config.relations, candidates))
    names = [list(config.checkpoints) or checkpoint_names(one) for one in runs]
    plan, hold = _planned(runs, config, names, sweep, Budget.parse(memory_limit))
    influence, rates = open_influence(runs, names, config, plan, hold)
    reference = influence.ask(asked)
    note = Note(state, saved_every, _fingerprint(runs, config, names, sweep))
    sums = sweep.run(influence, reference, note, progress, say)
    found = TracInResult(
        run=run.folder.name,
        measure=config.measure,
        target=config.target,
        deletion=deletion_of(run, config),
        checkpoints=rates,
        block=sweep.block,
        planned_bytes=plan.total,
        peak_bytes=0,
        triples=traced(Naming(run.graph), influence, config, asked, reference, sweep.rows, sums, list(rates)),
        ensemble=[other.folder.name for other in ensemble],
        distribution=distribution_of(sums) if config.distribution else None,
    )
    note.remove()
    return replace(found, peak_bytes=measured_peak(run))


def suspects(
    run: Run,
    config: TracInConfig = TracInConfig(),
    *,
    by: Literal["loss", "self_influence"] = "loss",
    candidates: Int[np.ndarray, " rows"] | None = None,
    ensemble: Sequence[Run] = (),
    memory_limit: str | int | None = None,
    progress: Bar | None = None,
) -> Suspects:
    """Training triples that the model finds hard, the `top_k` largest by loss or by self-influence first.

    Wrong triples gather there; `tracin verify` says which of the two finds more planted ones.
    """
    run.graph.verify()
    check_same_graph(run, ensemble)
    runs, rows = [run, *ensemble], candidate_rows(run.graph, config.relations, candidates)
    names = [list(config.checkpoints) or checkpoint_names(one) for one in runs]
    work = Work(
        asked=0, checkpoints=max(len(some) for some in names), candidates=len(rows), results=16 * len(rows),
        unit=UNIT, pairs=True, recompute=config.recompute,
    )  # fmt: skip
    plan, hold = choose_way(runs, work, Budget.parse(memory_limit))
    influence, rates = open_influence(runs, names, config, plan, hold)
    split = run.graph.triples("train")
    order = rows[shared_order(np.asarray(split[rows]))]
    own, loss = np.zeros(len(order)), np.zeros(len(order))
    for start in range(0, len(order), UNIT):
        some = slice(start, start + UNIT)
        triples = np.asarray(split[order[some]])
        own[some] = influence.self_influence(triples).cpu().numpy()
        loss[some] = influence.losses(triples).cpu().numpy()
        if progress:
            progress(min(start + UNIT, len(order)), len(order))
    best = np.lexsort((order, -(loss if by == "loss" else own)))[: config.top_k]
    naming = Naming(run.graph)
    found = [Suspect(naming.row(int(order[i])), int(order[i]), float(own[i]), float(loss[i])) for i in best]
    return Suspects(run.folder.name, rates, by, found)


def deletion_of(run: Run, config: TracInConfig) -> Deletion:
    """As asked for, else as the run was trained."""
    return config.deletion or ("label" if run.config.model.examples == "kvsall" else "example")


def named(graph: Graph, triple: Sequence[int] | np.ndarray) -> Named:
    """A triple with labels and names."""
    return Naming(graph).triple(triple)


def measured_peak(run: Run) -> int:
    """The most memory since the start of a call: of the device where that is an accelerator."""
    return torch.cuda.max_memory_allocated(run.device) if run.device.startswith("cuda") else peak_bytes()


def open_influence(
    runs: Sequence[Run], names: Sequence[list[str]], config: TracInConfig, plan: Plan, hold: Hold
) -> tuple[Scores, dict[str, float]]:
    """Influence over the checkpoints of one run, or its mean over several; checkpoints with their learning rates."""
    members: list[Influence] = []
    rates: dict[str, float] = {}
    for run, some in zip(runs, names, strict=True):
        points = open_checkpoints(
            run, some, plan, learning_rate=config.learning_rate, metric=config.measure == "adam"
        )
        members.append(
            Influence(
                points,
                run.graph.answers("train"),
                deletion=deletion_of(run, config),
                measure=config.measure,
                workspace=Workspace("bf16" if config.use_mixed_precision else "fp32"),
                hold=hold,
            )
        )
        prefix = "" if len(runs) == 1 else f"{run.path}/"
        rates |= {prefix + point.name: point.learning_rate for point in points}
    return (members[0] if len(members) == 1 else Ensemble(members)), rates


def _check(run: Run, triples: np.ndarray, config: TracInConfig, rivals: Sequence[int] | None) -> None:
    if not len(triples):
        raise InputError("there is no triple to ask about")
    if (rivals is not None) != (config.target == "contrast"):
        raise ConfigError(
            "target = contrast and the answers to compare with go together: give both or neither"
        )
    if rivals is not None and len(rivals) != len(triples):
        raise ConfigError(
            f"{len(triples)} triples are asked about and compared with {len(rivals)} other answers"
        )
    if run.config.model.sides == "tail" and "tail" not in config.sides():
        raise ConfigError(f"{run.path} was trained without inverse relations: ask about side = tail")


def _planned(
    runs: Sequence[Run], config: TracInConfig, names: Sequence[list[str]], sweep: "_Sweep", budget: Budget
) -> tuple[Plan, Hold]:
    """What the sweep takes, in the first way that fits."""
    graph, asked = runs[0].graph, sweep.asked
    kept = Sums.bytes(
        graph, len(sweep.rows), len(asked.triples), top_k=config.top_k, by_entity=config.by_entity
    )
    allowed = 0 if sweep.near is None else sweep.near.nbytes + 2 * sweep.block * len(asked.triples)
    edges = 0 if sweep.paths is None else 5 * sweep.paths.values.nbytes + 64 * len(sweep.rows)
    work = Work(
        asked=len(asked.triples), sides=len(asked.sides), checkpoints=max(len(some) for some in names),
        candidates=len(sweep.rows), results=kept + allowed + edges, unit=sweep.block,
        pairs=config.measure == "cosine", adam=config.measure == "adam", recompute=config.recompute,
        bf16=config.use_mixed_precision,
    )  # fmt: skip
    return choose_way(runs, work, budget)


def _fingerprint(
    runs: Sequence[Run], config: TracInConfig, names: Sequence[list[str]], sweep: "_Sweep"
) -> str:
    """Of everything that decides the bytes of a result."""
    parts = {
        "models": [weights_of(some, run) for run, some in zip(runs, names, strict=True)],
        "graph": runs[0].graph.fingerprint,
        "options": config.model_dump(mode="json", exclude={"recompute"}),
        "block": sweep.block,
        "threads": threads(),
        "device": runs[0].device,
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for array in (sweep.asked.triples, sweep.asked.rivals, sweep.rows):
        digest.update(b"-" if array is None else np.ascontiguousarray(array, dtype=np.int64).tobytes() + b"|")
    return digest.hexdigest()


@dataclass
class _Sweep:
    """All candidates, block by block."""

    config: TracInConfig
    run_on: Run
    asked: Asked
    rows: Int[np.ndarray, " rows"]
    triples: Int[np.ndarray, "rows 3"]
    near: np.ndarray | None
    paths: PathEdges | None
    block: int

    @classmethod
    def of(cls, run: Run, config: TracInConfig, asked: Asked, rows: Int[np.ndarray, " rows"]) -> "_Sweep":
        triples = np.asarray(run.graph.triples("train")[rows]).astype(np.int64)
        around = near(run.graph, asked.triples, config.within_hops) if config.within_hops else None
        paths = PathEdges(triples, shared_order(triples), asked.triples) if config.by_path else None
        return cls(config, run, asked, rows, triples, around, paths, config.batch_size or UNIT)

    def run(self, influence: Scores, reference: object, note: Note, progress: Bar | None, say: Say) -> Sums:
        """From the block after the last one noted."""
        config, rows = self.config, self.rows
        sums = Sums.none(
            self.run_on.graph, rows, len(self.asked.triples),
            top_k=config.top_k, by_entity=config.by_entity, paths=self.paths,
        )  # fmt: skip
        done, found = 0, note.load(say)
        if found is not None:
            done = found[0]
            sums.restore(found[1])
        for places, scores in influences(influence, self.triples, reference, block=self.block, start=done):
            some = self.triples[places]
            allowed = None if self.near is None else self.near[some[:, 0]] | self.near[some[:, 2]]
            sums.add(done * self.block, some, rows[places], scores.cpu(), allowed)
            done += 1
            note.write(done, sums.arrays())
            if progress:
                progress(min(done * self.block, len(rows)), len(rows))
        return sums
