"""Training a run again on other training triples: each retraining is a unit, named by its content, done once.

OUTPUT/graphs/CUT/            the run's vocabulary, other training triples; a folder for all seeds
OUTPUT/runs/CUT-CONFIG-seed-S/

CUT is made of the graph's fingerprint and the training triples, CONFIG of the options that decide a result. So a command
that was killed goes on with what is missing, the unit under way included, and two studies share what they have in common.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from corollary.evaluation.ranking import rankings
from corollary.explain.encoding import Encoded, Frozen
from corollary.explain.losses import example_losses
from corollary.graph.answers import AnswerIndex, Side, directed
from corollary.graph.folder import Graph, derive_graph
from corollary.learners.conve import ConvE
from corollary.learners.protocol import Queries
from corollary.losses.workspace import Workspace
from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve
from corollary.runs.run import Run
from corollary.runs.training import resume
from corollary.storage import remove_folder

Progress = Callable[[int, int], None]
"""Called with retrainings that are finished and all of them."""
LOSS_ROWS = 256
"""Asked triples whose losses are made at once."""
_INDIFFERENT = ("seed", "device", "memory_limit", "tracking", "evaluation")
"""Options outside the name of a unit: its seed stands in it by itself, the others do not change weights."""


@dataclass(frozen=True)
class Unit:
    """One retraining: a graph folder's name and a seed."""

    cut: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What a retrained model makes of the asked triples, side after side."""

    ranks: Float[np.ndarray, "sides asked"]
    losses: Float[np.ndarray, "sides asked"]

    @property
    def reciprocal(self) -> Float[np.ndarray, " asked"]:
        """1 / rank of each asked triple, mean over sides."""
        return (1 / self.ranks).mean(0)

    @property
    def first(self) -> Float[np.ndarray, " asked"]:
        """The share of its sides on which each asked triple ranks first."""
        return (self.ranks <= 1).mean(0)


class Retraining:
    """Models of a run's configuration, trained on other triples of its graph."""

    def __init__(
        self,
        run: Run,
        output: Path,
        *,
        memory_limit: str | None = None,
        checkpoint_frequency: int | None = None,
    ) -> None:
        """Nothing is written yet.

        Args:
            checkpoint_frequency: keep every Nth epoch; without it the last weights alone, and the best where the run's
                figures are made with them.
        """
        self.run, self.output = run, output
        training = run.config.training.changed(
            checkpoint_frequency=checkpoint_frequency, keep_optimizer=False
        )
        self.config: RunConfig = run.config.changed(
            training=training.model_dump(),
            tracking={},
            **({"memory_limit": memory_limit} if memory_limit else {}),
        )
        self._graphs: dict[str, Graph] = {}
        self._order: list[Unit] = []
        options = {k: v for k, v in self.config.model_dump(mode="json").items() if k not in _INDIFFERENT}
        options["chosen by"] = self._chosen_by()
        self._options = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]

    def add(self, triples: Int[np.ndarray, "train 3"], seeds: Iterable[int]) -> list[Unit]:
        """Ask for models of these training triples. The graph folder is written where it is not there yet."""
        cut = self._graph(triples)
        units = [Unit(cut, seed) for seed in seeds]
        self._order += [unit for unit in units if unit not in self._order]
        return units

    def __len__(self) -> int:
        """Retrainings that have been asked for."""
        return len(self._order)

    def num_finished(self) -> int:
        """Those that are there."""
        return sum(self._finished(unit) for unit in self._order)

    def train(self) -> Iterator[Unit]:
        """Do what is missing, in the order in which it was asked for; each is told when it is finished."""
        for unit in self._order:
            if not self._finished(unit):
                self._train(unit)
                yield unit

    def open(self, unit: Unit) -> Run:
        """A finished retraining."""
        return Run.open(self._place(unit), graph=self._graphs[unit.cut].path)

    def outcome(self, unit: Unit, asked: Int[np.ndarray, "asked 3"], sides: tuple[Side, ...]) -> Outcome:
        """What a finished retraining makes of the asked triples."""
        return outcome(self.open(unit).model, self.run, asked, sides)

    def _chosen_by(self) -> str:
        chosen = self.config.evaluation
        return "/".join((chosen.checkpoint, chosen.metric, chosen.ties))

    def _validated(self) -> bool:
        """Does validation decide the weights? Otherwise the retraining does without, which saves its time."""
        training = self.config.training
        decided = training.early_stopping is not None or training.schedule.name == "plateau"
        return decided or self.config.evaluation.checkpoint == "best"

    def _graph(self, triples: Int[np.ndarray, "train 3"]) -> str:
        graph = self.run.graph
        splits = {"train": np.ascontiguousarray(triples, dtype=np.asarray(graph.triples("train")).dtype)}
        if "valid" in graph.splits and self._validated():
            splits["valid"] = np.asarray(graph.triples("valid"))
        digest = hashlib.sha256(graph.fingerprint.encode())
        for name, rows in splits.items():
            digest.update(name.encode() + np.ascontiguousarray(rows, dtype=np.int64).tobytes())
        cut = digest.hexdigest()[:16]
        if cut not in self._graphs:
            place = self.output / "graphs" / cut
            if not (place / "graph.json").exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                derive_graph(graph, place, triples=splits, notes={"retraining": {"triples": len(triples)}})
            self._graphs[cut] = Graph.open(place)
        return cut

    def _place(self, unit: Unit) -> Path:
        return self.output / "runs" / f"{unit.cut}-{self._options}-seed-{unit.seed}"

    def _finished(self, unit: Unit) -> bool:
        return (self._place(unit) / "checkpoints" / "final").is_dir()

    def _train(self, unit: Unit) -> None:
        place, graph = self._place(unit), self._graphs[unit.cut]
        if (place / "config.json").exists():
            run = resume(place, graph=graph.path)
        else:
            run = train_conve(graph, place, self.config.changed(seed=unit.seed))
        if self.config.training.checkpoint_frequency is None:
            for path in run.folder.epoch_checkpoints():  # they serve a resumed training alone
                remove_folder(path)


