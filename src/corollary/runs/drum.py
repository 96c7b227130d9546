"""DRUM as a run: what it will use, how it is trained, ranked and loaded."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from corollary.budget import Budget, Plan, resident_bytes
from corollary.errors import ConfigError, unknown
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_triples
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig
from corollary.kernels import on_disk
from corollary.learners.counted_rules import CountedRules
from corollary.learners.drum import THREADS, Drum, uniform_reach
from corollary.learners.drum_data import DrumData, drum_data
from corollary.learners.drum_groups import Turn, turns_of
from corollary.learners.drum_rules import grounded_rules
from corollary.learners.drum_scoring import DrumEnsemble, Member
from corollary.learners.planning import COMPILING_BYTES, LATER_BYTES
from corollary.learners.protocol import Scorer
from corollary.messages import Say, silent
from corollary.randomness import generator
from corollary.records.run_folder import RunFolder
from corollary.rules.counting import Counting, count
from corollary.rules.rule import Rules, joined
from corollary.runs.device import settle_threads
from corollary.runs.drum_groups import Groups
from corollary.runs.drum_options import DrumOptions
from corollary.runs.drum_steps import DrumSteps
from corollary.runs.kinds import Ranking
from corollary.runs.rules import load_rules, ranked, save_rules, split_links, train_links
from corollary.runs.run import Run
from corollary.runs.training import train
from corollary.training import checkpoints
from corollary.training.loop import Loop, Observer

_CHUNK = 256
"""Queries scored at once."""


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
    options = DrumOptions

    def settled(self, options: DrumOptions, graph: Graph, device: torch.device, say: Say) -> DrumOptions:
        """With the targets by name and the epochs that groups make."""
        targets = _targets(options, graph)
        if options.training.early_stopping and not has_valid(graph, targets):
            raise ConfigError(f"early stopping needs validation triples, and {graph.path} has none")
        if options.max_relations is not None and targets is not None:
            names = tuple(graph.relations.label(int(target)) for target in targets)
            say(f"asks for {len(names)} of {graph.num_relations} relations; bodies may use all")
            options = options.changed(targets=names, max_relations=None)
        if options.groups.target_batch_size is not None:
            turns = turns_of(options.groups, _asked(graph, options, targets), seed=options.seed)
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
        targets = _targets(options, graph)
        data = reached_data(graph, options, targets)
        learner = fresh(graph, options, device=device).walk_on(data)
        turns = (
            turns_of(options.groups, data.triples, seed=options.seed)
            if options.groups.target_batch_size
            else []
        )
        learner.turns = _turns_by_epoch(turns, options)
        validated, metric = _validated(learner, graph, options, plan, targets)
        groups = Groups(folder.path)

        def validate() -> Mapping[str, float]:
            figures = validated()
            if learner.turn is not None:
                epoch = len(folder.metrics()) + 1
                groups.offer(learner, graph, learner.turn, epoch=epoch, metric=metric, value=figures[metric])
            return figures

        return Loop(
            learner,
            DrumSteps(learner, options.training),
            graph,
            options.training,
            folder,
            seed=options.seed,
            device=device,
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
        rules = extracted_rules(run, options, say)
        save_rules(run.path, rules, run.graph, {"source": "drum"})
        if not run.graph.info.num_triples.get("test", 0):
            return {}
        targets = _targets(options, run.graph)
        test = np.asarray(run.graph.triples("test"))
        some = test if targets is None else test[np.isin(test[:, 1], targets)]
        if not len(some):
            return {}
        say("ranking the test triples")
        result = _ranked(run.scorer, run.graph, some, options, _plan(run).evaluation_chunk, split="test")
        run.folder.write_json("evaluation.json", result.model_dump(mode="json"))
        counted = ranked(
            CountedRules(load_rules(run.path), train_links(run.graph), options.how), run.graph, some,
            options.evaluation, seed=options.seed,
        )  # fmt: skip
        run.folder.write_json("rules_evaluation.json", counted.model_dump(mode="json"))
        say(f"test mrr of the model {result.mrr:.4f}, of its counted rules {counted.mrr:.4f}")
        return result.metrics.values() | {f"rules {name}": v for name, v in counted.metrics.values().items()}

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
        return members[0].learner if len(members) == 1 and members[0].covers.all() else DrumEnsemble(members)

    def ranking(self, options: DrumOptions) -> Ranking:
        return Ranking(options.evaluation, None)


KIND = DrumKind()


def fresh(graph: Graph, options: DrumOptions, *, device: torch.device | str = "cpu") -> Drum:
    """A learner with the first weights of its seed."""
    return Drum(
        options.model,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        seed=options.seed,
        device=device,
    )


def models_of(run: Run, options: DrumOptions) -> list[tuple[Drum, list[int]]]:
    """The models of a run in evaluation mode, each with the relations that it answers for."""
    if options.groups.target_batch_size is not None:
        return list(
            Groups(run.path).members(run.graph, lambda: fresh(run.graph, options, device=run.device)).values()
        )
    learner = fresh(run.graph, options, device=run.device)
    checkpoints.load(run.folder.finished_checkpoint(run.checkpoint), learner)
    targets = _targets(options, run.graph)
    covered = range(run.graph.num_relations) if targets is None else targets.tolist()
    return [(learner.eval(), list(covered))]


def extracted_rules(run: Run, options: DrumOptions, say: Say) -> Rules:
    """The rules that carry the scores of the model's own targets, counted on train, best confidence first."""
    graph, found = run.graph, []
    asked = _targets(options, graph)
    data = drum_data(graph, options.model, seed=options.seed, targets=asked)
    every = _with_queries(graph) if asked is None else asked
    for learner, relations in models_of(run, options):
        targets = [relation for relation in relations if relation in every]
        learner.walk_on(data)
        found.append(grounded_rules(learner, targets, options.extracting, seed=options.seed, say=say))
    rules = joined(found, graph.num_relations)
    say(f"{len(rules):,} rules of the model are counted")
    valid = split_links(graph, "valid") if graph.info.num_triples.get("valid", 0) else None
    counting = options.counting
    how = Counting(distinct=counting.distinct, most_edges=counting.most_edges, seed=options.seed)
    return count(rules, train_links(graph), heldout=valid, how=how).by(options.applying.confidence)


