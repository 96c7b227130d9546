"""Single questions answered by an index: nearly exact scores for all, exact ones for the largest."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from corollary.budget import Budget, restart_peak
from corollary.errors import ConfigError, InputError
from corollary.explain.extremes import Extremes
from corollary.explain.indexing import Question
from corollary.explain.influence import UNIT, Asked, Influence, Reference, influences
from corollary.runs.run import Run
from corollary.runs.tracing.candidates import candidate_rows, near
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.index import IndexInfo, answers_of, open_index, parts_of, read_axes, read_part
from corollary.runs.tracing.plan import Work, choose_way
from corollary.runs.tracing.results import FromIndex, Naming, Supports, Traced, TracInResult
from corollary.runs.tracing.tracin import Bar, measured_peak, open_influence


def tracin_by_index(
    run: Run,
    triples: Int[np.ndarray, "asked 3"],
    folder: Path,
    config: TracInConfig = TracInConfig(),
    *,
    rivals: Sequence[int] | None = None,
    candidates: Int[np.ndarray, " rows"] | None = None,
    memory_limit: str | int | None = None,
    progress: Bar | None = None,
) -> TracInResult:
    """As `tracin`, with candidates chosen by an index: those listed have exact influences.

    Sums are of the nearly exact ones, but for the candidates that were made exactly. Cost: the index is read once.

    Raises `RunError` for an index of another model or graph, `RunDamaged` for a damaged one.
    """
    restart_peak()
    info, files = open_index(run, folder)
    if config.top_k is None or config.top_k > info.rescored:
        raise ConfigError(
            f"an index makes {info.rescored} influences of each sign exactly: give --top-k up to that"
        )
    if not len(triples):
        raise InputError("there is no triple to ask about")
    run.graph.verify()
    config = config.model_copy(update={"checkpoints": tuple(info.checkpoints), "deletion": info.deletion})
    rows = candidate_rows(run.graph, config.relations, candidates)
    count = run.graph.info.num_triples["train"]
    held = 4 * len(triples) * count + 4 * len(triples) * len(config.sides()) * run.graph.num_entities
    work = Work(len(triples), len(info.checkpoints), count, held + (64 << 20), sides=len(config.sides()))
    plan, hold = choose_way([run], work, Budget.parse(memory_limit))
    influence, _ = open_influence([run], [list(info.checkpoints)], config, plan, hold)
    assert isinstance(influence, Influence)
    influence.checkpoints = [
        replace(point, learning_rate=info.checkpoints[point.name]) for point in influence.checkpoints
    ]
    pairs = None if rivals is None else np.array(rivals, dtype=np.int64)
    asked = Asked(np.asarray(triples), config.target, config.sides(), pairs)
    reference = influence.ask(asked)
    scores = _nearly(run, influence, reference, folder, files, progress)
    allowed = _allowed(run, config, asked, rows, count)
    found = [
        _exactly(run, influence, config, asked, number, scores[number], allowed[number], info)
        for number in range(len(triples))
    ]
    result = TracInResult(
        run=run.folder.name, measure=config.measure, target=config.target, deletion=info.deletion,
        checkpoints=info.checkpoints, block=UNIT, planned_bytes=plan.total, peak_bytes=0, triples=found,
        from_index=FromIndex(folder.name, info.rescored, info.recall),
    )  # fmt: skip
    return replace(result, peak_bytes=measured_peak(run))


def _nearly(
    run: Run,
    influence: Influence,
    reference: Reference,
    folder: Path,
    files: dict[str, str],
    progress: Bar | None,
) -> Float[np.ndarray, "asked train"]:
    """Scores of all training triples from the index; duplicates get those of the first."""
    index, count = run.graph.answers("train"), reference.num_asked
    if influence.sides == ("tail",):
        index = index.one_side("tail")
    scores = np.zeros((count, run.graph.info.num_triples["train"]), dtype=np.float32)
    done, total = 0, index.num_examples * len(influence.checkpoints)
    for asked, point in zip(reference.asked, influence.checkpoints, strict=True):
        name = f"{point.name}/axes.safetensors"
        read_part(folder, name, files[name])
        axes = read_axes(folder / name)
        questions = [Question(asked, list(range(i, asked.count, count)), axes) for i in range(count)]
        start = 0
        for file in parts_of(files, point.name):
            part = read_part(folder, file, files[file])
            rows = np.asarray(index.triples[start : start + len(part["of"])])
            answers = answers_of(index, part)
            for number, question in enumerate(questions):
                np.add.at(scores[number], rows, point.learning_rate * question.scores(part, answers).numpy())
            start += len(rows)
            done += len(rows)
            if progress:
                progress(done, total)
    return scores


def _allowed(
    run: Run, config: TracInConfig, asked: Asked, rows: Int[np.ndarray, " rows"], count: int
) -> Bool[np.ndarray, "asked train"]:
    """Which training triples are candidates of which asked one."""
    allowed = np.zeros((len(asked.triples), count), dtype=bool)
    allowed[:, rows] = True
    if config.within_hops:
        around, train = near(run.graph, asked.triples, config.within_hops), run.graph.triples("train")
        allowed &= (around[train[:, 0]] | around[train[:, 2]]).T
    return allowed


def _exactly(
    run: Run,
    influence: Influence,
    config: TracInConfig,
    asked: Asked,
    number: int,
    scores: Float[np.ndarray, " train"],
    allowed: Bool[np.ndarray, " train"],
    info: IndexInfo,
) -> Traced:
    """The largest of each sign made exactly."""
    graph = run.graph
    scores = np.where(allowed, scores, 0)
    order = np.argsort(scores, kind="stable")
    chosen = np.unique(np.concatenate([order[: info.rescored], order[-info.rescored :]]))
    chosen = chosen[allowed[chosen]]
    rivals = None if asked.rivals is None else asked.rivals[number : number + 1]
    one = replace(asked, triples=asked.triples[number : number + 1], rivals=rivals)
    reference, kept = influence.ask(one), Extremes.none(config.top_k or 1, 1)
    triples = np.asarray(graph.triples("train")[chosen]).astype(np.int64)
    for places, found in influences(influence, triples, reference):
        scores[chosen[places]] = found[:, 0].numpy()
        kept.add(found, torch.from_numpy(chosen[places]))
    naming, listed = Naming(graph), []
    for values, where in (kept.proponents, kept.opponents):
        there = where[0] >= 0
        listed.append(Supports(naming, where[0][there].numpy(), values[0][there].numpy()))
    rival = None if asked.rivals is None else graph.entities.label(int(asked.rivals[number]))
    return Traced(
        triple=naming.triple(one.triples[0]), instead_of=rival,
        self_influence=influence.self_influence(one.triples, deletion="example").item(),
        loss=influence.losses(one.triples).item(), num_candidates=int(allowed.sum()),
        support=float(scores[scores > 0].sum()), opposition=float(scores[scores < 0].sum()),
        proponents=listed[0], opponents=listed[1], relations=None, entities=None,
    )  # fmt: skip
