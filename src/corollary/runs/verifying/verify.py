"""Is it true? Influence held against what retraining does (`corollary tracin verify`).

Four studies, each with its controls:

- deletion: take the most supportive triples of the targets out, train again, rank the targets (`deletion`);
- datamodel: does the sum of scores over random halves foretell the models trained on them (`datamodel`);
- planted: are wrong triples found (`planted`);
- truth: where do given true edges stand in the ranking (`truth`; nothing is retrained).
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator, model_validator

from corollary.config import Config
from corollary.errors import ConfigError, InputError, TrainingInterrupted
from corollary.explain.influence import Measure
from corollary.graph.answers import Side
from corollary.messages import Say, silent
from corollary.randomness import generator
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.tracin import named
from corollary.runs.verifying.datamodel import DatamodelStudy
from corollary.runs.verifying.deletion import Chosen, DeletionStudy, proponents
from corollary.runs.verifying.planted import PlantedStudy
from corollary.runs.verifying.results import Truth, Verification, write_verification
from corollary.runs.verifying.retraining import Progress, Retraining, outcome
from corollary.runs.verifying.scores import SHARED, Blocks, influence_blocks, shared_blocks
from corollary.runs.verifying.truth import TrueEdges, against_truth, read_truth

Study = Literal["deletion", "one-at-a-time", "datamodel", "planted", "truth"]
KEPT = 6
"""Checkpoints that a planted retraining keeps, where the run itself kept none."""


class VerifyConfig(Config):
    """What is retrained, and what is looked at."""

    studies: tuple[Study, ...] = ("deletion",)
    """deletion: of all targets at once; one-at-a-time: of each target by itself, a retraining a target; datamodel;
    planted; truth."""
    measures: tuple[Measure, ...] = ("tracin", "output-kfac")
    """Scores that are held against retraining. The heuristic stands beside them always."""
    side: Literal["both", "tail", "head"] = "both"
    """Answers of the targets that are asked for and ranked."""
    num_targets: PositiveInt = 50
    """Triples of `split` that the run ranks first, drawn at random, where no targets are given."""
    split: str = "test"
    """Where targets are drawn from."""
    top_k: tuple[PositiveInt, ...] = (1, 5)
    """Triples taken out for each target."""
    seeds: PositiveInt = 3
    """Retrainings of every deletion, and of every planting; the seeds after the run's own."""
    subsets: int = Field(40, ge=4)
    """Random halves of the datamodel study."""
    retrainings: PositiveInt = 2
    """Of each half; from two on the noise ceiling is known."""
    planted: float = Field(0.1, gt=0, le=0.5)
    """Share of the training triples that get a random tail."""
    checkpoints: tuple[str, ...] = ()
    """That influence is summed over, as in `tracin`."""
    learning_rate: NonNegativeFloat | None = None
    """In place of the checkpoints' own, as in `tracin`."""
    seed: NonNegativeInt = 0
    """Of targets, controls, halves and plantings."""

    @field_validator("studies", "measures", "top_k")
    @classmethod
    def each_is_named_once(cls, value: tuple) -> tuple:
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one, and each once")
        return value

    @model_validator(mode="after")
    def enough_retrainings_for_an_interval(self) -> "VerifyConfig":
        if self.seeds < 2 and {"deletion", "one-at-a-time"} & set(self.studies):
            raise ValueError("seeds = 1: a difference between retrainings means nothing without a second one")
        return self

    def sides(self) -> tuple[Side, ...]:
        """Directions in which targets are asked."""
        return ("tail", "head") if self.side == "both" else (self.side,)

    def tracin(self, measure: Measure) -> TracInConfig:
        """How influence is computed."""
        return TracInConfig(
            measure=measure, side=self.side, top_k=max(self.top_k), checkpoints=self.checkpoints,
            learning_rate=self.learning_rate,
        )  # fmt: skip