def reached_data(graph: Graph, options: DrumOptions, targets: Int[np.ndarray, " targets"] | None) -> DrumData:
    """Facts and queries, without examples that no walk reaches: they have no gradient and only blur the loss."""
    data = drum_data(graph, options.model, seed=options.seed, targets=targets)
    if not len(data.triples):
        raise ConfigError(f"{graph.path} has no triples to ask for: the targets have no facts in train")
    reached = uniform_reach(data.links, options.model, data, data.triples)
    if not reached.any():
        raise ConfigError(
            f"no training triple of {graph.path} can be reached by {options.model.rule_length} steps without itself: "
            "use longer rules (rule_length) or more body relations"
        )
    data.reached = reached
    return data


def figures_of(run: Run) -> dict[str, dict[str, float | None]]:
    """Test figures of the model and of its counted rules, with ties expected in the middle and at both ends."""
    found: dict[str, dict[str, float | None]] = {}
    for name, file in (("model", "evaluation.json"), ("counted rules", "rules_evaluation.json")):
        if (run.path / file).exists():
            result = Evaluation.model_validate(run.folder.read_json(file))
            found[name] = {
                **result.metrics.values(),
                **{f"mrr {ties}": figures.mrr for ties, figures in result.figures.sides["both"].items()},
            }
    return found


def plan_drum(graph: Graph, options: DrumOptions, *, held: int, budget: Budget | None = None) -> Plan:
    """Bytes of a training by part. Raises nothing: `check` does."""
    model, size = options.model, graph.size
    directed = 2 * graph.num_relations
    queries = min(2 * model.batch_size, directed)
    d, h, cells = model.query_embed_size, model.lstm_size, 2 * model.components
    weights = 4 * (directed * d + cells * (d + h + 1) * 4 * h + (2 * h + 1) * (directed + 1))
    attention = queries * model.rule_length * (directed + 1) * model.components
    state = size.num_entities * (
        model.components * 16 * (model.rule_length + 2) + 16 * (model.rule_length + 2)
    )
    triples = size.num_train
    chunk = _CHUNK
    return Plan(
        parts={
            "before training": held + LATER_BYTES + (0 if on_disk() else COMPILING_BYTES),
            "weights with gradient and moments": weights * (2 + options.training.optimizer.moments),
            "attention and its gradient": attention * 40,
            "LSTMs": cells * queries * h * 4 * 16 * model.rule_length,
            "states of the walks": state * THREADS,
            "facts as links": triples * 64,
            "queries": triples * 48,
            "reading the facts": triples * 140,
            "ranking": chunk * (size.num_entities * 8 + 4096 * 8) + 100 * chunk * size.max_answers,
        },
        block_rows=model.block_rows,
        evaluation_chunk=chunk,
        budget=budget or Budget.parse(options.memory_limit),
    )


