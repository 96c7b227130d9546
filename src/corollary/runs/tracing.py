"""TracIn over the checkpoints of a run: which training triples made the model say this."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import NonNegativeFloat, PositiveInt, model_validator

from corollary.budget import Budget, peak_bytes, restart_peak
from corollary.config import Config
from corollary.errors import ConfigError, InputError, UnknownName
from corollary.explain.deltas import Deletion
from corollary.explain.extremes import Extremes
from corollary.explain.influence import (
    Asked,
    Influence,
    Measure,
    Reference,
    Target,
    influences,
    shared_order,
)
from corollary.graph.answers import Side
from corollary.graph.folder import Graph
from corollary.losses.workspace import Workspace
from corollary.messages import Say, silent
from corollary.runs.run import Run
from corollary.runs.traced_models import (
    Work,
    checkpoint_names,
    open_checkpoints,
    plan_influence,
    threads,
    weights_of,
)
from corollary.runs.tracing_results import Named, Share, Support, Suspect, Suspects, Traced, TracInResult
from corollary.storage import new_file

SAVED_EVERY = 30.0
"""Seconds between two notes of how far a run has come."""


class TracInConfig(Config):
    """What is asked of the training triples."""

    measure: Measure = "tracin"
    """tracin: the definition. output, output-kfac, cosine: other scores, which are not TracIn."""
    target: Target = "loss"
    """loss: of the asked triple; score: of its answer; contrast: its lead over another answer."""
    side: Literal["both", "tail", "head"] | None = None
    """Answer that is asked about. Not set: both for a loss, the tail for a score and a contrast."""
    deletion: Deletion | None = None
    """What a training triple stands for: example, its own positive and negatives; label, its place among the answers of
    its query. Not set: as the run was trained, label for kvsall and example for 1vsall."""
    top_k: PositiveInt | None = 10
    """Proponents, and opponents, that are kept of every asked triple; not set: all."""
    checkpoints: tuple[str, ...] = ()
    """Names. Not given: those kept by checkpoint_frequency, else the one that predicts."""
    learning_rate: NonNegativeFloat | None = None
    """In place of the checkpoints' own; for imported models that record none."""
    batch_size: PositiveInt | None = None
    """Training triples that go by together. Not set: what fits the memory limit."""
    within_hops: PositiveInt | None = None
    """Only candidates this near to the asked triple; 1: they share an entity with it."""
    relations: tuple[str, ...] = ()
    """Only candidates of these relations."""
    by_checkpoint: bool = False
    """Say of the listed triples what each checkpoint adds."""
    by_entity: bool = False
    """Sum influence around every entity too."""
    use_mixed_precision: bool = False
    """Products with bf16 factors and float32 sums: ranks stay close, numbers do not."""

    @model_validator(mode="after")
    def sides_go_with_the_target(self) -> "TracInConfig":
        if self.target == "contrast" and self.side == "both":
            raise ValueError("a contrast is asked of one side: side = tail or side = head")
        return self

    def sides(self) -> tuple[Side, ...]:
        """Directions in which the asked triples are examples."""
        side = self.side or ("both" if self.target == "loss" else "tail")
        return ("tail", "head") if side == "both" else (side,)


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
    memory_limit: str | int | None = None,
    state: Path | None = None,
    saved_every: float = SAVED_EVERY,
    progress: Bar | None = None,
    say: Say = silent,
) -> TracInResult:
    """Influence of the training triples on the asked ones, exact over all parameters that training moved.

    Two calls give the same bytes, also where one of them went on after a kill.

    Args:
        triples: entity and relation ids, known or not; `asked_triples` reads them from labels.
        rivals: for a contrast, the answer that each triple's own is compared with.
        candidates: rows of the training split to look at; all when not given.
        memory_limit: most resident memory of the process, such as 1GiB; sets how many triples go by together.
        state: a file that notes how far the work has come, so that the same call goes on there; removed at the end.

    Raises `PlanDoesNotFit` before any work, `RunDamaged` and `RunError` for a checkpoint that cannot be used.
    Source: see `corollary.explain.influence`.
    """
    restart_peak()
    _check(run, triples, config, rivals)
    rows = _candidate_rows(run.graph, config, candidates)
    names = list(config.checkpoints) or checkpoint_names(run)
    work = Work(
        len(triples), len(names), len(rows), _result_bytes(run.graph, config, len(triples), len(rows))
    )
    plan, block = plan_influence(run, work, Budget.parse(memory_limit), block=config.batch_size)
    points = open_checkpoints(run, names, plan, learning_rate=config.learning_rate)
    influence = Influence(
        points,
        run.graph.answers("train"),
        deletion=deletion_of(run, config),
        measure=config.measure,
        workspace=Workspace("bf16" if config.use_mixed_precision else "fp32"),
    )
    pairs = np.array(rivals, dtype=np.int64) if rivals is not None else None
    asked = Asked(np.asarray(triples), config.target, config.sides(), pairs)
    reference = influence.ask(asked)
    mark = _fingerprint(run, config, names, asked, rows, block)
    sums = _sweep(
        influence, run, config, asked, reference, rows, block, _Saved(state, saved_every, mark), progress, say
    )
    found = TracInResult(
        run=run.folder.name,
        measure=config.measure,
        target=config.target,
        deletion=influence.deletion,
        checkpoints={point.name: point.learning_rate for point in points},
        block=block,
        planned_bytes=plan.total,
        peak_bytes=peak_bytes(),
        triples=_traced(run, influence, config, asked, reference, rows, sums),
    )
    if state is not None:
        state.unlink(missing_ok=True)
    return found


