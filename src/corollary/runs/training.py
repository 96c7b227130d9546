"""Training as one call: configuration and graph in, run folder with weights, figures and report out."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from corollary.budget import Budget, Plan, peak_bytes, resident_bytes, restart_peak, show_bytes
from corollary.errors import ConfigError, RunError
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.kernels import on_disk
from corollary.learners.conve import ConvE
from corollary.learners.negatives import check_negatives
from corollary.learners.planning import Needs
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.runs.config import RunConfig
from corollary.runs.device import choose_device, choose_precision, machine
from corollary.runs.evaluating import evaluate
from corollary.runs.recording import run_record
from corollary.runs.run import Run, build_learner
from corollary.storage import refuse_existing, remove_folder, scratch_folder
from corollary.training.cleanup import release_memory
from corollary.training.loop import Loop, Observer
from corollary.training.optimizers import state_bytes
from corollary.training.scaling import LossScale
from corollary.training.tracking import Following, check_installed, following, tracker_bytes


def train_conve(
    graph: Graph | ImportConfig | str | Path,
    output: str | Path,
    config: RunConfig | None = None,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Train ConvE on a graph folder; evaluate on its test split; write everything into a run folder.

    Args:
        graph: a graph folder, or loose files: they become `output/graph`, ids kept as given.
        output: the run folder; it must not hold a run already.
        observer: told of every step and epoch, for a display.
        say: told in words what is decided (device, plan).

    Memory: as planned, in `config.json` under `plan`; `PlanDoesNotFit` before any work where the limit is smaller.
    """
    config, output = config or RunConfig(), Path(output)
    with _opened(graph, output, config, say) as opened:
        restart_peak()
        _check_validation(opened, config)
        opened.verify()
        check_installed(config.tracking)
        device = choose_device(config.device, say)
        config = _with_precision(config, device, say)
        plan = plan_conve(opened, config, device=device)
        if config.model.negatives.sampled:
            say(f"sampled negatives ({config.model.negatives.name}): the loss is an estimate of the 1-N loss")
        say(f"plan: {show_bytes(plan.total)} of {'; '.join([show_bytes(plan.budget.bytes), *plan.ways()])}")
        folder = RunFolder.create(output, run_record(output, opened, config, plan, device))
    with _followed(folder, config, observer, say) as follower:
        with folder.lock():
            _fit(folder, opened, config, plan, device, follower, say, resume=False)
        return _conclude(Run(folder, opened, device=str(device)), follower, say)