def has_valid(graph: Graph, targets: Int[np.ndarray, " targets"] | None) -> bool:
    """Whether any target has validation triples."""
    if not graph.info.num_triples.get("valid", 0):
        return False
    return targets is None or bool(np.isin(np.asarray(graph.triples("valid"))[:, 1], targets).any())


def _validated(
    learner: Drum, graph: Graph, options: DrumOptions, plan: Plan, targets: Int[np.ndarray, " targets"] | None
) -> tuple[Callable[[], Mapping[str, float]], str]:
    """What measures the weights, and its figure: ranks of the validation triples of the targets whose turn it is. Where
    there are none, the mean log score of the training answers, each without its own edge."""
    if not has_valid(graph, targets):
        return lambda: {"log_score": _log_score(learner, graph, options)}, "log_score"
    valid = np.asarray(graph.triples("valid"))
    metric = options.evaluation.metric

    def validate() -> Mapping[str, float]:
        asked = targets if learner.turn is None else learner.turn.targets
        some = valid if asked is None else valid[np.isin(valid[:, 1], asked)]
        if not len(some):
            return {metric: 0.0, "num_triples": 0}
        ranks = _ranked(learner, graph, some, options, plan.evaluation_chunk, split="valid")
        return {name: value for name, value in ranks.metrics.values().items() if value is not None}

    return validate, metric


def _log_score(learner: Drum, graph: Graph, options: DrumOptions) -> float:
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in learner.batches(graph, seed=options.seed, epoch=learner.epoch):
            total += float(learner.losses(batch).sum())
            count += len(batch)
    return -total / max(count, 1) if math.isfinite(total) else -math.inf


def _ranked(
    scorer: Scorer,
    graph: Graph,
    triples: Int[np.ndarray, "n 3"],
    options: DrumOptions,
    chunk: int,
    *,
    split: str,
) -> Evaluation:
    evaluation = options.evaluation
    return rank_triples(
        scorer, graph, triples, name=split,
        filter=evaluation.filter if split == "test" else "train+valid",
        ties=evaluation.ties, hits=evaluation.hits, block_rows=options.model.block_rows, chunk=chunk,
        seed=options.seed, resamples=evaluation.resamples if split == "test" else 0,
    )  # fmt: skip


def _targets(options: DrumOptions, graph: Graph) -> Int[np.ndarray, " targets"] | None:
    """Ids of the relations that are asked for; None: all. Raises `ConfigError` for an unknown one or one without facts."""
    asked = _with_queries(graph)
    if options.targets:
        labels = graph.relations.labels
        for name in options.targets:
            if not labels.rows_of(name):
                raise ConfigError(unknown("relation", name, list(labels), where="targets"))
        targets = np.unique([labels.rows_of(name)[0] for name in options.targets])
        without = [graph.relations.label(int(target)) for target in targets if target not in asked]
        if without:
            raise ConfigError(f"target {without[0]!r} has no facts in train: leave it out or add some")
        return targets
    if options.max_relations is None:
        return None
    if options.max_relations > len(asked):
        raise ConfigError(
            f"max_relations = {options.max_relations} is more than the {len(asked)} with facts in train"
        )
    draw = generator(options.seed, "targets").permutation(len(asked))[: options.max_relations]
    return np.sort(asked[draw])


def _with_queries(graph: Graph) -> Int[np.ndarray, " targets"]:
    return np.unique(np.asarray(graph.triples("train"))[:, 1])


def _asked(
    graph: Graph, options: DrumOptions, targets: Int[np.ndarray, " targets"] | None
) -> Int[np.ndarray, "n 3"]:
    return drum_data(graph, options.model, seed=options.seed, targets=targets).triples


def _turns_by_epoch(turns: list[Turn], options: DrumOptions) -> list[Turn]:
    """The turn of every epoch."""
    return [turn for turn in turns for _ in range(options.groups.epochs_per_group)]


def _plan(run: Run) -> Plan:
    return Plan.model_validate(run.folder.config["plan"])