def suspects(
    run: Run,
    config: TracInConfig = TracInConfig(),
    *,
    by: Literal["loss", "self_influence"] = "loss",
    candidates: Int[np.ndarray, " rows"] | None = None,
    memory_limit: str | int | None = None,
    progress: Bar | None = None,
) -> Suspects:
    """Training triples that the model finds hard, the `top_k` largest by loss or by self-influence first.

    Wrong triples gather there. Loss found more planted errors than self-influence did (see the docs).
    """
    rows = _candidate_rows(run.graph, config, candidates)
    names = list(config.checkpoints) or checkpoint_names(run)
    work = Work(64, len(names), len(rows), 0)
    plan, _ = plan_influence(run, work, Budget.parse(memory_limit), block=64)
    points = open_checkpoints(run, names, plan, learning_rate=config.learning_rate)
    influence = Influence(points, run.graph.answers("train"), deletion=deletion_of(run, config))
    split, order = (
        run.graph.triples("train"),
        rows[shared_order(np.asarray(run.graph.triples("train")[rows]))],
    )
    own, loss = np.zeros(len(order)), np.zeros(len(order))
    for start in range(0, len(order), 1024):
        some = slice(start, start + 1024)
        triples = np.asarray(split[order[some]])
        own[some] = influence.self_influence(triples).numpy()
        loss[some] = influence.losses(triples).numpy()
        if progress:
            progress(min(start + 1024, len(order)), len(order))
    best = np.lexsort((order, -(loss if by == "loss" else own)))[: config.top_k]
    found = [
        Suspect(named(run.graph, split[order[i]]), int(order[i]), float(own[i]), float(loss[i])) for i in best
    ]
    return Suspects(run.folder.name, {p.name: p.learning_rate for p in points}, by, found)


def deletion_of(run: Run, config: TracInConfig) -> Deletion:
    """As asked for, else as the run was trained."""
    return config.deletion or ("label" if run.config.model.examples == "kvsall" else "example")


