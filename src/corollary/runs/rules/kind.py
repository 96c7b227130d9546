"""Counted rules as a run: mined or imported, counted on a graph, kept in a run folder, ranked as any other predictor.

config.json     options, graph, plan
rules.npz       the rules as columns, checksum in rules.json
rules.tsv       the same for people and programs
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float, Int

from corollary.budget import MIB, Budget, Plan, peak_bytes, resident_bytes, restart_peak, show_bytes
from corollary.errors import ConfigError, RunDamaged, RunError, unknown
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph
from corollary.kernels import on_disk
from corollary.kernels.paths import Links
from corollary.learners.counted_rules import CountedRules, Fired
from corollary.learners.planning import LATER_BYTES
from corollary.learners.protocol import Queries
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.rules.counting import Counting, count
from corollary.rules.files.atoms import Names
from corollary.rules.files.reading import read_rules
from corollary.rules.files.writing import Format, write_rules
from corollary.rules.mining import mine
from corollary.rules.rule import Progress, Rules, links_of
from corollary.runs.device import settle_threads
from corollary.runs.kinds import Ranking, Rescores
from corollary.runs.recording import run_record
from corollary.runs.rules.options import RulesOptions
from corollary.runs.run import Run
from corollary.storage import new_file, sha256
from corollary.training.loop import Observer

_CHUNK = 256
_COMPILING_BYTES = 160 * MIB  # what the compiler takes for the kernels of rules (measured: 120 MiB)


def mine_rules(
    graph: Graph | str | Path,
    output: str | Path,
    config: RulesOptions | None = None,
    *,
    progress: Progress | None = None,
    say: Say = silent,
) -> Run:
    """Look for rules on the training triples, count them, rank the test triples, write a run folder.

    Held-out figures are those on the validation triples. Memory: as planned; `PlanDoesNotFit` before any work.
    """
    config = (config or RulesOptions()).changed(source="mined")
    with_folder = _Start(graph, output, config, say)
    opened, links = with_folder.graph, with_folder.links
    rules = mine(
        links,
        opened.num_relations,
        targets=relation_ids(opened, config.targets, "targets"),
        body_relations=relation_ids(opened, config.body_relations, "body_relations"),
        heldout=with_folder.heldout,
        mining=config.mining,
        how=with_folder.how,
        progress=progress,
        say=say,
    )
    return with_folder.finish(rules)


def import_rules(
    file: str | Path,
    graph: Graph | str | Path,
    output: str | Path,
    config: RulesOptions | None = None,
    *,
    form: Format | None = None,
    progress: Progress | None = None,
    say: Say = silent,
) -> Run:
    """Read the rules of a file and count them again on a graph; otherwise as `mine_rules`."""
    config = (config or RulesOptions()).changed(source="imported")
    started = _Start(graph, output, config, say)
    found = read_rules(Path(file), names_of(started.graph), form)
    say(
        f"{file}: {found.num_read:,} rules as {found.form}, {len(found.rules):,} of them different and understood"
    )
    for kind, number in found.skipped.most_common():
        say(f"left out {number:,}: {kind}")
    rules = found.rules
    targets = relation_ids(started.graph, config.targets, "targets")
    if targets is not None:
        rules = rules.take(np.isin(rules.relations, targets))
    counted = count(rules, started.links, heldout=started.heldout, how=started.how, progress=progress)
    return started.finish(counted.by(config.applying.confidence), skipped=found.skipped)


class _Start:
    """A run folder in the making."""

    def __init__(self, graph: Graph | str | Path, output: str | Path, config: RulesOptions, say: Say) -> None:
        restart_peak()
        settle_threads()
        self.graph = graph if isinstance(graph, Graph) else Graph.open(graph)
        self.graph.verify()
        self.config, self.output, self.say = config, Path(output), say
        held = resident_bytes()
        self.plan = plan_rules(self.graph, config, held=held).check(f"rules on {self.graph.name}")
        say(f"plan: {show_bytes(self.plan.total)} of {show_bytes(self.plan.budget.bytes)}")
        if (self.output / "config.json").exists():
            raise RunError(f"{self.output} holds a run already: choose another folder")
        self.links = train_links(self.graph)
        triples = self.graph.info.num_triples
        self.heldout = split_links(self.graph, "valid") if triples.get("valid", 0) else None
        spare = self.plan.parts["working memory"]
        counting = config.counting
        self.how = Counting(
            distinct=counting.distinct, most_edges=counting.most_edges, most_bytes=spare, seed=config.seed,
            parts=torch.get_num_threads(),
        )  # fmt: skip

    def finish(self, rules: Rules, *, skipped: Counter[str] | None = None) -> Run:
        """Write the folder, with figures on the test triples."""
        record = run_record("rules", self.output, self.graph, self.config, self.plan, torch.device("cpu"))
        folder = RunFolder.create(self.output, record)
        save_rules(folder.path, rules, self.graph, {"skipped": dict(skipped or {})})
        run = Run(folder, self.graph)
        KIND.conclude(run, self.say)
        folder.write_json("memory.json", {"planned_bytes": self.plan.total, "peak_bytes": peak_bytes()})
        return run


class RulesKind:
    """What `kinds.Kind` and `kinds.RankingKind` ask for. Nothing is trained, so there is no loop."""

    name = "rules"
    rescores: Rescores = "quickly"
    options = RulesOptions

    def settled(self, options: RulesOptions, graph: Graph, device: torch.device, say: Say) -> RulesOptions:
        return options

    def plan(
        self,
        graph: Graph,
        options: RulesOptions,
        *,
        device: torch.device | None = None,
        loaded: int | None = None,
    ) -> Plan:
        held = resident_bytes() if loaded is None else loaded
        return plan_rules(graph, options, held=held).check(f"rules on {graph.name}")

    def loop(
        self,
        folder: RunFolder,
        graph: Graph,
        options: RulesOptions,
        plan: Plan,
        device: torch.device,
        observer: Observer | None,
    ) -> NoReturn:
        """Raises `RunError`."""
        raise RunError(f"{folder.path} holds counted rules: there is no training to go on with")

    def checkpoint(self, options: RulesOptions) -> str:
        return options.evaluation.checkpoint

    def conclude(self, run: Run, say: Say) -> Mapping[str, float | None]:
        """Figures on the test triples of the targets, in `evaluation.json`."""
        options = run.options
        assert isinstance(options, RulesOptions)
        if not run.graph.info.num_triples.get("test", 0) or not len(run.ranking.triples(run.graph, "test")):
            return {}
        say("ranking the test triples")
        result, reached = ranked(self.scorer(run), run.graph, run.ranking, seed=options.seed)
        run.folder.write_json("evaluation.json", result.model_dump(mode="json"))
        run.folder.write_json("reach.json", {"counted rules": reached})
        return result.metrics.values()

    def scorer(self, run: Run) -> CountedRules:
        """The run's rules on its graph's training triples."""
        settle_threads()
        options = run.options
        assert isinstance(options, RulesOptions)
        plan_rules(run.graph, options, held=resident_bytes(), budget=run.budget).check(
            f"scoring with {run.path}"
        )
        return CountedRules(load_rules(run.path), train_links(run.graph), options.how)

    def ranking(self, options: RulesOptions) -> Ranking:
        return Ranking(options.evaluation, None, options.targets)


KIND = RulesKind()


class _Watched:
    """Rules that are ranked, and how many of the true answers they gave on the way: each query is prepared once."""

    def __init__(self, scorer: CountedRules, graph: Graph, triples: Int[np.ndarray, "n 3"]) -> None:
        self.scorer, self.num_entities, self.given = scorer, graph.num_entities, 0
        head, relation, tail = np.unique(triples, axis=0).T.astype(np.int64)
        self.true = np.concatenate(
            [self._keys(relation, head, tail), self._keys(relation + graph.num_relations, tail, head)]
        )

    @property
    def device(self) -> torch.device:
        return self.scorer.device

    @property
    def share(self) -> float:
        """Of both sides of all triples."""
        return self.given / max(len(self.true), 1)

    def prepare(self, queries: Queries) -> Fired:
        fired = self.scorer.prepare(queries)
        owners = np.repeat(np.arange(len(queries)), np.diff(fired.offsets))
        entities, relations = queries.entity_ids.numpy(), queries.relation_ids.numpy()
        keys = self._keys(relations[owners], entities[owners], fired.answers)
        self.given += int(np.isin(keys, self.true).sum())
        return fired

    def scores(
        self, prepared: Fired, rows: slice, out: torch.Tensor | None = None
    ) -> Float[torch.Tensor, "queries rows"]:
        return self.scorer.scores(prepared, rows, out)

    def _keys(
        self,
        relations: Int[np.ndarray, " n"],
        entities: Int[np.ndarray, " n"],
        answers: Int[np.ndarray, " n"],
    ) -> Int[np.ndarray, " n"]:
        return (relations * self.num_entities + entities) * self.num_entities + answers


def ranked(
    scorer: CountedRules,
    graph: Graph,
    ranking: Ranking,
    *,
    seed: int,
) -> tuple[Evaluation, float]:
    """Filtered ranks of the test triples, both sides, and the share of their answers that any rule gives."""
    watched, evaluation = _Watched(scorer, graph, ranking.triples(graph, "test")), ranking.evaluation
    result = rank_split(
        watched, graph, "test", relations=ranking.relations(graph), filter=evaluation.filter, ties=evaluation.ties,
        hits=evaluation.hits, chunk=_CHUNK, seed=seed, resamples=evaluation.resamples,
    )  # fmt: skip
    return result, watched.share


def plan_rules(graph: Graph, options: RulesOptions, *, held: int, budget: Budget | None = None) -> Plan:
    """Bytes by part. What the limit leaves is for counting, up to 512 MiB, which decides how many walkers there are."""
    budget = budget or Budget.parse(options.memory_limit)
    size = graph.size
    parts = {
        "before any work": held + LATER_BYTES + (0 if on_disk() else _COMPILING_BYTES),
        "facts as links": size.num_train * 64,
        "reading the facts": size.num_train * 100,
        "ranking": 2 * _CHUNK * 4096 * 8 + 100 * _CHUNK * size.max_answers,
    }
    if options.mining.constants and options.source == "mined":
        parts["joining constants"] = 400 * MIB if size.num_train > 20_000 else 20_000 * size.num_train
    least = size.num_entities * (16 + 16 * (options.mining.longest + 2)) + 8 * MIB
    spare = budget.bytes - sum(parts.values())
    parts["working memory"] = (
        max(least, min(512 * MIB, spare)) if budget.limit is not None else max(least, 512 * MIB)
    )
    return Plan(parts=parts, block_rows=4096, evaluation_chunk=_CHUNK, budget=budget)


def train_links(graph: Graph) -> Links:
    """The training triples, both ways."""
    return split_links(graph, "train")


def split_links(graph: Graph, split: str) -> Links:
    return links_of(np.asarray(graph.triples(split)), graph.num_entities, graph.num_relations)


def names_of(graph: Graph) -> Names:
    return Names(graph.entities, graph.relations.labels)


def relation_ids(graph: Graph, names: Sequence[str], option: str) -> list[int] | None:
    """Ids of relations by label; None where none are named. Raises `ConfigError`."""
    labels = graph.relations.labels
    for name in names:
        if not labels.rows_of(name):
            raise ConfigError(unknown("relation", name, list(labels), where=option))
    return sorted({labels.rows_of(name)[0] for name in names}) if names else None


def save_rules(path: Path, rules: Rules, graph: Graph, notes: Mapping[str, Any]) -> None:
    """Write `rules.npz`, `rules.tsv` and `rules.json` into a run folder."""
    columns = {
        field.name: getattr(rules, field.name) for field in fields(rules) if field.name != "num_relations"
    }
    with new_file(path / "rules.npz") as partial:
        np.savez_compressed(partial, num_relations=np.int64(rules.num_relations), **columns)
    write_rules(path / "rules.tsv", rules, names_of(graph), "tsv")
    record = {"rules": len(rules), "sha256": sha256(path / "rules.npz"), **notes}
    RunFolder(path).write_json("rules.json", record)


def load_rules(path: Path) -> Rules:
    """The rules of a run folder. Raises `RunDamaged`, or `RunError` where it holds none."""
    file = path / "rules.npz"
    if not file.exists():
        raise RunError(f"{path} holds no counted rules: make some with 'corollary rules mine'")
    record = RunFolder(path).read_json("rules.json")
    if record["sha256"] != sha256(file):
        raise RunDamaged(f"{file} has changed since it was written: count the rules again")
    with np.load(file, allow_pickle=False) as columns:
        values = {name: columns[name] for name in columns.files}
    return Rules(num_relations=int(values.pop("num_relations")), **values)