def verify(
    run: Run,
    output: str | Path,
    config: VerifyConfig = VerifyConfig(),
    *,
    targets: Int[np.ndarray, "targets 3"] | None = None,
    truth: Path | None = None,
    ensemble: Sequence[Run] = (),
    memory_limit: str | None = None,
    progress: Progress | None = None,
    say: Say = silent,
) -> Verification:
    """Hold influence against retraining, by the run's own configuration; `output/verification.json` holds the result.

    Every retraining is kept in `output`, named by its content: the same call goes on where a killed one stopped, and a
    call that asks for more does only what is missing.

    Args:
        targets: triples whose predictions are looked at; drawn as the configuration says when not given.
        truth: for the study `truth`, lines of true edges (see `truth.read_truth`).
        ensemble: other runs on the same graph: influence is the mean over all of them.
        memory_limit: most resident memory of every retraining and of influence, such as 1GiB.

    Cost: deletion `seeds * (1 + top_k * (measures + 3))` retrainings, one-at-a-time as many for each target, datamodel
    `subsets * retrainings`, planted `seeds`.
    """
    _check(run, config, truth)
    edges = read_truth(truth, run.graph, say=say) if truth is not None else None
    targets = _targets(run, config, targets, edges, say)
    work = _Work([run, *ensemble], Path(output), config, targets, memory_limit)
    deletions, halves, planted = work.deletions(), work.halves(), work.planted()
    work.train(progress, say)
    found = Verification(
        run=run.folder.name,
        graph=run.graph.name,
        graph_fingerprint=run.graph.fingerprint,
        options=config.model_dump(mode="json"),
        ensemble=[other.folder.name for other in ensemble],
        model=work.plain.config.model_dump(mode="json", include={"model", "training", "evaluation", "seed"}),
        seeds=work.seeds,
        targets=[named(run.graph, target) for target in targets],
        sides=list(config.sides()),
        deletion=deletions["deletion"].result() if "deletion" in deletions else None,
        one_at_a_time=deletions["one-at-a-time"].result() if "one-at-a-time" in deletions else None,
        datamodel=halves.result(work.scores(targets)) if halves is not None else None,
        planted=planted.result(memory_limit) if planted is not None else None,
        truth=work.truth(truth, edges) if truth is not None and edges is not None else None,
    )
    write_verification(found, Path(output) / "verification.json")
    return found


