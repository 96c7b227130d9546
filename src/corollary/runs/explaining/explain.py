"""One prediction, all its reasons, from any runs on one graph."""

import hashlib
import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from corollary.budget import peak_bytes, restart_peak
from corollary.config import Config
from corollary.errors import ConfigError, GraphMismatch
from corollary.graph.answers import Side
from corollary.graph.folder import Graph
from corollary.messages import Say, silent
from corollary.records.explanation import (
    Agreement,
    Ensembled,
    Explanation,
    Made,
    Missing,
    Rank,
    Rescored,
    Timing,
)
from corollary.runs.ensembling import Ensemble, fit_ensemble
from corollary.runs.explaining import by_influence, by_paths, by_rules, what_if
from corollary.runs.explaining.asked import AskedTriple, FactList, Triple, entity_name, relation_name
from corollary.runs.explaining.standing import (
    Standing,
    calibrated,
    degrees_of,
    filtered_rank,
    sharing_an_end,
)
from corollary.runs.explaining.surroundings import hierarchy, neighbours
from corollary.runs.kinds import RankingKind
from corollary.runs.run import Run

T = TypeVar("T")


class ExplainConfig(Config):
    """How much is looked for and shown."""

    side: Literal["tail", "head"] = "tail"
    """The end that counts as the answer."""
    rules: NonNegativeInt = 10
    """Rules shown."""
    groundings: PositiveInt = 5
    """Ways in which a rule holds, shown of each."""
    influence: Literal["near", "all", "index"] = "near"
    """Training triples that influence is looked for in: those that share an end with the prediction, all of them, or
    all through an index that tracin index made."""
    influential: PositiveInt = 10
    """Triples shown that spoke for it, and as many that spoke against it."""
    paths: NonNegativeInt = 10
    """Paths shown."""
    longest: Literal[2, 3] = 3
    """Facts on a path."""
    ensemble: Literal["reciprocal-rank", "calibrated"] = "reciprocal-rank"
    """How runs become one ranking, where there are several."""
    what_if: NonNegativeInt = 5
    """Facts of the rules without which they score again."""
    without: tuple[PositiveInt, ...] = ()
    """Facts, by the numbers of the explanation, without all of which every run that can scores again."""