def asked_triples(
    run: Run, wanted: Sequence[tuple[str, str, str]], *, where: str = "", say: Say = silent
) -> Int[np.ndarray, "known 3"]:
    """Ids of triples given as labels or names; one with an unknown name is said and left out.

    Args:
        where: the file that they come from; line numbers follow it.

    Raises `InputError` where none is left.
    """
    graph, found = run.graph, []
    for number, (head, relation, tail) in enumerate(wanted, start=1):
        place = f"{where}:{number}" if where else ""
        try:
            found.append(
                (
                    graph.entities.find(head, where=place),
                    graph.relations.find(relation, where=place),
                    graph.entities.find(tail, where=place),
                )
            )
        except UnknownName as error:
            say(f"left out ({head}, {relation}, {tail}): {error}")
    if not found:
        raise InputError(f"{where or 'no triple'}: none of the {len(wanted)} triples is left to ask about")
    return np.array(found, dtype=np.int64)


def training_rows(run: Run, triples: Int[np.ndarray, "n 3"], *, where: str = "") -> Int[np.ndarray, " n"]:
    """Rows of these triples in the training split. Raises `InputError` naming the first that is not there."""
    split = np.asarray(run.graph.triples("train")).astype(np.int64)
    places = {tuple(triple): row for row, triple in reversed(list(enumerate(split.tolist())))}
    rows = []
    for triple in triples.tolist():
        if tuple(triple) not in places:
            prefix = f"{where}: " if where else ""
            raise InputError(f"{prefix}{named(run.graph, triple)} is not among the training triples")
        rows.append(places[tuple(triple)])
    return np.unique(np.array(rows, dtype=np.int64))


def named(graph: Graph, triple: Sequence[int] | np.ndarray) -> Named:
    """A triple with labels and names."""
    head, relation, tail = (int(part) for part in triple)
    entities, relations = graph.entities, graph.relations
    return Named(
        entities.label(head), entities.name(head),
        relations.label(relation), relations.name(relation),
        entities.label(tail), entities.name(tail),
    )  # fmt: skip


def _check(run: Run, triples: np.ndarray, config: TracInConfig, rivals: Sequence[int] | None) -> None:
    if not len(triples):
        raise InputError("there is no triple to ask about")
    if (rivals is not None) != (config.target == "contrast"):
        raise ConfigError(
            "target = contrast and the answers to compare with go together: give both or neither"
        )
    if run.config.model.sides == "tail" and "tail" not in config.sides():
        raise ConfigError(f"{run.path} was trained without inverse relations: ask about side = tail")


def _candidate_rows(
    graph: Graph, config: TracInConfig, candidates: Int[np.ndarray, " rows"] | None
) -> Int[np.ndarray, " rows"]:
    """Rows of the training split, ascending."""
    rows = np.arange(graph.info.num_triples["train"]) if candidates is None else np.unique(candidates)
    if config.relations:
        wanted = graph.relations.find_all(config.relations)
        rows = rows[np.isin(np.asarray(graph.triples("train")[:, 1])[rows], wanted)]
    if not len(rows):
        raise InputError("no training triple is a candidate: widen relations or the file of candidates")
    return rows


def _result_bytes(graph: Graph, config: TracInConfig, asked: int, rows: int) -> int:
    kept = min(config.top_k or rows, rows)
    near = asked * graph.num_entities if config.within_hops else 0
    sums = 16 * asked * (graph.num_relations + (graph.num_entities if config.by_entity else 0))
    return near + sums + 72 * asked * kept


