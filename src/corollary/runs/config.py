"""The whole configuration of a run, as it stands in `config.json` and in a recipe."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt

from corollary.config import Config
from corollary.evaluation.metrics import Ties
from corollary.learners.conve import ConvEConfig
from corollary.training.loop import TrainingConfig


class EvaluationConfig(Config):
    """How ranks are made."""

    metric: Literal["mrr", "hits@1", "hits@3", "hits@10"] = "mrr"
    """Validation figure that chooses the best checkpoint and stops training."""
    checkpoint: Literal["best", "final"] = "best"
    """Weights that figures and predictions are made with: the best on validation, or the last ones."""
    hits: tuple[PositiveInt, ...] = (1, 3, 5, 10)
    """The k of hits@k."""
    ties: Ties = "realistic"
    """Rank of a true answer among equal scores: first, middle or last. All three are reported."""
    filter: Literal["known", "train+valid", "train"] = "known"
    """Facts left out of the competition at test time. Validation during training uses train+valid: it never sees
    the test facts."""
    resamples: NonNegativeInt = 1000
    """Bootstrap resamples behind the intervals; 0: no intervals."""


class RunConfig(Config):
    """Everything that decides a run, but for the graph."""

    seed: NonNegativeInt = 0
    """Of initial weights, order and dropout."""
    device: str = "auto"
    """auto is CUDA where there is one, else the CPU; or cpu, cuda, cuda:1, mps."""
    memory_limit: str | None = None
    """Resident memory of the whole process, such as 4GiB; refused before any work where the plan does not fit."""
    model: ConvEConfig = ConvEConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


def from_record(table: Mapping[str, Any]) -> dict[str, Any]:
    """The options in a recipe (without its [recipe] table) or in a `config.json` (without plan, versions, graph)."""
    if "plan" in table:
        return {key: value for key, value in table.items() if key in RunConfig.model_fields}
    return {key: value for key, value in table.items() if key != "recipe"}
