"""The stages of a pipeline, each done once: what is finished lies in the folder (see `pipeline`) and is taken from there."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from corollary.budget import Plan, show_bytes
from corollary.errors import RunError
from corollary.graph.folder import Graph
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.repurpose.answering import Answering, Scores
from corollary.repurpose.classifier import need_extra
from corollary.repurpose.config import PairsConfig, RepurposeConfig, Scheme
from corollary.repurpose.cutting import everything
from corollary.repurpose.evaluating import SchemeFigures, judge_scheme
from corollary.repurpose.evidence import PairEvidence, Witness
from corollary.repurpose.faithfulness import delete_best_paths
from corollary.repurpose.learned import Learned, rules_run
from corollary.repurpose.listing import FILES, Answer, ListColumns, answers, read_lists, write_lists
from corollary.repurpose.pair_files import read_places
from corollary.repurpose.pairs import Fold, Pairs, read_pairs, with_negatives
from corollary.repurpose.planning import plan_repurposing
from corollary.repurpose.rule_evidence import rule_evidence
from corollary.repurpose.splitting import folds_of
from corollary.repurpose.untrained import Untrained
from corollary.storage import new_folder, sha256
from corollary.training.loop import Observer


def open_stages(
    graph: Graph | str | Path,
    output: str | Path,
    config: RepurposeConfig,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> "Stages":
    """Check graph, options and memory, and start or take up a folder: see `pipeline.repurpose_graph`."""
    need_extra()
    opened = graph if isinstance(graph, Graph) else Graph.open(graph)
    opened.verify()
    pairs = pairs_of(opened, config.relation, config.pairs, say)
    learned = Learned(opened, pairs, config, Path(output), observer=observer, say=say)
    plan = plan_repurposing(opened, pairs, config, learned)
    say(f"plan: {show_bytes(plan.total)} of {show_bytes(plan.budget.bytes)}")
    stages = Stages(opened, pairs, RunFolder(Path(output)), config, learned, say=say)
    for scheme in config.splitting.schemes:
        stages.folds(scheme)
    _start(stages, plan)  # only now that nothing is left which may be refused
    return stages


def pairs_of(graph: Graph, relation: str, config: PairsConfig, say: Say = silent) -> Pairs:
    """Pairs with what relations and files say of them."""
    pairs = read_pairs(
        graph, relation, side=config.side, head_type=config.head_type, tail_type=config.tail_type,
        negatives=config.negatives, marks=config.marks,
    )  # fmt: skip
    files = [(name, path, False) for name, path in config.mark_files.items()]
    if config.negatives_file is not None:
        files.append(("refuted", config.negatives_file, True))
    for name, path, are_negatives in files:
        places, missed = read_places(path, pairs, graph)
        say(f"{path}: {len(places):,} pairs" + (f", {missed:,} lines name other nodes" if missed else ""))
        while name in pairs.marks:  # a relation's, or another file's
            name += "_file"
        pairs = with_negatives(pairs, places if are_negatives else places[:0], {name: places})
    say(
        f"{len(pairs.rows):,} {pairs.rows.type} x {len(pairs.columns):,} {pairs.columns.type}, {len(pairs.known):,} known pairs"
        + (f", {len(pairs.negatives):,} known not to be" if len(pairs.negatives) else "")
    )
    return pairs


def _start(stages: "Stages", plan: Plan) -> None:
    """Make the folder with its record; one that is there has to be of the same call."""
    graph, pairs, folder = stages.graph, stages.pairs, stages.folder
    options = stages.config.model_dump(mode="json", exclude={"memory_limit"})
    if (stages.output / "config.json").exists():
        recorded = folder.read_json("config.json")
        if recorded.get("fingerprint") != graph.fingerprint or recorded.get("options") != options:
            raise RunError(
                f"{stages.output} holds lists of another graph or other options: choose another folder"
            )
        return
    stages.output.mkdir(parents=True, exist_ok=True)
    folder.write_json(
        "config.json",
        {
            "format": 1,
            "graph": graph.name,
            "fingerprint": graph.fingerprint,
            "rows": pairs.rows.type,
            "columns": pairs.columns.type,
            "known_pairs": len(pairs.known),
            "options": options,
            "plan": plan.model_dump(mode="json"),
        },
    )


class Stages:
    """Folds, answers, figures, lists and the report of one folder. One process at a time: hold `folder.lock()`."""

    def __init__(
        self,
        graph: Graph,
        pairs: Pairs,
        folder: RunFolder,
        config: RepurposeConfig,
        learned: Learned,
        *,
        say: Say = silent,
    ) -> None:
        self.graph, self.pairs, self.folder, self.config = graph, pairs, folder, config
        self.learned, self.say, self.output = learned, say, folder.path
        self.untrained = Untrained.of(graph, pairs, config.baseline)
        self.answering = Answering(pairs, self.untrained, self.learned, config, self.output, say=say)
        self._folds: dict[Scheme, list[Fold]] = {}

    def folds(self, scheme: Scheme) -> list[Fold]:
        """What a scheme holds out."""
        if scheme not in self._folds:
            self._folds[scheme] = folds_of(
                scheme, self.pairs, self.graph, self.config.splitting, self.config.seed, say=self.say
            )
        return self._folds[scheme]

    @cached_property
    def final(self) -> Fold:
        """Nothing is held out: what the lists are made from."""
        return everything(self.pairs)

    def answer(self, fold: Fold) -> Scores:
        """The scores of a fold, mapped."""
        return self.answering.answer(fold)

    def judge(self, scheme: Scheme) -> SchemeFigures:
        """The figures of a scheme; folds that are not answered yet are answered first."""
        name = f"figures/{scheme}.json"
        if (self.output / name).exists():
            return SchemeFigures.model_validate(self.folder.read_json(name))
        answered = [self.answer(fold) for fold in self.folds(scheme)]
        self.say(f"{scheme}: making the figures")
        found = judge_scheme(scheme, self.pairs, self.folds(scheme), answered, self.untrained, self.config)
        (self.output / "figures").mkdir(exist_ok=True)
        self.folder.write_json(name, found.model_dump(mode="json"))
        self.say(found.comparison.sentence)
        return found

    def list_answers(self) -> Path:
        """The final model's lists with their evidence, and how faithful the shown paths are; returns their folder."""
        lists = self.output / "lists"
        if lists.is_dir() and (self.output / "faithfulness.json").exists():
            return lists
        if not lists.is_dir():
            with new_folder(lists) as partial:
                write_lists(partial, self.pairs, self._answers())
                checksums = {name: sha256(partial / name) for name in FILES}
                (partial / "manifest.json").write_text(json.dumps(checksums, indent=1), encoding="utf-8")
        self.say("scoring answers again without the path that is shown for them")
        deleted = delete_best_paths(
            self._witness,
            self._first_answers(),
            lambda row: self.answering.scorers(self.final, row),
            self.config.baseline,
            most=self.config.faithfulness,
            seed=self.config.seed,
        )
        self.folder.write_json("faithfulness.json", deleted.model_dump(mode="json"))
        return lists

    @cached_property
    def _witness(self) -> Witness:
        return Witness.of(self.graph, self.pairs, self.final, self.untrained)

    def _answers(self) -> Iterator[Answer]:
        scores = self.answer(self.final)
        self.say("looking for the evidence behind every place")
        rules = [] if self.config.rules is None else [rules_run(self.config.rules, self.graph)]
        derived = rule_evidence(rules, self.graph, self.pairs, self._witness.links, self.final.asked)
        top, known = self.config.top, self.config.known
        return answers(self.pairs, self.final, scores, self._witness, derived, top=top, known=known)

    def _first_answers(self) -> list[tuple[int, int, PairEvidence]]:
        """Row, column and evidence of the best answer of every list."""
        names = ListColumns.of(self.pairs)
        rows, columns = (
            {label: at for at, label in enumerate(axis.labels)}
            for axis in (self.pairs.rows, self.pairs.columns)
        )
        return [
            (
                rows[record[names.row]],
                columns[best[names.column]],
                PairEvidence.model_validate(best["evidence"]),
            )
            for record in read_lists(self.output / "lists")
            for best in record["answers"][:1]
        ]
