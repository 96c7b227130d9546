"""DRUM as a run: what it will use, how it is trained, ranked and loaded."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from corollary.budget import Budget, Plan, resident_bytes
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig
from corollary.learners.counted_rules import CountedRules
from corollary.learners.drum.data import DrumData, drum_data
from corollary.learners.drum.groups import Turn, turns_of
from corollary.learners.drum.scoring import DrumEnsemble, Member
from corollary.learners.protocol import Scorer
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.runs.device import settle_threads
from corollary.runs.drum.asking import reached_data, targets_of
from corollary.runs.drum.concluding import figures_on_test
from corollary.runs.drum.groups import Groups
from corollary.runs.drum.models import extracted_rules, fresh, models_of
from corollary.runs.drum.options import DrumOptions
from corollary.runs.drum.planning import plan_drum, plan_on_device
from corollary.runs.drum.steps import DrumSteps
from corollary.runs.drum.validating import LOG_SCORE, validated
from corollary.runs.kinds import Ranking, Rescores
from corollary.runs.rules.kind import load_rules, save_rules, train_links
from corollary.runs.run import Run
from corollary.runs.training import check_early_stopping, has_valid, train
from corollary.training.loop import Loop, Observer


def train_drum(
    graph: Graph | ImportConfig | str | Path,
    output: str | Path,
    config: DrumOptions | None = None,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Train DRUM on a graph folder or loose files, rank the test triples, write a run folder: see `training.train`."""
    return train(KIND, graph, output, config or DrumOptions(), observer=observer, say=say)


class DrumKind:
    """What `kinds.Kind` and `kinds.RankingKind` ask for."""

    name = "drum"
    rescores: Rescores = "quickly"
    options = DrumOptions

    def settled(self, options: DrumOptions, graph: Graph, device: torch.device, say: Say) -> DrumOptions:
        """With the targets by name and the epochs that groups make."""
        targets = targets_of(options, graph)
        check_early_stopping(options.training.early_stopping, graph, valid=has_valid(graph, targets))
        if options.max_relations is not None and targets is not None:
            names = tuple(graph.relations.label(int(target)) for target in targets)
            say(f"asks for {len(names)} of {graph.num_relations} relations; bodies may use all")
            options = options.changed(targets=names, max_relations=None)
        if options.groups.target_batch_size is not None:
            turns = turns_of(
                options.groups, _reachable(reached_data(graph, options, targets)), seed=options.seed
            )
            epochs = len(turns) * options.groups.epochs_per_group
            say(f"{len(turns)} turns of {options.groups.epochs_per_group} epochs: {epochs} epochs")
            options = options.changed(training=options.training.changed(epochs=epochs, validate_every=1))
        return options

    def plan(
        self,
        graph: Graph,
        options: DrumOptions,
        *,
        device: torch.device | None = None,
        loaded: int | None = None,
    ) -> Plan:
        """Bytes by part. The step needs no more for more relations, but for attention: a few numbers each."""
        if device is not None and device.type == "cuda":
            budget = Budget.parse(options.memory_limit)
            if budget.limit is None:
                budget = Budget(limit=torch.cuda.get_device_properties(device).total_memory)
            return plan_on_device(graph, options, budget).check(f"drum on {graph.name}")
        held = resident_bytes() if loaded is None else loaded
        plan = plan_drum(graph, options, held=held)
        return plan.check(f"drum on {graph.name}")

    def loop(
        self,
        folder: RunFolder,
        graph: Graph,
        options: DrumOptions,
        plan: Plan,
        device: torch.device,
        observer: Observer | None,
    ) -> Loop:
        targets = targets_of(options, graph)
        data = reached_data(graph, options, targets)
        folder.write_json("queries.json", _counted(data))
        learner = fresh(graph, options, device=device).walk_on(data)
        turns = (
            turns_of(options.groups, _reachable(data), seed=options.seed)
            if options.groups.target_batch_size
            else []
        )
        learner.turns = _turns_by_epoch(turns, options)
        measured, metric = validated(learner, graph, options, plan, targets)
        groups = Groups(folder.path)

        def validate() -> Mapping[str, float]:
            figures = measured()
            if learner.turn is not None:
                epoch = len(folder.metrics()) + 1
                name = metric if metric in figures else LOG_SCORE
                groups.offer(learner, graph, learner.turn, epoch=epoch, metric=name, value=figures[name])
            return figures

        return Loop(
            learner,
            DrumSteps(learner, options.training),
            graph,
            options.training,
            folder,
            seed=options.seed,
            device=device,
            cleanup=False,  # nothing is kept between steps, and looking for it takes .4 s an epoch
            validate=validate,
            metric=metric,
            planned_bytes=plan.total,
            observer=observer,
        )

    def checkpoint(self, options: DrumOptions) -> str:
        return options.evaluation.checkpoint

    def conclude(self, run: Run, say: Say) -> Mapping[str, float | None]:
        """Rules of the model, counted; then figures of the model and of its rules on the test triples of the targets."""
        options = run.options
        assert isinstance(options, DrumOptions)
        asked = run.folder.read_json("queries.json")
        say(
            f"{asked['unreachable']:,} of {asked['examples']:,} examples had no walk to their answer and were left out"
        )
        rules = extracted_rules(run, options, say)
        save_rules(run.path, rules, run.graph, {"source": "drum"})
        return figures_on_test(run, say)

    def scorer(self, run: Run) -> Scorer:
        """The weights of the run's checkpoint; with groups the best weights of the last turn of each target."""
        settle_threads()
        options = run.options
        assert isinstance(options, DrumOptions)
        plan_drum(run.graph, options, held=resident_bytes(), budget=run.budget).check(
            f"scoring with {run.path}"
        )
        data = drum_data(run.graph, options.model, seed=options.seed)
        members = []
        for learner, relations in models_of(run, options):
            covers = np.zeros(run.graph.num_relations, bool)
            covers[relations] = True
            members.append(Member(learner.walk_on(data), covers))
        if len(members) == 1 and members[0].covers.all():
            return members[0].learner
        counted = (run.path / "rules.npz").exists()
        fallback = (
            CountedRules(load_rules(run.path), train_links(run.graph), options.how) if counted else None
        )
        return DrumEnsemble(members, fallback)

    def ranking(self, options: DrumOptions) -> Ranking:
        return Ranking(options.evaluation, None, options.targets)


KIND = DrumKind()


def _turns_by_epoch(turns: list[Turn], options: DrumOptions) -> list[Turn]:
    """The turn of every epoch."""
    return [turn for turn in turns for _ in range(options.groups.epochs_per_group)]


def _reachable(data: DrumData) -> Int[np.ndarray, "m 3"]:
    """Triples of which a side has a walk to its answer."""
    assert data.reached is not None
    return data.triples[data.reached.any(1)]


def _counted(data: DrumData) -> dict[str, int]:
    """What is asked for, for `queries.json`."""
    assert data.reached is not None
    return {
        "triples": len(data.triples),
        "examples": data.reached.size,
        "unreachable": int((~data.reached).sum()),
    }
