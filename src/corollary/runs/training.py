"""Training as one call, whatever the learner: options and graph in, run folder with weights, figures, report out."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from corollary.budget import Budget, Plan, peak_bytes, restart_peak, show_bytes
from corollary.errors import ConfigError, RunError
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.runs.config import RunOptions
from corollary.runs.device import choose_device, machine
from corollary.runs.kinds import Kind
from corollary.runs.recording import run_record
from corollary.runs.run import Run
from corollary.storage import refuse_existing, remove_folder, remove_new, scratch_folder
from corollary.training.cleanup import release_memory
from corollary.training.loop import Loop, Observer
from corollary.training.tracking import Following, check_installed, following


def train(
    kind: Kind,
    graph: Graph | ImportConfig | str | Path,
    output: str | Path,
    options: RunOptions,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Train a learner on a graph folder; evaluate it; write everything into a run folder.

    Args:
        graph: a graph folder, or loose files: they become `output/graph`, ids kept as given.
        output: the run folder; it must not hold a run already.
        observer: told of every step and epoch, for a display.
        say: told in words what is decided (device, plan).

    Memory: as planned, in `config.json` under `plan`; `PlanDoesNotFit` before any work where the limit is smaller.
    """
    output = Path(output)
    there = set(output.iterdir()) if output.is_dir() else None
    with _opened(graph, output, options.memory_limit, say) as opened:
        restart_peak()
        opened.verify()
        check_installed(options.tracking)
        device = choose_device(options.device, say)
        options = kind.settled(options, opened, device, say)
        plan = kind.plan(opened, options, device=device)
        say(f"plan: {show_bytes(plan.total)} of {'; '.join([show_bytes(plan.budget.bytes), *plan.ways()])}")
        record = run_record(kind.name, output, opened, options, plan, device)
        folder = RunFolder.create(output, record)
        with _followed(folder, options, observer, say) as follower:
            with folder.lock():
                with _whole_or_nothing(output, there):
                    loop = kind.loop(folder, opened, options, plan, device, follower)
                _fit(loop)
                del loop  # and with it what training held: the figures are planned without
            return _conclude(Run(folder, opened, device=str(device)), follower, say)


def resume(
    path: str | Path,
    *,
    graph: str | Path | None = None,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Continue a training that was stopped, under its recorded configuration, to the same final bytes."""
    run = Run.open(path, graph=graph)
    recorded, options = run.folder.config, run.options
    if "imported" in recorded:
        raise RunError(
            f"{path} was imported from another program, without its optimiser: it cannot go on training"
        )
    run.graph.verify()
    device = choose_device(options.device, say)
    now = machine(device)
    plan = Plan.model_validate(recorded["plan"])
    for key in ("device_used", "threads", "processor"):
        if recorded.get(key) != now[key]:
            say(f"note: {key} was {recorded.get(key)} and is {now[key]}: figures will agree, bytes may not")
    with _followed(run.folder, options, observer, say) as follower:
        with run.folder.lock():
            loop = run.kind.loop(run.folder, run.graph, options, plan, device, follower)
            with run.folder.resumable():
                for damage in loop.resume():
                    say(f"note: {damage}; an older one is used")
            _fit(loop)
            del loop  # as in `train`
        return _conclude(Run(run.folder, run.graph, device=str(device)), follower, say)


def _fit(loop: Loop) -> None:
    with loop.run.resumable():
        loop.train()


@contextmanager
def _opened(
    graph: Graph | ImportConfig | str | Path, output: Path, memory_limit: str | None, say: Say
) -> Iterator[Graph]:
    """The graph. Loose files are imported into the run folder, and leave it again where no run could be started."""
    if not isinstance(graph, ImportConfig):
        yield graph if isinstance(graph, Graph) else Graph.open(graph)
        return
    if (output / "config.json").exists():
        raise RunError(
            f"{output} holds a run already: go on with --resume {output}, or choose another folder"
        )
    was_there, place, made = output.exists(), output / "graph", None
    named = graph.model_copy(update={"name": graph.name or output.resolve().name})
    budget = Budget.parse(memory_limit)
    try:
        if place.exists():
            yield _same_again(place, named, budget, say)
        else:
            made = import_graph(place, named, budget=budget, say=say)
            yield made
    finally:
        if not (output / "config.json").exists():
            if made is not None and place.exists():
                remove_folder(made.path)
            if not was_there and output.is_dir() and not any(output.iterdir()):
                output.rmdir()


@contextmanager
def _whole_or_nothing(output: Path, there: set[Path] | None) -> Iterator[None]:
    """A run that is refused before its first step leaves nothing behind, so that the corrected command finds no run there.

    Args:
        there: what the folder held before the run; None: there was no folder.
    """
    try:
        yield
    except Exception:
        (output / "config.json").unlink()  # first: after a kill on the way there is no run either
        remove_new(output, there)
        raise


def _same_again(place: Path, graph: ImportConfig, budget: Budget, say: Say) -> Graph:
    """The graph that a start left which was killed before there was a run. Raises `StorageError` for any other."""
    with scratch_folder(place, purpose="again") as scratch:
        if (
            import_graph(scratch / "graph", graph, budget=budget, say=say).fingerprint
            != Graph.open(place).fingerprint
        ):
            refuse_existing(place)
    return Graph.open(place)


def _followed(
    folder: RunFolder, options: RunOptions, observer: Observer | None, say: Say
) -> AbstractContextManager[Following]:
    """The observer, and the trackers that the options name."""
    parameters = options.model_dump(mode="json", exclude={"tracking"})
    return following(options.tracking, folder, parameters, observer, say)


def _conclude(run: Run, follower: Following, say: Say) -> Run:
    """Figures on held-out data, and the report. What training held has been let go of."""
    release_memory(torch.device(run.device))
    follower.tested(run.kind.conclude(run, say))
    from corollary.reports.html import write_report  # matplotlib is 30 MiB that training does without

    write_report(run.folder)
    run.folder.write_json(
        "memory.json", memory_record(Plan.model_validate(run.folder.config["plan"]), run.device)
    )
    return run


def has_valid(graph: Graph, relations: Int[np.ndarray, " relations"] | None = None) -> bool:
    """Whether there are validation triples, of these relations where some are given."""
    if not graph.info.num_triples.get("valid", 0):
        return False
    return relations is None or bool(np.isin(np.asarray(graph.triples("valid"))[:, 1], relations).any())


def check_early_stopping(asked: int | None, graph: Graph, *, valid: bool) -> None:
    """Raises `ConfigError` where training is to stop by validation triples and there are none.

    Args:
        asked: validations without improvement after which to stop.
        valid: whether there are any that the learner would be asked.
    """
    if asked and not valid:
        raise ConfigError(
            f"early stopping needs validation triples, and {graph.path} has none: split it first"
        )


def memory_record(plan: Plan, device: str) -> dict[str, int]:
    """Planned and measured peak of the whole run: of resident memory, or of the allocator where the device has its own."""
    accelerator = device.startswith("cuda")
    measured = torch.cuda.max_memory_allocated(device) if accelerator else peak_bytes()
    return {"planned_bytes": plan.total, "peak_bytes": measured}