@contextmanager
def _opened(
    graph: Graph | ImportConfig | str | Path, output: Path, config: RunConfig, say: Say
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
    budget = Budget.parse(config.memory_limit)
    try:
        if place.exists():
            yield _same_again(place, named, budget, say)
        else:
            made = import_graph(place, named, budget=budget, say=say)
            yield made
    finally:
        if not (output / "config.json").exists():
            if made is not None:
                remove_folder(made.path)
            if not was_there and output.is_dir() and not any(output.iterdir()):
                output.rmdir()


def _same_again(place: Path, graph: ImportConfig, budget: Budget, say: Say) -> Graph:
    """The graph that a start left which was killed before there was a run. Raises `StorageError` for any other."""
    with scratch_folder(place, purpose="again") as scratch:
        if (
            import_graph(scratch / "graph", graph, budget=budget, say=say).fingerprint
            != Graph.open(place).fingerprint
        ):
            refuse_existing(place)
    return Graph.open(place)


def resume(
    path: str | Path,
    *,
    graph: str | Path | None = None,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Continue a training that was stopped, under its recorded configuration, to the same final bytes."""
    run = Run.open(path, graph=graph)
    recorded = run.folder.config
    if "imported" in recorded:
        raise RunError(
            f"{path} was imported from another program, without its optimiser: it cannot go on training"
        )
    run.graph.verify()
    device = choose_device(run.config.device, say)
    now = machine(device)
    plan = Plan.model_validate(recorded["plan"])
    for key in ("device_used", "threads", "processor"):
        if recorded.get(key) != now[key]:
            say(f"note: {key} was {recorded.get(key)} and is {now[key]}: figures will agree, bytes may not")
    with _followed(run.folder, run.config, observer, say) as follower:
        with run.folder.lock():
            _fit(run.folder, run.graph, run.config, plan, device, follower, say, resume=True)
        return _conclude(Run(run.folder, run.graph, device=str(device)), follower, say)


def _with_precision(config: RunConfig, device: torch.device, say: Say) -> RunConfig:
    """The configuration with the precision that was chosen, as it is recorded and resumed with."""
    precision = choose_precision(config.optimizations, device, say)
    return config.changed(optimizations=config.optimizations.changed(precision=precision))


def _followed(
    folder: RunFolder, config: RunConfig, observer: Observer | None, say: Say
) -> AbstractContextManager[Following]:
    """The observer, and the trackers that the configuration names."""
    parameters = config.model_dump(mode="json", exclude={"tracking"})
    return following(config.tracking, folder, parameters, observer, say)


def plan_conve(
    graph: Graph, config: RunConfig, *, device: torch.device | None = None, loaded: int | None = None
) -> Plan:
    """The bytes a training will use, by part, in the first of the exact ways that fits the limit.

    Args:
        device: where it will run; the CPU when not given. On CUDA the limit and the parts are of the card's memory.
        loaded: resident bytes before any work; those of this process now, when not given.

    Raises `PlanDoesNotFit` where the smallest way exceeds the limit, with the smallest changes that would fit.
    """
    check_negatives(config.model.negatives, graph)
    accelerator = device is not None and device.type == "cuda"
    budget = Budget.parse(config.memory_limit)
    if accelerator and budget.limit is None:
        budget = Budget(limit=torch.cuda.get_device_properties(device).total_memory)
    held = resident_bytes() if loaded is None else loaded

    def planned(config: RunConfig) -> Plan:
        training, saving, model = config.training, config.optimizations, config.model
        fp16, sampled = saving.precision == "fp16", model.negatives.sampled
        needs = Needs(
            moments=training.optimizer.moments,
            row_state=state_bytes(
                training.optimizer, model.embedding_dim, bias=model.entity_bias, sampled=sampled
            ),
            average=training.average_decay is not None,
            whole_gradient=training.accumulation > 1 or training.clip_norm is not None or fp16,
            accumulation=training.accumulation,
            validated=_has_valid(graph),
            recompute=saving.use_gradient_checkpointing,
            cleanup=saving.enable_memory_cleanup,
            compiling=not on_disk(),
            held=held + tracker_bytes(config.tracking),
            accelerator=accelerator,
        )
        return ConvE.plan(model, graph.size, budget, needs)

    plan = planned(config)
    if plan.total <= budget.bytes:
        return plan
    remedies = {name: planned(changed).total for name, changed in _smaller(config)}
    return plan.check(f"conve on {graph.name}", remedies)


def _smaller(config: RunConfig) -> Iterator[tuple[str, RunConfig]]:
    """What a user could change, and the configuration it makes."""
    training, model = config.training, config.model
    if training.average_decay is not None:
        changed = training.changed(average_decay=None)
        yield "--set training.average_decay=none", config.changed(training=changed)
    if training.optimizer.moments and training.optimizer.table == "same":
        changed = training.changed(optimizer=training.optimizer.changed(table="rowwise_adagrad"))
        yield "--set training.optimizer.table=rowwise_adagrad", config.changed(training=changed)
    if training.optimizer.moments:
        changed = training.changed(optimizer=training.optimizer.changed(name="sgd", momentum=False))
        yield "--set training.optimizer.name=sgd", config.changed(training=changed)
    if model.batch_size > 64:
        yield "--batch-size 64", config.changed(model=model.changed(batch_size=64))
    if model.embedding_dim > 100:
        smaller = model.changed(embedding_dim=100, image_height=None, image_width=None)
        yield "--embedding-dim 100", config.changed(model=smaller)


def _has_valid(graph: Graph) -> bool:
    return graph.info.num_triples.get("valid", 0) > 0


def _check_validation(graph: Graph, config: RunConfig) -> None:
    """Raises `ConfigError` where training is to stop on triples that are not there."""
    if config.training.early_stopping and not _has_valid(graph):
        raise ConfigError(
            f"early stopping needs validation triples, and {graph.path} has none: split it first"
        )


def _fit(
    folder: RunFolder,
    graph: Graph,
    config: RunConfig,
    plan: Plan,
    device: torch.device,
    observer: Observer | None,
    say: Say,
    *,
    resume: bool,
) -> None:
    precision = config.optimizations.precision or "fp32"
    learner = build_learner(config, graph, device=device, plan=plan, folder=folder.path, precision=precision)
    validated = _has_valid(graph)

    def validate() -> Mapping[str, float]:
        ranks = rank_split(
            learner,
            graph,
            "valid",
            side=None if config.model.sides == "both" else config.model.sides,
            filter="train+valid",
            chunk=plan.evaluation_chunk,
            block_rows=plan.block_rows,
            hits=config.evaluation.hits,
            resamples=0,
            ties=config.evaluation.ties,
        )
        return {name: value for name, value in ranks.metrics.values().items() if value is not None}

    loop = Loop(
        learner,
        graph,
        config.training,
        folder,
        seed=config.seed,
        device=device,
        loss_scale=LossScale() if precision == "fp16" else None,
        cleanup=config.optimizations.enable_memory_cleanup,
        validate=validate if validated else None,
        metric=config.evaluation.metric,
        planned_bytes=plan.total,
        observer=observer,
    )
    with folder.resumable():
        if resume:
            for damage in loop.resume():
                say(f"note: {damage}; an older one is used")
        loop.train()


def _conclude(run: Run, follower: Following, say: Say) -> Run:
    """Figures on the test split, and the report. What training held has been let go of."""
    release_memory(torch.device(run.device))
    if run.graph.info.num_triples.get("test", 0) > 0:
        say("ranking the test triples")
        follower.tested(evaluate(run, "test").metrics.values())
    from corollary.reports.html import write_report  # matplotlib is 30 MiB that training does without

    write_report(run.folder)
    run.folder.write_json(
        "memory.json", memory_record(Plan.model_validate(run.folder.config["plan"]), run.device)
    )
    return run


def memory_record(plan: Plan, device: str) -> dict[str, int]:
    """Planned and measured peak of the whole run: of resident memory, or of the allocator where the device has its own."""
    accelerator = device.startswith("cuda")
    measured = torch.cuda.max_memory_allocated(device) if accelerator else peak_bytes()
    return {"planned_bytes": plan.total, "peak_bytes": measured}
