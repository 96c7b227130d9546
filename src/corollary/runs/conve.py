"""ConvE as a run: what it will use, how it is trained, ranked and loaded."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from corollary.budget import Budget, Plan, resident_bytes
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig
from corollary.kernels import on_disk
from corollary.learners.conve import ConvE
from corollary.learners.negatives import check_negatives
from corollary.learners.planning import Needs
from corollary.learners.row_storage import RowStorage
from corollary.losses.workspace import Precision
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.runs.config import RunConfig
from corollary.runs.device import choose_precision, settle_threads
from corollary.runs.evaluating import conclude
from corollary.runs.kinds import Ranking, Rescores
from corollary.runs.run import Run
from corollary.runs.training import check_early_stopping, has_valid, train
from corollary.training import checkpoints
from corollary.training.averaging import Average
from corollary.training.loop import Loop, Observer
from corollary.training.optimizers import state_bytes
from corollary.training.scaling import LossScale
from corollary.training.steps import GradientSteps
from corollary.training.tracking import tracker_bytes


def train_conve(
    graph: Graph | ImportConfig | str | Path,
    output: str | Path,
    config: RunConfig | None = None,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Train ConvE on a graph folder or loose files, rank the test triples, write a run folder: see `train`."""
    return train(KIND, graph, output, config or RunConfig(), observer=observer, say=say)


class ConvEKind:
    """What `kinds.Kind` and `kinds.RankingKind` ask for."""

    name = "conve"
    rescores: Rescores = "never"
    options = RunConfig

    def settled(self, options: RunConfig, graph: Graph, device: torch.device, say: Say) -> RunConfig:
        """With the precision that was chosen, as it is recorded and resumed with."""
        check_early_stopping(options.training.early_stopping, graph, valid=has_valid(graph))
        precision = choose_precision(options.optimizations, device, say)
        negatives = options.model.negatives
        if negatives.sampled:
            say(f"sampled negatives ({negatives.name}): the loss is an estimate of the 1-N loss")
        return options.changed(optimizations=options.optimizations.changed(precision=precision))

    def plan(
        self,
        graph: Graph,
        options: RunConfig,
        *,
        device: torch.device | None = None,
        loaded: int | None = None,
    ) -> Plan:
        return plan_conve(graph, options, device=device, loaded=loaded)

    def loop(
        self,
        folder: RunFolder,
        graph: Graph,
        options: RunConfig,
        plan: Plan,
        device: torch.device,
        observer: Observer | None,
    ) -> Loop:
        training, saving = options.training, options.optimizations
        precision = saving.precision or "fp32"
        learner = build_learner(
            options, graph, device=device, plan=plan, folder=folder.path, precision=precision
        )
        steps = GradientSteps(
            learner,
            training.optimizer,
            device=device,
            accumulation=training.accumulation,
            clip_norm=training.clip_norm,
            loss_scale=LossScale() if precision == "fp16" else None,
        )

        def validate() -> Mapping[str, float]:
            ranks = rank_split(
                learner,
                graph,
                "valid",
                side=self.ranking(options).side,
                filter="train+valid",
                chunk=plan.evaluation_chunk,
                block_rows=plan.block_rows,
                hits=options.evaluation.hits,
                resamples=0,
                ties=options.evaluation.ties,
            )
            return {name: value for name, value in ranks.metrics.values().items() if value is not None}

        return Loop(
            learner,
            steps,
            graph,
            training,
            folder,
            seed=options.seed,
            device=device,
            average=Average(learner, training.average_decay) if training.average_decay else None,
            cleanup=saving.enable_memory_cleanup,
            validate=validate if has_valid(graph) else None,
            metric=options.evaluation.metric,
            planned_bytes=plan.total,
            observer=observer,
        )

    def checkpoint(self, options: RunConfig) -> str:
        return options.evaluation.checkpoint

    def conclude(self, run: Run, say: Say) -> Mapping[str, float | None]:
        return conclude(run, say)

    def scorer(self, run: Run) -> ConvE:
        """The weights of the run's checkpoint."""
        settle_threads()
        options = run.config
        plan = Plan.model_validate(run.folder.config["plan"])
        if not run.device.startswith("cuda"):
            plan = ConvE.plan_scoring(options.model, run.graph.size, run.budget, held=resident_bytes())
            plan.check(f"scoring with {run.path}")
        learner = build_learner(options, run.graph, device=run.device, plan=plan, folder=run.path)
        checkpoints.load(run.folder.finished_checkpoint(run.checkpoint), learner)
        return learner.eval()

    def ranking(self, options: RunConfig) -> Ranking:
        sides = options.model.sides
        return Ranking(options.evaluation, None if sides == "both" else sides)


KIND = ConvEKind()


def build_learner(
    config: RunConfig,
    graph: Graph,
    *,
    device: torch.device | str = "cpu",
    plan: Plan | None = None,
    folder: Path | None = None,
    precision: Precision = "fp32",
) -> ConvE:
    """A fresh learner for a graph, its weights a function of the seed.

    Args:
        plan: says where the entity table lives and whether feature maps are made again; on the device, no, without.
        folder: where mapped files go, for a table that lives on disk.
    """
    living = plan.table if plan is not None else "device"
    return ConvE(
        config.model,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        seed=config.seed,
        device=device,
        storage=RowStorage(device, living, folder if living == "disk" else None),
        precision=precision,
        recompute=plan is not None and plan.recompute,
    )


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
            validated=has_valid(graph),
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
