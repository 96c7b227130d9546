"""Wrong triples planted among the training triples: does the model's loss find them, or does self-influence?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.errors import InputError
from corollary.explain.datamodelling import area_under_curve, mean_estimate, recall_inspected
from corollary.graph.folder import Graph
from corollary.randomness import generator
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.models import checkpoint_names
from corollary.runs.verifying.deletion import spare_last
from corollary.runs.verifying.results import Planted, PlantedRow
from corollary.runs.verifying.retraining import Retraining
from corollary.runs.verifying.scores import opened

INSPECTED = (0.1, 0.2, 0.3)
"""Shares of the triples after whose inspection the recall is said."""


class PlantedStudy:
    """Asks for models of spoiled graphs when it is made; says afterwards which figure found the spoiled triples."""

    def __init__(
        self, retraining: Retraining, *, share: float, seeds: Sequence[int], draw: int, options: TracInConfig
    ) -> None:
        """Write the graphs that have to be trained on: other planted triples for every seed.

        Args:
            retraining: keeps checkpoints on the way.
            share: of the training triples that get a random tail, one that is not known.
        """
        self.retraining, self.share, self.options = retraining, share, options
        self.spoiled, self.units = [], []
        for seed in seeds:
            triples, wrong = plant(retraining.run.graph, share, draw=draw, seed=seed)
            self.spoiled.append((triples, wrong))
            self.units += retraining.add(triples, [seed])

    def result(self, memory_limit: str | None = None) -> Planted:
        """From the trained models."""
        found: dict[str, list[tuple[float, list[float]]]] = {}
        for (triples, wrong), unit in zip(self.spoiled, self.units, strict=True):
            for name, scores in suspicion(
                self.retraining.open(unit), triples, self.options, memory_limit
            ).items():
                figures = area_under_curve(scores, wrong), recall_inspected(scores, wrong, INSPECTED)
                found.setdefault(name, []).append(figures)
        rows = [
            PlantedRow(
                score=name,
                area_under_curve=mean_estimate([area for area, _ in by_seed]),
                recall={
                    f"{share:.0%}": float(np.mean([recall[place] for _, recall in by_seed]))
                    for place, share in enumerate(INSPECTED)
                },
                area_by_seed=[area for area, _ in by_seed],
            )
            for name, by_seed in found.items()
        ]
        best = max(rows, key=lambda row: row.area_under_curve.value).score
        return Planted(self.share, int(self.spoiled[0][1].sum()), best, rows)


def plant(
    graph: Graph, share: float, *, draw: int, seed: int
) -> tuple[Int[np.ndarray, "train 3"], Bool[np.ndarray, " train"]]:
    """The training triples, some of them with a random tail that makes a triple which no split holds, and which they are.

    A triple that is the last of its tail keeps it. Raises `InputError` where no tail can be found.
    """
    train = np.array(graph.triples("train")).astype(np.int64)
    rng, known = generator(draw, "planted", seed), graph.answers("known")
    wanted = max(round(share * len(train)), 1)
    rows, _ = spare_last(train, rng.permutation(len(train)).tolist()[: 2 * wanted], graph.num_entities)
    rows = rows[:wanted]
    spoiled, open_ = train.copy(), rows
    for _ in range(100):
        spoiled[open_, 2] = rng.integers(graph.num_entities, size=len(open_))
        there = known.contains(spoiled[open_, 0], spoiled[open_, 1], spoiled[open_, 2])
        open_ = open_[there]
        if not len(open_):
            wrong = np.zeros(len(train), dtype=bool)
            wrong[rows] = True
            return spoiled, wrong
    head, relation, _ = spoiled[open_[0]].tolist()
    raise InputError(
        f"no wrong tail was found for ({graph.entities.label(head)}, {graph.relations.label(relation)}, ?): nearly "
        "every entity is a known one; plant a smaller share"
    )


def suspicion(
    run: Run, triples: Int[np.ndarray, "train 3"], options: TracInConfig, memory_limit: str | None
) -> dict[str, Float[np.ndarray, " train"]]:
    """What may tell wrong training triples: each figure larger where a triple looks worse.

    loss: under the model that predicts; mean loss, self-influence: over the kept checkpoints; self-influence at the end.
    """
    names = checkpoint_names(run)
    last = run.folder.finished_checkpoint(run.checkpoint).name
    losses, own = {}, {}
    for name in dict.fromkeys([*names, last]):
        influence = opened([run], options, names=[name], memory_limit=memory_limit)
        losses[name] = influence.losses(triples).double().cpu().numpy()
        own[name] = influence.self_influence(triples).double().cpu().numpy()
    return {
        "loss": losses[last],
        "mean loss": np.mean([losses[name] for name in names], axis=0),
        "self-influence": np.sum([own[name] for name in names], axis=0),
        "self-influence at the end": own[last],
    }