class Explainer:
    """Opened runs, ready to explain one prediction after the other; what does not depend on the prediction is kept."""

    def __init__(
        self,
        runs: Sequence[Run],
        config: ExplainConfig = ExplainConfig(),
        *,
        index: Path | None = None,
        memory_limit: str | int | None = None,
    ) -> None:
        """Runs that rank facts must share one graph; a taxonomy may be of another and is joined by label.

        Args:
            index: folder of `tracin index` for the first ConvE.

        Raises `ConfigError` where no run ranks facts, `GraphMismatch` where two of them have different graphs.
        """
        self.runs, self.config, self._index, self._memory_limit = list(runs), config, index, memory_limit
        ranking = [run for run in runs if isinstance(run.kind, RankingKind)]
        if not ranking:
            raise ConfigError(
                "nothing to explain with: give at least one run that ranks facts (conve, drum, rules)"
            )
        names = [run.folder.name for run in runs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(
                f"two runs are called {twice[0]}: their reasons could not be told apart; rename a folder"
            )
        self.graph: Graph = ranking[0].graph
        for run in ranking[1:]:
            if run.graph.fingerprint != self.graph.fingerprint:
                raise GraphMismatch(
                    f"{run.path} was trained on another graph than {ranking[0].path}: reasons can only be put side by "
                    "side where entities and facts are the same"
                )
        self.standings = [Standing(run) for run in ranking]
        self._ensemble: Ensemble | Missing | None = None

    def explain(
        self,
        head: str,
        relation: str,
        tail: str,
        *,
        side: Side | None = None,
        say: Say = silent,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Explanation:
        """All reasons for one prediction, known or not.

        Args:
            side: the end that counts as the answer; the configuration's when not given.
            say: told the name of every part before it is made.
            cancelled: asked before every part; where it says so, `Cancelled` is raised.

        Raises `UnknownName` with the nearest name.
        """
        restart_peak()
        config = self.config
        asked = AskedTriple.of(self.graph, head, relation, tail, side=side or config.side)
        facts, seconds = FactList(self.graph), {}
        facts.mention(asked.head, asked.tail)

        def part(name: str, make: Callable[[], T]) -> T:
            if cancelled():
                raise Cancelled(name)
            say(name)
            started = time.perf_counter()
            made = make()
            seconds[name] = round(time.perf_counter() - started, 3)
            return made

        ranks = part("ranks", lambda: [one.rank(asked) for one in self.standings])
        ensemble = part("ensemble", lambda: self._together(asked, ranks, say))
        trust = part("trust", lambda: [one.trust(asked) for one in self.standings if one.asks(asked.side)])
        limits = by_rules.RuleLimits(config.rules, config.groundings)
        rules = part("rules", lambda: by_rules.rule_reasons(self.runs, asked, facts, limits))
        how = by_influence.InfluenceLimits(config.influence, config.influential)
        influence = part(
            "influence",
            lambda: by_influence.influence_reasons(
                self.runs, asked, facts, how, index=self._index, memory_limit=self._memory_limit
            ),
        )
        links = by_rules.links_without(asked, [asked.triple])
        ways = by_paths.PathLimits(config.paths, config.longest)
        paths = part("paths", lambda: by_paths.path_reasons(asked, links, facts, ways))
        standing = part("hierarchy", lambda: hierarchy(self.runs, asked, facts))
        near = part("neighbours", lambda: neighbours(self.runs, asked, facts))
        again = part("what if", lambda: self._again(asked, facts))
        degrees = degrees_of(asked)
        options = config.model_dump(mode="json") | {"side": asked.side}
        made = Made(
            version=version("corollary"),
            runs={run.folder.name: _about(run) for run in self.runs},
            graph=self.graph.fingerprint,
            options=options,
            command=self._command(asked),
        )
        return Explanation(
            key=_key(asked, made),
            graph=self.graph.name,
            head=entity_name(self.graph, asked.head, int(degrees[asked.head])),
            relation=relation_name(self.graph, asked.relation),
            tail=entity_name(self.graph, asked.tail, int(degrees[asked.tail])),
            side=asked.side,
            status=asked.status(),
            ranks=ranks,
            ensemble=ensemble,
            trust=trust,
            facts=facts.facts(),
            entities=facts.entities(degrees),
            relations=facts.relations([asked.relation]),
            rules=rules,
            influence=influence,
            paths=paths,
            hierarchy=standing,
            neighbours=near,
            agreement=_agreement(asked, facts),
            what_if=again,
            made=made,
            timing=Timing(seconds=seconds, peak_bytes=peak_bytes()),
        )

    def without(
        self, head: str, relation: str, tail: str, facts: Mapping[int, Triple], *, side: Side | None = None
    ) -> list[Rescored]:
        """The prediction by every run that can score again, without all of some training triples (by any number).

        Raises `ConfigError` where no run can.
        """
        asked = AskedTriple.of(self.graph, head, relation, tail, side=side or self.config.side)
        able = what_if.able(self.standings, asked)
        if not able:
            raise ConfigError(what_if.NONE)
        return what_if.rescored(able, asked, facts, [list(facts)])

    def _again(self, asked: AskedTriple, facts: FactList) -> list[Rescored] | Missing:
        """Without single facts of the rules, then without those that the configuration names."""
        numbers = self.config.without
        found = what_if.without_cited(self.standings, asked, facts, self.config.what_if)
        if not numbers:
            return found
        count = len(facts)
        if unknown := [number for number in numbers if number > count]:
            raise ConfigError(
                f"there is no fact {unknown[0]} to leave out: the reasons cite facts 1 to {count}"
            )
        able = what_if.able(self.standings, asked)
        if not able:
            raise ConfigError(what_if.NONE)
        wanted = {number: facts.triple(number) for number in numbers}
        more = what_if.rescored(able, asked, wanted, [list(wanted)])
        return more if isinstance(found, Missing) else [*found, *more]

    def _together(self, asked: AskedTriple, ranks: Sequence[Rank], say: Say) -> Ensembled | Missing:
        if self._ensemble is None:
            self._ensemble = self._fitted(self.config.ensemble, say)
        if isinstance(self._ensemble, Missing):
            return self._ensemble
        together = self._ensemble
        scores = together.scorer.prepare(asked.queries).numpy()[0]
        place = filtered_rank(scores, asked)
        best = max(range(len(together.runs)), key=lambda at: together.weights[at])
        name = together.runs[best].folder.name
        heaviest = next(one for one in self.standings if one.name == name)
        return Ensembled(
            method=together.method,
            weights=together.named_weights(),
            rank=place,
            calibrated=calibrated(heaviest.valid, asked.directed, place),
        )

    def _fitted(self, method: str, say: Say) -> Ensemble | Missing:
        both = [one.run for one in self.standings if one.run.ranking.side is None]
        if len(both) < 2:
            return Missing(missing="an ensemble needs two runs that rank both sides")
        if not self.graph.info.num_triples.get("valid", 0):
            return Missing(missing="the graph has no validation triples to learn weights from")
        return fit_ensemble(both, method, say=say)

    def _command(self, asked: AskedTriple) -> str:
        labels = (
            self.graph.entities.label(asked.head),
            self.graph.relations.label(asked.relation),
            self.graph.entities.label(asked.tail),
        )
        parts = ["corollary", "explain", *(str(run.path) for run in self.runs), *labels]
        return shlex.join([*parts, *(["--side", "head"] if asked.side == "head" else [])])


class Cancelled(Exception):
    """The caller no longer wants the explanation; the message is the part that was not begun."""


def explain_prediction(
    runs: Sequence[Run],
    head: str,
    relation: str,
    tail: str,
    config: ExplainConfig = ExplainConfig(),
    *,
    index: Path | None = None,
    memory_limit: str | int | None = None,
    say: Say = silent,
) -> Explanation:
    """All reasons for one prediction: see `Explainer`."""
    return Explainer(runs, config, index=index, memory_limit=memory_limit).explain(
        head, relation, tail, say=say
    )


def _about(run: Run) -> dict[str, Any]:
    """Learner, checkpoint and a digest of the configuration."""
    text = json.dumps(run.options.model_dump(mode="json"), sort_keys=True)
    return {
        "learner": run.kind.name,
        "checkpoint": run.checkpoint,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _key(asked: AskedTriple, made: Made) -> str:
    content = {"triple": asked.triple, **made.model_dump(mode="json", exclude={"command"})}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _agreement(asked: AskedTriple, facts: FactList) -> Agreement | Missing:
    """Facts that several kinds of evidence cite, and how many that would be by chance."""
    sets = [facts.cited(name) for name in facts.parts if facts.cited(name)]
    if len(sets) < 2:
        return Missing(missing="fewer than two kinds of evidence cite facts")
    every = set().union(*sets)
    several = sum(sum(number in one for one in sets) > 1 for number in every)
    near = int(np.count_nonzero(sharing_an_end(asked)))
    shares = [min(1.0, len(one) / max(near, 1)) for one in sets]
    none = float(np.prod([1 - share for share in shares]))
    one = sum(
        share * float(np.prod([1 - other for at, other in enumerate(shares) if at != number]))
        for number, share in enumerate(shares)
    )
    return Agreement(in_two_or_more=several, facts=len(every), expected=near * (1 - none - one))
