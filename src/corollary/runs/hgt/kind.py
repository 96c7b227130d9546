"""HGT as a run: how it is trained, ranked and loaded."""

from collections.abc import Mapping
from pathlib import Path

import torch

from corollary.budget import Plan
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig
from corollary.graph.typed_links import TypedLinks
from corollary.learners.hgt.model import Hgt
from corollary.learners.row_storage import Living, RowStorage
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.runs.device import settle_threads
from corollary.runs.hgt.checks import check_types
from corollary.runs.hgt.features import read_features
from corollary.runs.hgt.options import HgtOptions
from corollary.runs.hgt.planning import plan_hgt, plan_scoring
from corollary.runs.hgt.reporting import conclude_hgt
from corollary.runs.kinds import Ranking, Rescores
from corollary.runs.run import Run
from corollary.runs.training import check_early_stopping, has_valid, train
from corollary.training import checkpoints
from corollary.training.loop import Loop, Observer
from corollary.training.steps import GradientSteps


def train_hgt(
    graph: Graph | ImportConfig | str | Path,
    output: str | Path,
    config: HgtOptions | None = None,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Train HGT on a graph folder or loose files, rank the test triples beside simple baselines: see `training.train`."""
    return train(KIND, graph, output, config or HgtOptions(), observer=observer, say=say)


class HgtKind:
    """What `kinds.Kind` and `kinds.RankingKind` ask for."""

    name = "hgt"
    rescores: Rescores = "slowly"
    options = HgtOptions

    def settled(self, options: HgtOptions, graph: Graph, device: torch.device, say: Say) -> HgtOptions:
        """Says what the types of the graph leave out."""
        check_early_stopping(options.training.early_stopping, graph, valid=has_valid(graph))
        check_types(graph, say)
        read_features(graph, options.model.features)
        found = {name: path.resolve() for name, path in options.model.features.items()}
        return options.changed(model=options.model.changed(features=found)) if found else options

    def plan(
        self,
        graph: Graph,
        options: HgtOptions,
        *,
        device: torch.device | None = None,
        loaded: int | None = None,
    ) -> Plan:
        return plan_hgt(graph, options, device=device, loaded=loaded)

    def loop(
        self,
        folder: RunFolder,
        graph: Graph,
        options: HgtOptions,
        plan: Plan,
        device: torch.device,
        observer: Observer | None,
    ) -> Loop:
        training = options.training
        learner = build_hgt(options, graph, device=device, living=plan.table, folder=folder.path)
        learner.asks(graph, options.links, options.sampling)
        steps = GradientSteps(
            learner,
            training.optimizer,
            device=device,
            accumulation=training.accumulation,
            clip_norm=training.clip_norm,
        )

        def validate() -> Mapping[str, float]:
            ranks = rank_split(
                learner, graph, "valid", filter="train+valid", chunk=plan.evaluation_chunk,
                block_rows=plan.block_rows, hits=options.evaluation.hits, resamples=0,
                ties=options.evaluation.ties,
            )  # fmt: skip
            return {name: value for name, value in ranks.metrics.values().items() if value is not None}

        return Loop(
            learner,
            steps,
            graph,
            training,
            folder,
            seed=options.seed,
            device=device,
            validate=validate if has_valid(graph) else None,
            metric=options.evaluation.metric,
            planned_bytes=plan.total,
            observer=observer,
        )

    def checkpoint(self, options: HgtOptions) -> str:
        return options.evaluation.checkpoint

    def conclude(self, run: Run, say: Say) -> Mapping[str, float | None]:
        return conclude_hgt(run, say)

    def scorer(self, run: Run) -> Hgt:
        """The weights of the run's checkpoint; embeddings are made from all training edges when they are first needed."""
        settle_threads()
        options = run.options
        assert isinstance(options, HgtOptions)
        plan = plan_scoring(run.graph, options, run.budget, accelerator=run.device.startswith("cuda"))
        plan.check(f"scoring with {run.path}")
        learner = build_hgt(options, run.graph, device=run.device, living=plan.table, folder=run.path)
        checkpoints.load(run.folder.finished_checkpoint(run.checkpoint), learner)
        return learner.eval()

    def ranking(self, options: HgtOptions) -> Ranking:
        return Ranking(options.evaluation, None)


KIND = HgtKind()


def build_hgt(
    options: HgtOptions,
    graph: Graph,
    *,
    device: torch.device | str = "cpu",
    living: Living = "device",
    folder: Path | None = None,
) -> Hgt:
    """A fresh learner for a graph, its weights a function of the seed.

    Args:
        living: where input embeddings lie, as a plan says.
        folder: where mapped files go.
    """
    return Hgt(
        options.model,
        TypedLinks.of(graph),
        num_relations=graph.num_relations,
        seed=options.seed,
        device=device,
        storage=RowStorage(device, living, folder if living == "disk" else None),
        features=read_features(graph, options.model.features),
    )
