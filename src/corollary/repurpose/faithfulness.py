"""Does a pair's score hang on the path that is shown for it? The path's edges are taken away and the pair is scored again.

What is made again: everything that is counted, which is degrees, likenesses, paths and known answers, all from the graph
without these edges. What is not: embeddings, learned scores and rules, which would need training again, and the
classifier itself. So a small fall does not prove that the edges are useless. As a control as many other edges of the same
relations are taken away, drawn at random among those of the path's ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict

from corollary.randomness import generator
from corollary.repurpose.config import BaselineConfig
from corollary.repurpose.evidence import PairEvidence, PathShown, Witness
from corollary.repurpose.features import Features
from corollary.repurpose.pairs import Places
from corollary.repurpose.untrained import Untrained

Score = Callable[[Float[np.ndarray, "pairs features"]], Float[np.ndarray, " pairs"]]
"""From features to log-odds."""
Scorers = tuple[tuple[Features, Score], ...]
"""What makes features, and what makes log-odds of them; of several the mean counts."""


class Faithfulness(BaseModel):
    """A pair scored three times."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    row: str
    column: str
    """Labels of the pair."""
    removed: tuple[tuple[str, str, str], ...]
    """The edges of the path: head, relation, tail, by label."""
    before: float
    """Probability as listed, from the same features made anew."""
    without: float
    """Probability without these edges."""
    control: float | None
    """Probability without as many random edges of the path's ends; None where they have no others."""

    @property
    def fall(self) -> float:
        """How much the probability falls, as a share of what it was."""
        return 1 - self.without / self.before


class FaithfulnessSummary(BaseModel):
    """Over all paths that were taken away."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    pairs: int
    fell: int
    """Pairs whose probability fell."""
    median_fall: float
    """Share of the probability that went with the path."""
    median_control: float | None
    """The same of random edges of the same ends."""


@dataclass(frozen=True)
class Deletion:
    """What is needed to score pairs again."""

    witness: Witness
    scorers: Scorers
    """Of the witness's graph."""
    config: BaselineConfig
    """That the features' counts follow."""
    seed: int = 0

    def of(self, row: int, column: int, path: PathShown) -> Faithfulness:
        """Take a path away and score its pair again.

        Time: the relations of the path are sorted again, twice, and features made for one row three times.
        """
        triples = _ids(self.witness, path)
        others = _control(self.witness, path, triples, self.seed)
        nothing = triples[:0]
        return Faithfulness(
            row=self.witness.pairs.rows.labels[row],
            column=self.witness.pairs.columns.labels[column],
            removed=path.facts,
            before=self._probability(row, column, nothing),
            without=self._probability(row, column, triples),
            control=None if others is None else self._probability(row, column, others),
        )

    def _probability(self, row: int, column: int, removed: Int[np.ndarray, "removed 3"]) -> float:
        """Of a pair, its counts made without some triples."""
        graph, visible = self.witness.graph, _kept(self.witness, removed)
        steps = self.witness.untrained.steps.without(graph, removed)
        every, chosen = (
            Untrained.over(steps, config)
            for config in (BaselineConfig(damping=self.config.damping), self.config)
        )
        log_odds = []
        for features, score in self.scorers:
            changed = replace(features, untrained=every, baseline=chosen)
            (made,) = changed.of_rows(visible, np.array([row]))
            log_odds.append(score(made.of(np.array([column])))[0])
        return float(1 / (1 + np.exp(-np.mean(log_odds))))


class Deleted(BaseModel):
    """What came of taking paths away."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    summary: FaithfulnessSummary | None
    """None where no pair had a path."""
    pairs: tuple[Faithfulness, ...]


def delete_best_paths(
    witness: Witness,
    listed: Sequence[tuple[int, int, PairEvidence]],
    scorers: Callable[[int], Scorers],
    config: BaselineConfig,
    *,
    most: int,
    seed: int = 0,
) -> Deleted:
    """Take the heaviest path of some pairs away.

    Args:
        listed: row, column and evidence; the first `most` of them that have a path, spread evenly over the list.
        scorers: of a row.
    """
    with_path = [(row, column, found.paths[0]) for row, column, found in listed if found.paths]
    chosen = np.unique(np.linspace(0, len(with_path) - 1, min(most, len(with_path))).astype(int)).tolist()
    found = []
    for at in chosen:
        row, column, path = with_path[at]
        found.append(Deletion(witness, scorers(row), config, seed).of(row, column, path))
    return Deleted(summary=summary(found), pairs=tuple(found))


def summary(found: list[Faithfulness]) -> FaithfulnessSummary | None:
    """None where nothing was taken away."""
    if not found:
        return None
    controls = [1 - one.control / one.before for one in found if one.control is not None]
    return FaithfulnessSummary(
        pairs=len(found),
        fell=sum(one.without < one.before for one in found),
        median_fall=float(np.median([one.fall for one in found])),
        median_control=float(np.median(controls)) if controls else None,
    )


def _kept(witness: Witness, removed: Int[np.ndarray, "removed 3"]) -> Places:
    """Visible known pairs that are not among the removed triples."""
    pairs = witness.pairs
    mine = removed[removed[:, 1] == pairs.relation_id]
    columns, rows = (mine[:, 0], mine[:, 2]) if pairs.side == "head" else (mine[:, 2], mine[:, 0])
    gone = pairs.rows.places(rows) * len(pairs.columns) + pairs.columns.places(columns)
    return witness.visible[~np.isin(witness.visible[:, 0] * len(pairs.columns) + witness.visible[:, 1], gone)]


def _ids(witness: Witness, path: PathShown) -> Int[np.ndarray, "steps 3"]:
    entities, relations = witness.graph.entities, witness.graph.relations
    return np.array(
        [[entities.find(h), relations.find(r), entities.find(t)] for h, r, t in path.facts], np.int64
    )


def _control(
    witness: Witness, path: PathShown, removed: Int[np.ndarray, "removed 3"], seed: int
) -> Int[np.ndarray, "removed 3"] | None:
    """As many other edges that touch the path's first or last node."""
    graph, links = witness.graph, witness.links
    ends = [graph.entities.find(path.nodes[at].label) for at in (0, -1)]
    taken = {tuple(triple) for triple in removed.tolist()}
    found = []
    for entity in ends:
        for at in range(int(links.segments[entity]), int(links.segments[entity + 1])):
            step = int(links.steps[at])
            for other in links.targets[links.starts[at] : links.starts[at + 1]].tolist():
                count = graph.num_relations
                triple = (entity, step, other) if step < count else (other, step - count, entity)
                if triple not in taken:
                    found.append(triple)
    if len(found) < len(removed):
        return None
    draw = generator(seed, "control", *ends)
    return np.array(found, np.int64)[draw.choice(len(found), len(removed), replace=False)]
