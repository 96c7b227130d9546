"""Training triples that spoke for the prediction while a ConvE was trained, and those that spoke against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from corollary.errors import RunError
from corollary.records.explanation import InfluenceGroup, InfluenceReasons, InfluentialFact, Missing
from corollary.runs.explaining.asked import AskedTriple, FactList, Triple
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.indexed import tracin_by_index
from corollary.runs.tracing.results import Support, Supports
from corollary.runs.tracing.tracin import tracin

PART = "influence"
_GROUPS = 6
Candidates = Literal["near", "all", "index"]
"""near: training triples that share an end with the prediction; all: every one, exactly; index: every one, through
the run's index, the largest exactly."""


@dataclass(frozen=True)
class InfluenceLimits:
    candidates: Candidates = "near"
    shown: int = 10
    grouped: int = 200
    """Of each sign, the strongest triples that are put into groups."""


def influence_reasons(
    runs: Sequence[Run],
    asked: AskedTriple,
    facts: FactList,
    limits: InfluenceLimits = InfluenceLimits(),
    *,
    index: Path | None = None,
    memory_limit: str | int | None = None,
) -> InfluenceReasons | Missing:
    """TracIn of the first ConvE among the runs.

    Args:
        index: folder that `tracin index` made; where the candidates are `index`.
    """
    run = next((one for one in runs if one.kind.name == "conve"), None)
    if run is None:
        return Missing(missing="no ConvE run was given: influence needs one")
    config = TracInConfig(
        side=asked.side, top_k=limits.grouped, within_hops=1 if limits.candidates == "near" else None
    )
    triple = np.array([asked.triple], np.int64)
    try:
        if limits.candidates == "index":
            if index is None:
                return Missing(missing=f"no index was named: corollary tracin index {run.path}")
            config = config.model_copy(update={"top_k": min(limits.grouped, 100)})
            result = tracin_by_index(run, triple, index, config, memory_limit=memory_limit)
        else:
            result = tracin(run, triple, config, memory_limit=memory_limit)
    except RunError as error:
        return Missing(missing=str(error))
    traced = result.triples[0]
    size = traced.support - traced.opposition
    train = asked.graph.triples("train")

    def cited(supports: Supports) -> list[InfluentialFact]:
        return [
            InfluentialFact(fact=facts.cite(_triple(train, one.row), PART), value=one.score)
            for one in supports[: limits.shown]
        ]

    proponents, opponents = cited(traced.proponents), cited(traced.opponents)
    return InfluenceReasons(
        run=run.folder.name,
        method=f"{result.measure}, {result.deletion} deletion"
        + (", through the index" if limits.candidates == "index" else ", exact"),
        checkpoints=list(result.checkpoints),
        candidates=traced.num_candidates,
        of=len(train),
        share_for=traced.support / size if size else 0.0,
        share_against=-traced.opposition / size if size else 0.0,
        groups=_groups([*traced.proponents, *traced.opponents], asked, facts),
        proponents=proponents,
        opponents=opponents,
    )


def _triple(train: np.ndarray, row: int) -> Triple:
    head, relation, tail = (int(part) for part in train[row])
    return head, relation, tail


def _groups(supports: Sequence[Support], asked: AskedTriple, facts: FactList) -> list[InfluenceGroup]:
    """By relation and shared end, the largest sum first; each with its strongest triple."""
    train = asked.graph.triples("train")
    found: dict[str, list[tuple[float, Triple]]] = {}
    for one in supports:
        triple = _triple(train, one.row)
        found.setdefault(_pattern(triple, asked), []).append((one.score, triple))
    groups = []
    for pattern, members in found.items():
        value, triple = max(members, key=lambda member: abs(member[0]))
        groups.append((pattern, members, value, triple))
    groups.sort(key=lambda group: -abs(sum(value for value, _ in group[1])))
    return [
        InfluenceGroup(
            pattern=pattern,
            count=len(members),
            sum=sum(value for value, _ in members),
            best=InfluentialFact(fact=facts.cite(triple, PART), value=value),
        )
        for pattern, members, value, triple in groups[:_GROUPS]
    ]


def _pattern(triple: Triple, asked: AskedTriple) -> str:
    """Such as `treats, same head`."""
    head, relation, tail = triple
    shared = [
        name for name, one, other in (("head", head, asked.head), ("tail", tail, asked.tail)) if one == other
    ]
    crossed = [
        name
        for name, one, other in (("head as tail", tail, asked.head), ("tail as head", head, asked.tail))
        if one == other
    ]
    ends = " and ".join(shared + crossed)
    return f"{asked.graph.relations.name(relation)}, {'same ' + ends if ends else 'no shared end'}"
