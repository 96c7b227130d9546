"""One model a target: independent trainings by a pool of processes under one memory limit, in one table.

OUTPUT/targets/00012/    the run of the relation with id 12
OUTPUT/targets.tsv       one row a target: figures, epochs, seconds, peak memory, what went wrong
OUTPUT/config.json, ..   all of them as one run (`ensemble`), once the last is finished

Started again with the same options, it goes on: finished targets are not trained again.
"""

import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from corollary.budget import MIB, Budget, resident_bytes, show_bytes
from corollary.errors import ConfigError, CorollaryError, PlanDoesNotFit, RunError
from corollary.evaluation.metrics import Evaluation
from corollary.graph.folder import Graph
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.runs.drum.asking import targets_of, with_queries
from corollary.runs.drum.ensemble import EnsembleOptions, combine_drum
from corollary.runs.drum.kind import train_drum
from corollary.runs.drum.options import DrumOptions
from corollary.runs.drum.planning import plan_drum
from corollary.runs.run import Run
from corollary.runs.training import resume
from corollary.storage import write_text

WORKER_BYTES = 280 * MIB
"""A process with everything imported, before any work (measured: 250 MiB)."""

COLUMNS = (
    "target", "folder", "mrr", "hits@10", "rules mrr", "epochs", "train_seconds", "peak_bytes", "problem",
)  # fmt: skip


def train_independent(
    graph: Graph | str | Path,
    output: str | Path,
    config: DrumOptions | None = None,
    *,
    processes: int | None = None,
    say: Say = silent,
) -> Run:
    """Train one DRUM for each target, as many at once as the memory limit and the processors allow.

    Args:
        processes: most at once; not given: one a processor. Where there are several CUDA devices, one each.

    Raises `PlanDoesNotFit` where not even one fits beside this process, `RunError` where a target failed: the table
    says why, and what is finished is kept for the next start.
    """
    options, output = config or DrumOptions(), Path(output)
    if options.groups.target_batch_size is not None:
        raise ConfigError("one model a target leaves nothing to group: leave out target_batch_size")
    opened = graph if isinstance(graph, Graph) else Graph.open(graph)
    opened.verify()
    asked = targets_of(options, opened)
    targets = (with_queries(opened) if asked is None else asked).tolist()
    if (output / "config.json").exists():
        raise RunError(f"{output} holds a run already: choose another folder")
    _same_again(output, opened, options)
    at_once, limit = _room(opened, options, min(processes or os.cpu_count() or 1, len(targets)))
    say(f"{len(targets)} targets, {at_once} at once, each within {show_bytes(limit)}")
    work = [
        (str(opened.path), str(output / "targets" / f"{target:05d}"), one.model_dump_json())
        for number, target in enumerate(targets)
        for one in [_of_one(options, opened, target, limit, number)]
    ]
    problems = _trained(work, at_once, say)
    rows = [
        _row(opened, target, output, problems.get(w[1], "")) for target, w in zip(targets, work, strict=True)
    ]
    lines = ["\t".join(COLUMNS), *("\t".join(str(row[name]) for name in COLUMNS) for row in rows)]
    write_text(output / "targets.tsv", "\n".join(lines) + "\n")
    if problems:
        name, what = next(iter(problems.items()))
        raise RunError(f"{len(problems)} of {len(targets)} targets failed, {name} first ({what}): see "
                       f"{output / 'targets.tsv'}; start again to go on with them")  # fmt: skip
    names = () if asked is None else tuple(opened.relations.label(target) for target in targets)
    shared = EnsembleOptions(
        targets=names, counting=options.counting, applying=options.applying, evaluation=options.evaluation,
        seed=options.seed, memory_limit=options.memory_limit,
    )  # fmt: skip
    return combine_drum([folder for _, folder, _ in work], output, shared, graph=opened.path, say=say)


def _same_again(output: Path, graph: Graph, options: DrumOptions) -> None:
    """Leave a note of what is trained here. Raises `RunError` where another start left another one."""
    note = {"graph": graph.fingerprint, **options.model_dump(mode="json", exclude={"memory_limit"})}
    path = output / "independent.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != note:
        raise RunError(f"{output} was begun with another graph or other options: use them, or another folder")
    output.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(note, indent=1) + "\n")


def _room(graph: Graph, options: DrumOptions, wanted: int) -> tuple[int, int]:
    """Processes at once, and the bytes of each."""
    one = plan_drum(graph, options.changed(targets=("one",), max_relations=None), held=WORKER_BYTES).total
    budget = Budget.parse(options.memory_limit)
    left = budget.bytes - resident_bytes()
    if left < one:
        raise PlanDoesNotFit(
            f"one model a target on {graph.name} needs {show_bytes(one)} a process beside the "
            f"{show_bytes(resident_bytes())} of this one, and the budget is {show_bytes(budget.bytes)}"
        )
    at_once = max(1, min(wanted, left // one))
    return at_once, left // at_once


def _of_one(options: DrumOptions, graph: Graph, target: int, limit: int, number: int) -> DrumOptions:
    devices = torch.cuda.device_count() if options.device in ("auto", "cuda") else 0
    device = f"cuda:{number % devices}" if devices > 1 else options.device
    return options.changed(
        targets=(graph.relations.label(target),), max_relations=None, memory_limit=str(limit), device=device
    )


def _trained(work: Sequence[tuple[str, str, str]], at_once: int, say: Say) -> dict[str, str]:
    """Train all that is not finished; what went wrong, by folder."""
    problems: dict[str, str] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=at_once, mp_context=context) as pool:
        jobs = {pool.submit(_one, *one): one[1] for one in work}
        for done, job in enumerate(as_completed(jobs), start=1):
            try:
                job.result()
            except BrokenProcessPool:
                problems[jobs[job]] = "its process was killed"
            except CorollaryError as error:
                problems[jobs[job]] = str(error)
            say(f"{done} of {len(jobs)}: {Path(jobs[job]).name} {problems.get(jobs[job], 'finished')}")
    return problems


def _one(graph: str, folder: str, options: str) -> None:
    """What a process does: train, go on with what was stopped, or see that it is finished."""
    torch.set_num_threads(1)
    if (Path(folder) / "memory.json").exists():
        return
    if (Path(folder) / "config.json").exists():
        resume(folder, graph=graph)
        return
    train_drum(graph, folder, DrumOptions.model_validate_json(options))


def _row(graph: Graph, target: int, output: Path, problem: str) -> dict[str, Any]:
    folder = output / "targets" / f"{target:05d}"
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row |= {"target": graph.relations.label(target), "folder": folder.name, "problem": problem}
    if problem:
        return row
    record = RunFolder(folder)
    for name, file in (("", "evaluation.json"), ("rules ", "rules_evaluation.json")):
        if (folder / file).exists():
            figures = Evaluation.model_validate(record.read_json(file)).metrics.values()
            row |= {f"{name}mrr": figures["mrr"]} | ({} if name else {"hits@10": figures.get("hits@10", "")})
    lines = record.metrics()
    row |= {"epochs": len(lines), "train_seconds": round(sum(line["seconds"] for line in lines), 2)}
    return row | {"peak_bytes": record.read_json("memory.json")["peak_bytes"]}
