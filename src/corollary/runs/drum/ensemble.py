"""Several runs of DRUM as one: each answers for the targets it was trained for, counted rules answer for the others.

Where several cover a relation, the mean of their normalised distributions answers. Relations that no run covers are
listed, and their rules are mined from the bottom up: nothing is silently zero.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from corollary.budget import Plan, peak_bytes, resident_bytes, restart_peak
from corollary.errors import ConfigError, GraphMismatch, RunError
from corollary.graph.folder import Graph
from corollary.learners.counted_rules import CountedRules
from corollary.learners.drum.data import drum_data
from corollary.learners.drum.scoring import DrumEnsemble, Member
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.rules.counting import Counting
from corollary.rules.mining import Mining, mine
from corollary.rules.rule import Rules, joined
from corollary.runs.device import settle_threads
from corollary.runs.drum.asking import with_queries
from corollary.runs.drum.concluding import figures_on_test
from corollary.runs.drum.models import models_of
from corollary.runs.drum.options import DrumOptions
from corollary.runs.drum.planning import plan_drum
from corollary.runs.kinds import Ranking, Rescores
from corollary.runs.recording import run_record
from corollary.runs.rules.kind import load_rules, relation_ids, save_rules, split_links, train_links
from corollary.runs.rules.options import WithRules
from corollary.runs.run import Run
from corollary.training.loop import Observer


class EnsembleOptions(WithRules):
    """Which runs answer together."""

    members: tuple[str, ...] = ()
    """Their folders, relative to this run's."""
    mining: Mining = Mining(constants=False)
    """How rules are looked for where no member covers a relation."""


class EnsembleKind:
    """What `kinds.Kind` and `kinds.RankingKind` ask for. Nothing is trained, so there is no loop."""

    name = "drum-ensemble"
    rescores: Rescores = "quickly"
    options = EnsembleOptions

    def settled(
        self, options: EnsembleOptions, graph: Graph, device: torch.device, say: Say
    ) -> EnsembleOptions:
        return options

    def plan(
        self,
        graph: Graph,
        options: EnsembleOptions,
        *,
        device: torch.device | None = None,
        loaded: int | None = None,
    ) -> Plan:
        """The plan of one member: what it trained with is more than the weights of the others."""
        held = resident_bytes() if loaded is None else loaded
        one = DrumOptions(memory_limit=options.memory_limit)
        return plan_drum(graph, one, held=held).check(f"several runs of drum on {graph.name}")

    def loop(
        self,
        folder: RunFolder,
        graph: Graph,
        options: EnsembleOptions,
        plan: Plan,
        device: torch.device,
        observer: Observer | None,
    ) -> NoReturn:
        """Raises `RunError`."""
        raise RunError(f"{folder.path} puts other runs together: resume those that are not finished")

    def checkpoint(self, options: EnsembleOptions) -> str:
        return options.evaluation.checkpoint

    def conclude(self, run: Run, say: Say) -> Mapping[str, float | None]:
        """Figures on the test triples, of the models and of the rules."""
        return figures_on_test(run, say)

    def scorer(self, run: Run) -> DrumEnsemble:
        """Every member's models, and the rules of this folder for what none covers."""
        settle_threads()
        options = run.options
        assert isinstance(options, EnsembleOptions)
        members = [
            model for name in options.members for model in members_of(_opened(run.path / name, run.graph))
        ]
        fallback = CountedRules(load_rules(run.path), train_links(run.graph), options.how)
        return DrumEnsemble(members, fallback)

    def ranking(self, options: EnsembleOptions) -> Ranking:
        return Ranking(options.evaluation, None, options.targets)


KIND = EnsembleKind()


def combine_drum(
    runs: Sequence[str | Path],
    output: str | Path,
    config: EnsembleOptions | None = None,
    *,
    graph: str | Path | None = None,
    say: Say = silent,
) -> Run:
    """Put finished runs of DRUM on one graph together into a run that can be evaluated, asked and shown.

    Args:
        graph: the graph folder, where it is no longer where the runs were trained.

    Raises `GraphMismatch` where a run was trained on another graph, `RunError` where one is of another learner.
    """
    restart_peak()
    if not runs:
        raise ConfigError("nothing to put together: name the run folders")
    output = Path(output)
    first = Run.open(runs[0], graph=graph)
    opened = [_opened(Path(run), first.graph) for run in runs]
    twice = next(
        (path for path, number in Counter(run.path.resolve() for run in opened).items() if number > 1), None
    )
    if twice is not None:
        raise ConfigError(f"{twice} is named twice, and every run answers once: name different runs")
    places = tuple(relpath(run.path.resolve(), output.resolve()) for run in opened)
    options = (config or EnsembleOptions()).changed(members=places)
    plan = KIND.plan(first.graph, options)
    covers = np.any([member.covers for run in opened for member in members_of(run)], axis=0)
    named = relation_ids(first.graph, options.targets, "targets")
    asked = with_queries(first.graph).tolist() if named is None else named
    uncovered = [target for target in asked if not covers[target]]
    rules = _rules(opened, uncovered, options, say)
    record = run_record(KIND.name, output, first.graph, options, plan, torch.device("cpu"))
    folder = RunFolder.create(output, record)
    labels = [first.graph.relations.label(target) for target in uncovered]
    if labels:
        say(
            f"no run covers {len(labels)} relations, which counted rules answer for: {', '.join(labels[:20])}"
        )
    save_rules(folder.path, rules, first.graph, {"source": "drum-ensemble", "uncovered": labels})
    run = Run(folder, first.graph)
    KIND.conclude(run, say)
    folder.write_json("memory.json", {"planned_bytes": plan.total, "peak_bytes": peak_bytes()})
    return run


def members_of(run: Run) -> list[Member]:
    """The models of one run with what they cover, ready to score."""
    options = run.options
    assert isinstance(options, DrumOptions)
    data = drum_data(run.graph, options.model, seed=options.seed)
    members = []
    for learner, relations in models_of(run, options):
        covers = np.zeros(run.graph.num_relations, bool)
        covers[relations] = True
        members.append(Member(learner.walk_on(data), covers))
    return members


def _opened(path: Path, graph: Graph) -> Run:
    """One run on the graph of all. Raises `GraphMismatch`, `RunError`."""
    run = Run.open(path, graph=graph.path)
    if run.graph.fingerprint != graph.fingerprint:
        raise GraphMismatch(f"{path} was not trained on {graph.path}: only runs on one graph go together")
    if not isinstance(run.options, DrumOptions):
        raise RunError(f"{path} is a run of {run.kind.name}: only runs of drum go together")
    return run


def _rules(runs: Sequence[Run], uncovered: list[int], options: EnsembleOptions, say: Say) -> Rules:
    """The counted rules of all runs, each once, and mined ones for what none covers."""
    graph = runs[0].graph
    found = [load_rules(run.path) for run in runs]
    if uncovered:
        valid = split_links(graph, "valid") if graph.info.num_triples.get("valid", 0) else None
        how = Counting(distinct=options.counting.distinct, most_edges=options.counting.most_edges)
        found.append(
            mine(
                train_links(graph),
                graph.num_relations,
                targets=uncovered,
                heldout=valid,
                mining=options.mining,
                how=how,
                say=say,
            )
        )
    return joined(found, graph.num_relations).once().by(options.applying.confidence)