class _Work:
    """The studies of one call, and the retrainings that they share."""

    def __init__(
        self,
        runs: Sequence[Run],
        output: Path,
        config: VerifyConfig,
        targets: Int[np.ndarray, "targets 3"],
        memory_limit: str | None,
    ) -> None:
        self.runs, self.config, self.targets, self.memory_limit = runs, config, targets, memory_limit
        self.plain = Retraining(runs[0], output, memory_limit=memory_limit)
        self.followed = Retraining(
            runs[0], output, memory_limit=memory_limit, checkpoint_frequency=_kept_every(runs[0])
        )
        self.seeds = self._seeds(config.seeds)

    def deletions(self) -> dict[str, DeletionStudy]:
        wanted = [study for study in ("deletion", "one-at-a-time") if study in self.config.studies]
        scored: dict[str, Chosen] = {}
        for measure in self.config.measures if wanted else ():
            config = self.config.tracin(measure)
            scored[measure] = proponents(self.runs, self.targets, config, self.memory_limit)
        return {
            study: DeletionStudy(
                self.plain, self.targets, self.config.sides(), scored,
                top_k=self.config.top_k, seeds=self.seeds, draw=self.config.seed, at_once=study == "deletion",
            )
            for study in wanted
        }  # fmt: skip

    def halves(self) -> DatamodelStudy | None:
        if "datamodel" not in self.config.studies:
            return None
        return DatamodelStudy(
            self.plain, self.targets, self.config.sides(),
            subsets=self.config.subsets, seeds=self._seeds(self.config.retrainings), draw=self.config.seed,
        )  # fmt: skip

    def planted(self) -> PlantedStudy | None:
        if "planted" not in self.config.studies:
            return None
        options = self.config.tracin("tracin")
        return PlantedStudy(
            self.followed, share=self.config.planted, seeds=self.seeds, draw=self.config.seed, options=options
        )

    def train(self, progress: Progress | None, say: Say) -> None:
        """All retrainings that are missing, one after another.

        Raises `TrainingInterrupted` where it was stopped: the next call goes on there.
        """
        parts = (self.plain, self.followed)
        total, done = sum(len(part) for part in parts), sum(part.num_finished() for part in parts)
        if total:
            say(f"{total} retrainings, {done} of them finished before")
        move = progress or _unseen
        move(done, total)
        try:
            for _ in chain.from_iterable(part.train() for part in parts):
                done += 1
                move(done, total)
        except TrainingInterrupted:
            raise TrainingInterrupted(
                f"stopped after {done} of {total} retrainings: the same command goes on there"
            ) from None

    def scores(self, targets: Int[np.ndarray, "targets 3"]) -> dict[str, Blocks]:
        """Every measure, and the heuristic."""
        found: dict[str, Blocks] = {}
        for measure in self.config.measures:
            config = self.config.tracin(measure)
            found[measure] = influence_blocks(self.runs, targets, config, memory_limit=self.memory_limit)
        return {**found, SHARED: shared_blocks(self.runs[0], targets)}

    def truth(self, path: Path, edges: TrueEdges) -> Truth:
        """Of the file's targets, or of this call's."""
        edges = edges.of(self.targets)
        assert edges.targets is not None
        return against_truth(
            path, edges, self.scores(edges.targets), self.runs[0].graph.info.num_triples["train"]
        )

    def _seeds(self, count: int) -> list[int]:
        """After the run's own, which chose the targets."""
        first = self.runs[0].config.seed + 1
        return list(range(first, first + count))


def _unseen(done: int, total: int) -> None:
    """Nobody looks."""


def _targets(
    run: Run, config: VerifyConfig, given: np.ndarray | None, edges: TrueEdges | None, say: Say
) -> Int[np.ndarray, "targets 3"]:
    """Those given, or drawn where a study asks for any."""
    if given is not None:
        return np.unique(np.asarray(given).astype(np.int64), axis=0)
    studies = set(config.studies) - {"planted"}
    if edges is not None and edges.targets is not None:
        studies -= {"truth"}
    return confident_triples(run, config, say=say) if studies else np.zeros((0, 3), dtype=np.int64)


def confident_triples(run: Run, config: VerifyConfig, *, say: Say = silent) -> Int[np.ndarray, "targets 3"]:
    """Triples of a split that the run ranks first on every side that is asked, drawn at random, at most `num_targets`.

    Raises `InputError` where there is none.
    """
    every = np.unique(np.asarray(run.graph.triples(config.split)).astype(np.int64), axis=0)
    first = every[outcome(run.model, run, every, config.sides()).first == 1]
    if not len(first):
        raise InputError(
            f"{run.path} ranks no triple of {config.split} first: give the triples to look at, or train it longer"
        )
    if len(first) < config.num_targets:
        say(f"{len(first)} triples of {config.split} are ranked first, in place of {config.num_targets}")
    chosen = generator(config.seed, "targets").permutation(len(first))[: config.num_targets]
    return first[np.sort(chosen)]


def _check(run: Run, config: VerifyConfig, truth: Path | None) -> None:
    if ("truth" in config.studies) != (truth is not None):
        raise ConfigError("the study truth and a file of true edges go together: give both or neither")
    if run.config.model.sides == "tail" and config.side != "tail":
        raise ConfigError(f"{run.path} was trained without inverse relations: ask with side = tail")
    if "imported" in run.folder.config and set(config.studies) != {"truth"}:
        raise ConfigError(f"{run.path} was imported without its training: it cannot be trained again")


def _kept_every(run: Run) -> int:
    training = run.config.training
    return training.checkpoint_frequency or max(training.epochs // KEPT, 1)
