"""Training as one call: configuration and graph in, run folder with weights, figures and report out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from corollary.budget import MIB, Budget, Plan, resident_bytes, show_bytes
from corollary.errors import ConfigError, RunError
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.learners.conve import ConvE, ConvEConfig
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.reports.html import write_report
from corollary.runs.config import RunConfig
from corollary.runs.device import choose_device, machine
from corollary.runs.evaluating import evaluate
from corollary.runs.run import Run, build_learner, place_to_record
from corollary.storage import remove_folder
from corollary.training.loop import Loop, Observer

LOADED_BYTES = 405 * MIB
"""Resident when all libraries are loaded and nothing has been done (measured); more is held from earlier work."""


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
        _check_validation(opened, config)
        plan = plan_conve(opened, config)
        say(f"plan: {show_bytes(plan.total)} of {show_bytes(plan.budget.bytes)}")
        fabric = choose_device(config.device, say)
        folder = RunFolder.create(output, _record(opened, config, plan, fabric, output))
    with folder.lock():
        _fit(folder, opened, config, plan, fabric, observer, resume=False)
    return _conclude(Run(folder, opened, device=str(fabric.device)), say)


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
    was_there, made = output.exists(), None
    named = graph.model_copy(update={"name": graph.name or output.resolve().name})
    try:
        made = import_graph(output / "graph", named, budget=Budget.parse(config.memory_limit), say=say)
        yield made
    finally:
        if not (output / "config.json").exists():
            if made is not None:
                remove_folder(made.path)
            if not was_there and output.is_dir() and not any(output.iterdir()):
                output.rmdir()


def resume(
    path: str | Path,
    *,
    graph: str | Path | None = None,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Continue a training that was stopped, under its recorded configuration, to the same final bytes."""
    run = Run.open(path, graph=graph)
    fabric = choose_device(run.config.device, say)
    recorded, now = run.folder.config, machine(fabric)
    plan = Plan.model_validate(recorded["plan"])
    for key in ("device_used", "threads", "processor"):
        if recorded.get(key) != now[key]:
            say(f"note: {key} was {recorded.get(key)} and is {now[key]}: figures will agree, bytes may not")
    with run.folder.lock():
        _fit(run.folder, run.graph, run.config, plan, fabric, observer, resume=True)
    return _conclude(Run(run.folder, run.graph, device=str(fabric.device)), say)


def plan_conve(graph: Graph, config: RunConfig) -> Plan:
    """The bytes a training will use, by part. Raises `PlanDoesNotFit` where they exceed the limit."""
    budget = Budget.parse(config.memory_limit)
    moments, average = config.training.optimizer.moments, config.training.average_decay is not None
    held = max(0, resident_bytes() - LOADED_BYTES)

    def planned(model: ConvEConfig, moments: int, average: bool) -> Plan:
        plan = ConvE.plan(model, graph.size, budget, moments=moments, average=average)
        return plan.model_copy(update={"parts": {**plan.parts, "held from before": held}})

    plan = planned(config.model, moments, average)
    remedies = {"--set training.optimizer.name=sgd": planned(config.model, 0, average).total}
    if average:
        remedies["--set training.average_decay=none"] = planned(config.model, moments, False).total
    if config.model.batch_size > 64:
        remedies["--batch-size 64"] = planned(config.model.changed(batch_size=64), moments, average).total
    return plan.check(f"conve on {graph.name}", remedies)


def _has_valid(graph: Graph) -> bool:
    return graph.info.num_triples.get("valid", 0) > 0


def _check_validation(graph: Graph, config: RunConfig) -> None:
    """Raises `ConfigError` where training is to stop on triples that are not there."""
    if config.training.early_stopping and not _has_valid(graph):
        raise ConfigError(
            f"early stopping needs validation triples, and {graph.path} has none: split it first"
        )


def _record(graph: Graph, config: RunConfig, plan: Plan, fabric: Fabric, output: Path) -> dict[str, Any]:
    """What stands in `config.json`."""
    return {
        "learner": "conve",
        "graph": {
            "path": place_to_record(output, graph.path),
            "name": graph.name,
            "fingerprint": graph.fingerprint,
            "vocabulary_fingerprint": graph.info.vocabulary_fingerprint,
            "num_entities": graph.num_entities,
            "num_relations": graph.num_relations,
            "num_triples": graph.info.num_triples,
        },
        **config.model_dump(mode="json"),
        **machine(fabric),
        "plan": plan.model_dump(),
    }


def _fit(
    folder: RunFolder,
    graph: Graph,
    config: RunConfig,
    plan: Plan,
    fabric: Fabric,
    observer: Observer | None,
    *,
    resume: bool,
) -> None:
    learner = build_learner(config, graph, device=str(fabric.device))
    validated = _has_valid(graph)

    def validate() -> Mapping[str, float]:
        ranks = rank_split(
            learner,
            graph,
            "valid",
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
        fabric=fabric,
        validate=validate if validated else None,
        metric=config.evaluation.metric,
        planned_bytes=plan.total,
        observer=observer,
    )
    if resume:
        loop.resume()
    loop.train()


def _conclude(run: Run, say: Say) -> Run:
    """Figures on the test split, and the report."""
    if run.graph.info.num_triples.get("test", 0) > 0:
        say("ranking the test triples")
        evaluate(run, "test")
    write_report(run.folder)
    return run