@dataclass
class _Sums:
    """What is kept while blocks go by."""

    extremes: Extremes
    relations: Float[np.ndarray, "2 relations asked"]
    """Support and opposition."""
    entities: Float[np.ndarray, "2 entities asked"]
    """The same by head and by tail; without rows where it is not asked for."""
    candidates: Int[np.ndarray, " asked"]

    def arrays(self) -> dict[str, np.ndarray]:
        parts = {name: getattr(self, name) for name in ("relations", "entities", "candidates")}
        return {**parts, **self.extremes.arrays()}

    @classmethod
    def from_arrays(cls, k: int, arrays: dict[str, np.ndarray]) -> "_Sums":
        extremes = Extremes.from_arrays(k, arrays)
        return cls(extremes, arrays["relations"], arrays["entities"], arrays["candidates"])

    def add(
        self,
        triples: Int[np.ndarray, "block 3"],
        rows: Int[np.ndarray, " block"],
        scores: Float[torch.Tensor, "block asked"],
        allowed: Bool[np.ndarray, "block asked"] | None,
    ) -> None:
        """Take in a block."""
        mask = None if allowed is None else torch.from_numpy(allowed)
        self.extremes.add(scores, torch.from_numpy(rows), mask)
        self.candidates += len(rows) if allowed is None else allowed.sum(0)
        values = scores.numpy().astype(np.float64)
        values = values if allowed is None else np.where(allowed, values, 0.0)
        for place, part in enumerate((np.maximum(values, 0), np.minimum(values, 0))):
            np.add.at(self.relations[place], triples[:, 1], part)
            if len(self.entities[place]):
                np.add.at(self.entities[place], triples[:, 0], part)
                other = triples[:, 2] != triples[:, 0]
                np.add.at(self.entities[place], triples[other, 2], part[other])


