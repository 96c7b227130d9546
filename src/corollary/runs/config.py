"""The whole configuration of a run, as it stands in `config.json` and in a recipe."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from corollary.config import Config
from corollary.evaluation.metrics import Ties
from corollary.learners.conve_config import ConvEConfig
from corollary.training.loop import TrainingConfig
from corollary.training.tracking import TrackingConfig


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


class OptimizationConfig(Config):
    """Ways to save memory and time. But for precision none of them changes a result."""

    use_mixed_precision: bool = False
    """Make matrix products in the 16-bit type that is right for the device; which one is said."""
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    """That type by name (fp16 on CUDA only). Not set: fp32, or with use_mixed_precision what is right."""
    use_gradient_checkpointing: bool = False
    """Make the convolution's feature maps again in backward; without it only where the memory limit asks for it."""
    enable_memory_cleanup: bool = True
    """Free the buffers of training before the validation triples are ranked."""


class RunOptions(Config):
    """What every run has, whatever it trains."""

    seed: NonNegativeInt = 0
    """Of initial weights, order and dropout."""
    device: str = "auto"
    """auto is CUDA where there is one, else the CPU; or cpu, cuda, cuda:1, mps."""
    memory_limit: str | None = None
    """Resident memory of the whole process, such as 4GiB; refused before any work where the plan does not fit."""
    tracking: TrackingConfig = TrackingConfig()


class RunConfig(RunOptions):
    """Everything that decides a run of ConvE, but for the graph."""

    model: ConvEConfig = ConvEConfig()
    training: TrainingConfig = TrainingConfig()
    optimizations: OptimizationConfig = OptimizationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def average_goes_over_all_rows(self) -> Self:
        if self.model.negatives.sampled and self.training.average_decay is not None:
            raise ValueError(
                f"training.average_decay = {self.training.average_decay} goes over the whole table after every step, "
                f"and model.negatives.name = {self.model.negatives.name} touches a few rows of it: leave one of them out"
            )
        return self


def from_record(table: Mapping[str, Any], kind: type[RunOptions] = RunConfig) -> dict[str, Any]:
    """The options in a recipe (without its [recipe] table) or in a `config.json` (without plan, versions, graph)."""
    if "plan" in table:
        return {key: value for key, value in table.items() if key in kind.model_fields}
    return {key: value for key, value in table.items() if key != "recipe"}
