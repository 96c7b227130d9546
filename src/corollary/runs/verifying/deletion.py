"""Take the most supportive triples out of training, train again, and look at the targets.

Beside each score stand what would have happened anyway: nothing taken out, as many random triples, as many random
neighbours of the targets, and the triples that share most with them. Targets that rank first lose some of that in any
retraining, so that a fall says nothing without its controls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from corollary.explain import heuristics
from corollary.explain.datamodelling import Estimate, mean_estimate
from corollary.graph.answers import Side
from corollary.randomness import generator
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.tracin import tracin
from corollary.runs.verifying.results import Deletion, DeletionRow
from corollary.runs.verifying.retraining import Outcome, Retraining, Unit, outcome
from corollary.runs.verifying.scores import SHARED

NOTHING, RANDOM, NEIGHBOURS = "nothing", "random", "random neighbours"
CONTROLS = (NOTHING, RANDOM, NEIGHBOURS)

Chosen = list[Int[np.ndarray, " _"]]
"""Rows of the training split for each target, the most important first."""


@dataclass(frozen=True)
class Cut:
    """Training without some triples, and the targets that are looked at under it."""

    units: list[Unit]
    """One a seed."""
    targets: Int[np.ndarray, " some"]
    removed: float
    spared: float


def spare_last(
    triples: Int[np.ndarray, "train 3"], rows: Sequence[int], num_entities: int
) -> tuple[Int[np.ndarray, " kept"], int]:
    """The rows, each once, whose removal in this order leaves every entity a triple; and the number that stay for it."""
    left = np.bincount(triples[:, 0], minlength=num_entities)
    left += np.bincount(triples[triples[:, 0] != triples[:, 2], 2], minlength=num_entities)
    gone: list[int] = []
    spared = 0
    for row in dict.fromkeys(int(row) for row in rows):
        ends = list({int(triples[row, 0]), int(triples[row, 2])})
        if (left[ends] <= 1).any():
            spared += 1
            continue
        left[ends] -= 1
        gone.append(row)
    return np.array(gone, dtype=np.int64), spared


def proponents(
    runs: Sequence[Run], targets: Int[np.ndarray, "targets 3"], config: TracInConfig, memory_limit: str | None
) -> Chosen:
    """The most supportive triples of every target, `config.top_k` at most."""
    found = tracin(runs[0], targets, config, ensemble=runs[1:], memory_limit=memory_limit)
    return [np.array([one.row for one in traced.proponents], dtype=np.int64) for traced in found.triples]


def _first(chosen: Chosen, k: int, seed: int) -> Chosen:
    """The same for every seed: a score does not draw."""
    return [rows[:k] for rows in chosen]


class DeletionStudy:
    """Asks for the retrainings when it is made; says what came of them afterwards."""

    def __init__(
        self,
        retraining: Retraining,
        targets: Int[np.ndarray, "targets 3"],
        sides: tuple[Side, ...],
        scored: dict[str, Chosen],
        *,
        top_k: Sequence[int],
        seeds: Sequence[int],
        draw: int,
        at_once: bool,
    ) -> None:
        """Write the graphs that have to be trained on.

        Args:
            scored: by measure, the most supportive rows of each target.
            draw: seed of what the controls draw; they draw anew for each seed of a retraining.
            at_once: the triples of all targets leave together.
        """
        self.retraining, self.targets, self.sides = retraining, targets, sides
        self.seeds, self.at_once, self.draw = list(seeds), at_once, draw
        self.graph = retraining.run.graph
        self.train = np.asarray(self.graph.triples("train")).astype(np.int64)
        self.cuts: dict[tuple[str, int], list[Cut]] = {(NOTHING, 0): [self._nothing()]}
        for k in top_k:
            for name, chosen in scored.items():
                self._add(name, k, partial(_first, chosen, k))
            self._add(SHARED, k, partial(self._shared, k))
            self._add(RANDOM, k, partial(self._random, k))
            self._add(NEIGHBOURS, k, partial(self._neighbours, k))

    def result(self) -> Deletion:
        """From the trained models."""
        outcomes: dict[Unit, Outcome] = {}
        found = {}
        for key, cuts in self.cuts.items():
            reciprocal, first = (np.empty((len(self.seeds), len(self.targets))) for _ in range(2))
            for cut in cuts:
                for number, unit in enumerate(cut.units):
                    if unit not in outcomes:
                        outcomes[unit] = self.retraining.outcome(unit, self.targets, self.sides)
                    seen = outcomes[unit]
                    reciprocal[number, cut.targets] = seen.reciprocal[cut.targets]
                    first[number, cut.targets] = seen.first[cut.targets]
            found[key] = reciprocal, first
        run = self.retraining.run
        before = outcome(run.model, run, self.targets, self.sides)
        return Deletion(
            at_once=self.at_once,
            before={"mrr": float(before.reciprocal.mean()), "hits_at_1": float(before.first.mean())},
            rows=[self._row(key, found) for key in self.cuts],
        )

    def _nothing(self) -> Cut:
        units = self.retraining.add(self.train, self.seeds)
        return Cut(units, np.arange(len(self.targets)), 0.0, 0.0)

    def _add(self, name: str, k: int, choose: Callable[[int], Chosen]) -> None:
        """Cuts of what `choose(seed)` names: one of all targets, or one a target."""
        by_seed = [choose(seed) for seed in self.seeds]
        every = np.arange(len(self.targets))
        groups = [every] if self.at_once else [every[i : i + 1] for i in every]
        self.cuts[name, k] = [
            self._cut([[chosen[i] for i in group] for chosen in by_seed], group) for group in groups
        ]

    def _cut(self, by_seed: list[Chosen], targets: Int[np.ndarray, " some"]) -> Cut:
        units, removed, spared = [], [], []
        for seed, chosen in zip(self.seeds, by_seed, strict=True):
            longest = max(len(rows) for rows in chosen)  # first everybody's first, then everybody's second
            order = [int(rows[place]) for place in range(longest) for rows in chosen if place < len(rows)]
            gone, stays = spare_last(self.train, order, self.graph.num_entities)
            units += self.retraining.add(np.delete(self.train, gone, axis=0), [seed])
            removed.append(len(gone))
            spared.append(stays)
        return Cut(units, targets, float(np.mean(removed)), float(np.mean(spared)))

    def _random(self, k: int, seed: int) -> Chosen:
        """Never fewer than a score removes: no row is drawn for two targets that are looked at together."""
        rng = generator(self.draw, "random deletion", k, seed)
        count = len(self.targets)
        if not self.at_once:
            return [rng.choice(len(self.train), k, replace=False) for _ in range(count)]
        rows = rng.permutation(len(self.train))[: k * count]
        return [rows[number::count] for number in range(count)]

    def _neighbours(self, k: int, seed: int) -> Chosen:
        rng, taken, chosen = generator(self.draw, "random neighbours", k, seed), set[int](), []
        for target in self.targets:
            near = rng.permutation(heuristics.neighbours(self.train, target))
            rows = [int(row) for row in near if int(row) not in taken][:k]
            taken |= set(rows) if self.at_once else set()
            chosen.append(np.array(rows, dtype=np.int64))
        return chosen

    def _shared(self, k: int, seed: int) -> Chosen:
        return [
            heuristics.most_shared(self.train, target, k, generator(self.draw, "shared", k, seed, number))
            for number, target in enumerate(self.targets)
        ]

    def _row(
        self,
        key: tuple[str, int],
        found: dict[tuple[str, int], tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]],
    ) -> DeletionRow:
        (name, k), (reciprocal, first) = key, found[key]
        mrr = reciprocal.mean(1)

        def less(other: tuple[str, int]) -> Estimate:
            return mean_estimate(mrr - found[other][0].mean(1))

        others = [other for other in found if other != key and other[1] in (0, k)]
        beyond = {other[0]: less(other) for other in others} if k else {}
        controls = [beyond[control] for control in CONTROLS if control in beyond]
        cuts = self.cuts[key]
        return DeletionRow(
            removed_by=name,
            k=k,
            removed=float(np.mean([cut.removed for cut in cuts])),
            spared=float(np.mean([cut.spared for cut in cuts])),
            mrr=mean_estimate(mrr),
            hits_at_1=mean_estimate(first.mean(1)),
            change=less((NOTHING, 0)) if k else None,
            beyond=beyond,
            clear=None
            if name in CONTROLS
            else all(one.high is not None and one.high < 0 for one in controls),
            mrr_by_seed=mrr.tolist(),
            mrr_by_target=reciprocal.mean(0).tolist(),
        )
