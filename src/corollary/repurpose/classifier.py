"""Boosted trees over the features of a pair, several draws of them, and a logistic regression beside them.

Draw d learns from all inner folds but two: it stops by inner fold d + 1, and inner fold d, every pair of it, calibrates.
Trees and regression are blended as log-odds. Pairs of the calibrating folds of all draws make one curve. A pair's score is the mean over draws of calibrated log-odds;
how far the draws lie apart gives its interval.

Kept in a folder: `draw-N.json` (XGBoost's own), `logistic.json`, `classifier.json` with curves, names of features and
checksums. Nothing is pickled.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from corollary.errors import MissingExtra, RunDamaged
from corollary.repurpose.calibrating import Calibrator
from corollary.repurpose.config import ClassifierConfig
from corollary.repurpose.examples import ANSWER, Examples
from corollary.repurpose.logistic import Logistic
from corollary.storage import new_folder, sha256

_EDGE = 1e-12
"""Chances are kept off 0 and 1 by it before they become log-odds."""
_Z90 = 1.6449
"""Standard deviations to either side that hold 90 of 100 values."""


@dataclass(frozen=True)
class Estimates:
    """Of some pairs."""

    score: Float[np.ndarray, " pairs"]
    """Mean over draws of calibrated log-odds."""
    spread: Float[np.ndarray, " pairs"]
    """Half of a 90 % interval in log-odds, from the deviation between draws."""


@dataclass(frozen=True)
class Classifier:
    """Trained draws, with their curves."""

    boosters: tuple[Any, ...]
    calibrator: Calibrator
    """Of the blend of a draw and the regression."""
    logistic: Logistic
    logistic_calibrator: Calibrator
    names: tuple[str, ...]
    share: float
    """Of the regression in the blend."""

    def estimates(self, features: Float[np.ndarray, "pairs features"]) -> Estimates:
        """Of pairs with these features."""
        matrix, line = as_matrix(features), self.logistic.scores(features)
        draws = np.stack(
            [self.calibrator.log_odds(blend(margin(one, matrix), line, self.share)) for one in self.boosters]
        )
        return Estimates(draws.mean(0), _Z90 * draws.std(0, ddof=1))

    def logistic_scores(self, features: Float[np.ndarray, "pairs features"]) -> Float[np.ndarray, " pairs"]:
        """Calibrated log-odds of the logistic regression."""
        return self.logistic_calibrator.log_odds(self.logistic.scores(features))

    def gains(self) -> dict[str, float]:
        """Share of the trees' gain by feature, mean over draws; what no tree uses is absent."""
        total = dict.fromkeys(self.names, 0.0)
        for booster in self.boosters:
            found = booster.get_score(importance_type="total_gain")
            whole = sum(found.values()) or 1.0
            for name, value in found.items():
                total[self.names[int(name[1:])]] += value / whole / len(self.boosters)
        return {name: value for name, value in sorted(total.items(), key=lambda item: -item[1]) if value}

    def save(self, folder: Path) -> None:
        """Write the folder as a whole."""
        with new_folder(folder, replace=True) as partial:
            files = {}
            for number, booster in enumerate(self.boosters):
                booster.save_model(partial / f"draw-{number}.json")
            (partial / "logistic.json").write_text(self.logistic.model_dump_json(), encoding="utf-8")
            for file in sorted(partial.iterdir()):
                files[file.name] = sha256(file)
            manifest = {
                "names": self.names,
                "share": self.share,
                "calibrator": self.calibrator.model_dump(),
                "logistic_calibrator": self.logistic_calibrator.model_dump(),
                "files": files,
            }
            (partial / "classifier.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder. Raises `RunDamaged` where a file is missing or has changed."""
        import xgboost

        try:
            manifest = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
            changed = [
                name for name, checksum in manifest["files"].items() if sha256(folder / name) != checksum
            ]
        except (OSError, ValueError, KeyError) as error:
            raise RunDamaged(f"{folder} is damaged: remove it, it is made again ({error})") from None
        if changed:
            raise RunDamaged(
                f"{folder / changed[0]} has changed since it was written: remove {folder}, it is made again"
            )
        boosters = []
        for name in sorted(name for name in manifest["files"] if name.startswith("draw-")):
            boosters.append(xgboost.Booster(model_file=folder / name))
        return cls(
            tuple(boosters),
            Calibrator.model_validate(manifest["calibrator"]),
            Logistic.model_validate_json((folder / "logistic.json").read_text(encoding="utf-8")),
            Calibrator.model_validate(manifest["logistic_calibrator"]),
            tuple(manifest["names"]),
            float(manifest["share"]),
        )


def need_extra() -> None:
    """Raises `MissingExtra` where a library that classifiers need is not installed."""
    for module in ("xgboost", "sklearn"):
        if find_spec(module) is None:
            raise MissingExtra(f"{module} is not installed: pip install 'corollary[repurpose]'")


def train_draws(examples: Examples, config: ClassifierConfig, seed: int, *, threads: int = 1) -> list[Any]:
    """A booster for each draw. The same examples, options, seed and threads give the same trees."""
    return [_train(examples, config, draw, seed, threads) for draw in range(config.draws)]


def _train(examples: Examples, config: ClassifierConfig, draw: int, seed: int, threads: int) -> Any:
    import xgboost

    mine = examples.of_draw(draw)
    stops = (draw + 1) % config.draws
    learned = mine & (examples.inner != draw) & (examples.inner != stops)
    watched = mine & (examples.inner == stops)
    parameters = {
        "objective": "multi:softprob" if examples.num_classes == 3 else "binary:logistic",
        "eval_metric": "mlogloss" if examples.num_classes == 3 else "logloss",
        "eta": config.lr, "max_depth": config.depth, "min_child_weight": config.min_child_weight,
        "colsample_bytree": config.column_share, "subsample": 0.8, "tree_method": "hist",
        "seed": seed * 1000 + draw, "nthread": threads, "verbosity": 0,
    }  # fmt: skip
    if examples.num_classes == 3:
        parameters["num_class"] = 3
    booster = xgboost.train(
        parameters,
        as_matrix(examples.taken(learned), examples.labels[learned]),
        config.rounds,
        evals=[(as_matrix(examples.taken(watched), examples.labels[watched]), "watched")],
        early_stopping_rounds=config.early_stopping,
        verbose_eval=False,
    )
    return booster[: booster.best_iteration + 1]


def blend(
    trees: Float[np.ndarray, " n"], line: Float[np.ndarray, " n"], share: float
) -> Float[np.ndarray, " n"]:
    """Log-odds of the trees and of the regression, which learned from the same examples, weighed."""
    return (1 - share) * trees + share * line


def as_matrix(features: Float[np.ndarray, "n features"], labels: Int[np.ndarray, " n"] | None = None) -> Any:
    """As XGBoost takes them. Memory: the features once more."""
    import xgboost

    return xgboost.DMatrix(features, labels, nthread=1)


def margin(booster: Any, matrix: Any) -> Float[np.ndarray, " n"]:
    """Log-odds of being an answer, as the trees have it."""
    chances = np.asarray(booster.predict(matrix), np.float64)
    answer = np.clip(chances[:, ANSWER] if chances.ndim == 2 else chances, _EDGE, 1 - _EDGE)
    return np.log(answer / (1 - answer))
