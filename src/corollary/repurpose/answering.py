"""One fold answered: classifiers trained on what it may see, and the scores of every pair that it asks for.

OUTPUT/folds/FOLD/PART-KIND/    classifiers (see `classifier`)
OUTPUT/folds/FOLD/scores/       NAME.npy, asked rows x columns: `classifier` and `logistic` are calibrated log-odds,
                                `spread` is half of a 90 % interval of the former, others are the untrained scores

A part is what one learner must not have seen. With `withhold = all` there is one. With `half` the rows are cut in two: a
learner that sees the pairs of one half feeds a classifier that learns from the rows of the other, and answers them.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from corollary.graph.arrays import ArrayWriter
from corollary.messages import Say, silent
from corollary.repurpose.classifier import Classifier
from corollary.repurpose.config import RepurposeConfig, Withhold
from corollary.repurpose.cutting import cut_rows
from corollary.repurpose.examples import Kind
from corollary.repurpose.faithfulness import Score
from corollary.repurpose.features import Features
from corollary.repurpose.learned import Learned
from corollary.repurpose.learning import learn
from corollary.repurpose.pairs import Fold, Pairs
from corollary.repurpose.steps import known_step
from corollary.repurpose.untrained import NAMES, Untrained
from corollary.storage import new_folder, scratch_folder

LOG_ODDS = ("classifier", "logistic")
"""Scores that are log-odds of a probability."""
SCORES = (*LOG_ODDS, "spread")
"""What is learned; the untrained scores stand beside it."""


Scores = Mapping[str, Float[np.ndarray, "_ _"]]
"""By name: a row for each that a fold asks for, a column for each candidate."""


@dataclass(frozen=True)
class Part:
    """Rows that one classifier learns from, and what its learners may not have seen."""

    name: str
    within: Fold
    """Asks, as a whole, for every row that is not learned from."""
    hidden: Bool[np.ndarray, " known"]
    """From learners."""


def parts_of(pairs: Pairs, fold: Fold, withhold: Withhold, seed: int) -> list[Part]:
    """One part, or two halves of the rows that may be learned from."""
    if withhold == "all":
        return [Part("all", fold, np.ones(len(pairs.known), bool))]
    found = []
    for number, half in enumerate(cut_rows(pairs, fold, 2, seed)):
        others = np.setdiff1d(np.arange(len(pairs.rows)), half.asked)
        within = Fold(
            f"{fold.name}-half-{number}", fold.hidden, fold.hidden_negatives, others, fold.positives, True
        )
        found.append(Part(f"half-{number}", within, half.hidden))
    return found


class Answering:
    """Answers folds, each once: what is finished is kept."""

    def __init__(
        self,
        pairs: Pairs,
        untrained: Untrained,
        learned: Learned,
        config: RepurposeConfig,
        output: Path,
        *,
        say: Say = silent,
    ) -> None:
        self.pairs, self.untrained, self.learned, self.config, self.output = (
            pairs,
            untrained,
            learned,
            config,
            output,
        )
        self.every = Untrained.over(untrained.steps)
        self.say = say

    def features(self, part: Part) -> Features:
        """Of the pairs that a part may learn from, and of those that are asked."""
        return Features(self.every, self.untrained, self.learned.given(part.hidden), self.config.longest_path)

    def answer(self, fold: Fold) -> Scores:
        """The scores of a fold, mapped, by name. Memory: see `learning`; scores go to the disk row by row."""
        folder = self.output / "folds" / fold.name / "scores"
        if not folder.is_dir():
            parts = self.parts(fold)
            classifiers = [self._classifiers(fold, part) for part in parts]
            self.say(f"{fold.name}: scoring {len(fold.asked):,} x {len(self.pairs.columns):,} pairs")
            with new_folder(folder) as partial:
                self._write(fold, parts, classifiers, partial)
        return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}

    def parts(self, fold: Fold) -> list[Part]:
        """What one learner of a fold must not have seen, and who learns from it."""
        return parts_of(self.pairs, fold, self.config.embeddings.withhold, self.config.seed)

    def scorers(self, fold: Fold, row: int) -> tuple[tuple[Features, Score], ...]:
        """What answers a row of a fold: features of its pairs, and log-odds of these; of several the mean counts."""
        parts = self.parts(fold)
        kind: Kind = "known" if self._has_known(fold)[fold.asked.tolist().index(row)] else "new"
        return tuple(
            (self.features(part), _log_odds_of(self._classifiers(fold, part)[kind]))
            for part in _answering(parts, self.pairs, row)
        )

    def gains(self, fold: Fold) -> dict[str, float]:
        """Share of the trees' gain by feature, mean over the classifiers of a fold, the largest first."""
        found = [one for part in self.parts(fold) for one in self._classifiers(fold, part).values()]
        every = [one.gains() for one in found]
        names = dict.fromkeys(name for gains in every for name in gains)
        mean = {name: sum(gains.get(name, 0.0) for gains in every) / len(every) for name in names}
        return dict(sorted(mean.items(), key=lambda item: -item[1]))

    def _classifiers(self, fold: Fold, part: Part) -> dict[Kind, Classifier]:
        """For the kinds of rows that the fold asks for."""
        has_some = self._has_known(fold)
        kinds: list[Kind] = []
        kinds += ["new"] if not has_some.all() else []
        kinds += ["known"] if has_some.any() else []
        found = {}
        for kind in kinds:
            place = self.output / "folds" / fold.name / f"{part.name}-{kind}"
            if not place.is_dir():
                self.say(f"{fold.name}: learning from pairs of {kind} rows")
                config, seed = self.config.classifier, self.config.seed
                features = self.features(part)
                with scratch_folder(place, purpose="examples") as scratch:
                    learn(features, self.pairs, part.within, kind, config, seed, scratch).save(place)
            found[kind] = Classifier.load(place)
        return found

    def _has_known(self, fold: Fold) -> Bool[np.ndarray, " asked"]:
        """Which asked rows have a known pair that may be seen."""
        counts = np.bincount(fold.visible(self.pairs)[:, 0], minlength=len(self.pairs.rows))
        return counts[fold.asked] > 0

    def _write(
        self,
        fold: Fold,
        parts: Sequence[Part],
        classifiers: Sequence[Mapping[Kind, Classifier]],
        folder: Path,
    ) -> None:
        """Row by row, so that memory is that of a row."""
        has_some = self._has_known(fold)
        visible = fold.visible(self.pairs)
        known = known_step(self.pairs, visible)
        learners = [part.within.learned_rows(self.pairs) for part in parts]
        features = [self.features(part).of_rows(visible, fold.asked) for part in parts]
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(
                    ArrayWriter(folder / f"{name}.npy", np.float32, len(self.pairs.columns))
                )
                for name in (*SCORES, *NAMES)
            }
            for at, row in enumerate(fold.asked.tolist()):
                mine = [next(one) for one in features]
                chosen = [n for n, learner in enumerate(learners) if row in learner] or list(
                    range(len(parts))
                )
                kind: Kind = "known" if has_some[at] else "new"
                made = _mean([_scores(classifiers[n][kind], mine[n].every()) for n in chosen])
                for name, values in (made | self.untrained.scores_of(known, row)).items():
                    writers[name].append(values[None])


def _scores(
    classifier: Classifier, features: Float[np.ndarray, "columns features"]
) -> dict[str, Float[np.ndarray, " columns"]]:
    found = classifier.estimates(features)
    return {
        "classifier": found.score,
        "spread": found.spread,
        "logistic": classifier.logistic_scores(features),
    }


def _mean(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}


def _answering(parts: Sequence[Part], pairs: Pairs, row: int) -> list[Part]:
    """The parts whose classifiers learned from a row; all, where none did."""
    return [part for part in parts if row in part.within.learned_rows(pairs)] or list(parts)


def _log_odds_of(classifier: Classifier) -> Score:
    return lambda features: classifier.estimates(features).score