def outcome(learner: ConvE, run: Run, asked: Int[np.ndarray, "asked 3"], sides: tuple[Side, ...]) -> Outcome:
    """Ranks among what the run's own graph does not know, and losses as examples of their own, side by side.

    Triples that were taken out of training stay known, so that ranks under all models leave out the same facts.

    Args:
        asked: distinct triples.
    """
    graph, config = run.graph, run.config
    index = AnswerIndex.build(asked, graph.num_relations)
    index = index if len(sides) == 2 else index.one_side(sides[0])
    ranks = np.zeros((len(sides), len(asked)))
    for part in rankings(learner, graph, index, graph.answers("known"), block_rows=config.model.block_rows):
        place = part.full.ranks("realistic")
        for number, side in enumerate(sides):
            mine = (part.relations < graph.num_relations) == (side == "tail")
            ranks[number, part.triples[mine]] = place[mine]
    return Outcome(ranks, np.stack([_losses(learner, asked, side, graph.num_relations) for side in sides]))


@torch.no_grad()
def _losses(
    learner: ConvE, asked: Int[np.ndarray, "asked 3"], side: Side, num_relations: int
) -> Float[np.ndarray, " asked"]:
    """Loss of each triple as a 1-vs-all example, without dropout. Memory: a tile of queries x block of entities."""
    given, answer = (0, 2) if side == "tail" else (2, 0)
    frozen, workspace, found = Frozen(learner), Workspace(), np.empty(len(asked))
    for start in range(0, len(asked), LOSS_ROWS):
        some = asked[start : start + LOSS_ROWS].astype(np.int64)
        entity, relation = some[:, given].copy(), directed(some[:, 1], side, num_relations)
        queries = Queries(*(torch.from_numpy(ids).to(learner.device) for ids in (entity, relation)))
        answers = torch.from_numpy(some[:, answer].copy()).to(learner.device)
        q = Encoded.of(frozen, queries, workspace, keep=False).q
        losses = example_losses(frozen, q, answers, workspace)
        found[start : start + len(some)] = losses.double().cpu().numpy()
    return found
