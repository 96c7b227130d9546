"""Training as one call: configuration and graph in, run folder with weights, figures and report out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from corollary.budget import Budget, Plan, show_bytes
from corollary.errors import ConfigError, RunError
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.learners.conve import ConvE
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.reports.html import write_report
from corollary.runs.config import RunConfig
from corollary.runs.device import choose_device, machine
from corollary.runs.evaluating import evaluate
from corollary.runs.run import Run, build_learner, place_to_record
from corollary.training.loop import Loop, Observer


def train_conve(
    graph: Graph | str | Path,
    output: str | Path,
    config: RunConfig | None = None,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Train ConvE on a graph folder; evaluate on its test split; write everything into a run folder.

    Args:
        output: the run folder; it must not hold a run already.
        observer: told of every step and epoch, for a display.
        say: told in words what is decided (device, plan).

    Memory: as planned, in `config.json` under `plan`; `PlanDoesNotFit` before any work where the limit is smaller.
    """
    graph = graph if isinstance(graph, Graph) else Graph.open(graph)
    config, output = config or RunConfig(), Path(output)
    plan = plan_conve(graph, config)
    say(f"plan: {show_bytes(plan.total)} of {show_bytes(plan.budget.bytes)}")
    fabric = choose_device(config.device, say)
    record = _record(graph, config, plan, fabric, output)
    folder = RunFolder.create(output, record)
    with folder.lock():
        _fit(folder, graph, config, plan, fabric, observer, resume=False)
    return _conclude(folder, graph, say)


def import_loose(
    output: Path,
    train: Sequence[Path],
    valid: Sequence[Path],
    test: Sequence[Path],
    entity_to_id: Path | None,
    relation_to_id: Path | None,
    config: RunConfig,
    *,
    say: Say = silent,
) -> Path:
    """Loose files as a graph folder inside the run folder `output`, ids kept as given."""
    if (output / "config.json").exists():
        raise RunError(
            f"{output} holds a run already: go on with --resume {output}, or choose another folder"
        )
    wanted = ImportConfig(
        train=tuple(train), valid=tuple(valid), test=tuple(test),
        entity_to_id=entity_to_id, relation_to_id=relation_to_id, name=output.name,
    )  # fmt: skip
    return import_graph(output / "graph", wanted, budget=Budget.parse(config.memory_limit), say=say).path


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
    plan = plan_conve(run.graph, run.config)
    recorded, now = run.folder.config, machine(fabric)
    for key in ("device_used", "threads", "processor"):
        if recorded.get(key) != now[key]:
            say(f"note: {key} was {recorded.get(key)} and is {now[key]}: figures will agree, bytes may not")
    with run.folder.lock():
        _fit(run.folder, run.graph, run.config, plan, fabric, observer, resume=True)
    return _conclude(run.folder, run.graph, say)


def plan_conve(graph: Graph, config: RunConfig) -> Plan:
    """The bytes a training will use, by part. Raises `PlanDoesNotFit` where they exceed the limit."""
    budget = Budget.parse(config.memory_limit)
    optimizer = config.training.optimizer

    def planned(moments: int, average: bool) -> Plan:
        return ConvE.plan(config.model, graph.size, budget, moments=moments, average=average)

    plan = planned(optimizer.moments, config.training.average_decay is not None)
    remedies = {"--set training.optimizer.name=sgd": planned(0, plan.parts["averaged weights"] > 0).total}
    if config.training.average_decay is not None:
        remedies["--set training.average_decay=none"] = planned(optimizer.moments, False).total
    if config.model.batch_size > 64:
        smaller = config.changed(model=config.model.changed(batch_size=64))
        remedies["--batch-size 64"] = ConvE.plan(
            smaller.model,
            graph.size,
            budget,
            moments=optimizer.moments,
            average=plan.parts["averaged weights"] > 0,
        ).total
    return plan.check(f"conve on {graph.name}", remedies)


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
    validated = graph.info.num_triples.get("valid", 0) > 0
    if config.training.early_stopping and not validated:
        raise ConfigError(
            f"early stopping needs validation triples, and {graph.path} has none: split it first"
        )

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


def _conclude(folder: RunFolder, graph: Graph, say: Say) -> Run:
    """Figures on the test split, and the report."""
    run = Run(folder, graph)
    if graph.info.num_triples.get("test", 0) > 0:
        say("ranking the test triples")
        evaluate(run, "test")
    write_report(folder)
    return run