class _Saved:
    """How far the work has come, in one file that is replaced as a whole; of another run, or damaged, it is not used."""

    def __init__(self, path: Path | None, every: float, fingerprint: str) -> None:
        self.path, self.every, self.fingerprint = path, every, fingerprint
        self._last = time.monotonic()

    def load(self, say: Say) -> tuple[int, dict[str, np.ndarray]] | None:
        """Blocks that are finished, and what was kept of them."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            say(f"{self.path} cannot be read ({error}): starting over")
            return None
        if str(arrays.pop("fingerprint", "")) != self.fingerprint:
            say(f"{self.path} is of another model, graph or question: starting over")
            return None
        blocks = int(arrays.pop("blocks"))
        say(f"going on after {blocks} blocks noted in {self.path}")
        return blocks, arrays

    def note(self, blocks: int, sums: _Sums) -> None:
        """Write where enough time has passed."""
        if self.path is None or time.monotonic() - self._last < self.every:
            return
        with new_file(self.path) as partial, partial.open("wb") as out:
            arrays = {"blocks": np.array(blocks), "fingerprint": np.array(self.fingerprint), **sums.arrays()}
            np.savez(out, allow_pickle=False, **arrays)
        self._last = time.monotonic()


def _fingerprint(
    run: Run, config: TracInConfig, names: list[str], asked: Asked, rows: np.ndarray, block: int
) -> str:
    """Of everything that decides the bytes of a result."""
    parts = {
        "model": weights_of(names, run),
        "graph": run.graph.fingerprint,
        "options": config.model_dump(mode="json"),
        "block": block,
        "threads": threads(),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for array in (asked.triples, asked.rivals, rows):
        digest.update(b"-" if array is None else np.ascontiguousarray(array, dtype=np.int64).tobytes() + b"|")
    return digest.hexdigest()


def _sweep(
    influence: Influence,
    run: Run,
    config: TracInConfig,
    asked: Asked,
    reference: Reference,
    rows: Int[np.ndarray, " rows"],
    block: int,
    saved: _Saved,
    progress: Bar | None,
    say: Say,
) -> _Sums:
    """All candidates, block by block."""
    triples = np.asarray(run.graph.triples("train")[rows]).astype(np.int64)
    near = _near(run.graph, asked.triples, config.within_hops) if config.within_hops else None
    count, k = len(asked.triples), min(config.top_k or len(rows), len(rows))
    found = saved.load(say)
    if found is None:
        sums = _Sums(
            Extremes.none(k, count),
            np.zeros((2, run.graph.num_relations, count)),
            np.zeros((2, run.graph.num_entities if config.by_entity else 0, count)),
            np.zeros(count, dtype=np.int64),
        )
        done = 0
    else:
        done, sums = found[0], _Sums.from_arrays(k, found[1])
    for places, scores in influences(influence, triples, reference, block=block, start=done):
        some = triples[places]
        allowed = None if near is None else near[some[:, 0]] | near[some[:, 2]]
        sums.add(some, rows[places], scores, allowed)
        done += 1
        saved.note(done, sums)
        if progress:
            progress(min(done * block, len(rows)), len(rows))
    return sums


def _near(graph: Graph, asked: Int[np.ndarray, "asked 3"], hops: int) -> Bool[np.ndarray, "entities asked"]:
    """Entities less than `hops` training triples away from the head or the tail of each asked triple."""
    train = np.asarray(graph.triples("train"))
    head, tail = train[:, 0], train[:, 2]
    near = np.zeros((graph.num_entities, len(asked)), dtype=bool)
    for number, (first, _, last) in enumerate(asked.tolist()):
        reached = np.zeros(graph.num_entities, dtype=bool)
        reached[[first, last]] = True
        for _ in range(hops - 1):
            touched = reached[head] | reached[tail]
            reached[head[touched]] = True
            reached[tail[touched]] = True
        near[:, number] = reached
    return near


def _traced(
    run: Run,
    influence: Influence,
    config: TracInConfig,
    asked: Asked,
    reference: Reference,
    rows: Int[np.ndarray, " rows"],
    sums: _Sums,
) -> list[Traced]:
    """Names and numbers of what was kept."""
    graph, split = run.graph, run.graph.triples("train")
    own = influence.self_influence(asked.triples, deletion="example").tolist()
    losses = influence.losses(asked.triples).tolist()
    parts = _by_checkpoint(influence, split, reference, sums.extremes) if config.by_checkpoint else {}

    def supports(number: int, kept: tuple[torch.Tensor, torch.Tensor]) -> list[Support]:
        found = []
        for score, row in zip(kept[0][number].tolist(), kept[1][number].tolist(), strict=True):
            if row >= 0:
                by = {name: float(part[row][number]) for name, part in parts.items()} or None
                found.append(Support(named(graph, split[row]), row, score, by))
        return found

    traced = []
    for number, triple in enumerate(asked.triples):
        rival = None if asked.rivals is None else graph.entities.label(int(asked.rivals[number]))
        support, opposition = (float(part) for part in sums.relations[:, :, number].sum(1))
        relations = _shares(sums.relations[:, :, number], graph.relations.label, support - opposition)
        entities = _shares(sums.entities[:, :, number], graph.entities.label, support - opposition)
        traced.append(
            Traced(
                triple=named(graph, triple), instead_of=rival, self_influence=own[number], loss=losses[number],
                num_candidates=int(sums.candidates[number]), support=support, opposition=opposition,
                proponents=supports(number, sums.extremes.proponents),
                opponents=supports(number, sums.extremes.opponents),
                relations=relations, entities=entities if config.by_entity else None,
            )
        )  # fmt: skip
    return traced


def _shares(sums: Float[np.ndarray, "2 n"], label: Callable[[int], str], total: float) -> list[Share]:
    """Largest share first; of those without any influence none."""
    size = sums[0] - sums[1]
    order = np.lexsort((np.arange(len(size)), -size))
    return [
        Share(label(int(i)), float(sums[0, i]), float(sums[1, i]), float(size[i] / total))
        for i in order
        if size[i] > 0
    ]


def _by_checkpoint(
    influence: Influence, split: np.ndarray, reference: Reference, extremes: Extremes
) -> dict[str, dict[int, np.ndarray]]:
    """What each checkpoint adds to the influence of the listed rows on every asked triple."""
    rows = np.unique(np.concatenate([extremes.proponents[1].numpy(), extremes.opponents[1].numpy()], 1))
    rows = rows[rows >= 0]
    found: dict[str, dict[int, np.ndarray]] = {point.name: {} for point in influence.checkpoints}
    for start in range(0, len(rows), 256):
        some = rows[start : start + 256]
        parts = influence.scores_by_checkpoint(np.asarray(split[some]).astype(np.int64), reference)
        for point, part in zip(influence.checkpoints, parts, strict=True):
            found[point.name] |= dict(zip(some.tolist(), part.numpy(), strict=True))
    return found
