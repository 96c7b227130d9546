"""The whole configuration of an HGT run."""

from typing import Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from corollary.learners.hgt.config import HgtConfig, LinksConfig, SamplingConfig
from corollary.runs.config import EvaluationConfig, RunOptions
from corollary.training.loop import TrainingConfig


class HgtTraining(TrainingConfig):
    """How long an HGT is trained."""

    epochs: PositiveInt = 30
    """Passes over the training edges: `links.folds` steps each."""
    lr: PositiveFloat = 3e-3
    """First learning rate."""
    validate_every: PositiveInt = 2
    """Epochs between validations."""
    clip_norm: PositiveFloat | None = 1.0
    """Largest norm of the whole gradient; longer ones are scaled down."""


class HgtOptions(RunOptions):
    """Everything that decides a run of HGT, but for the graph."""

    model: HgtConfig = HgtConfig()
    links: LinksConfig = LinksConfig()
    sampling: SamplingConfig = SamplingConfig()
    training: HgtTraining = HgtTraining()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def parts_go_together(self) -> Self:
        if self.training.average_decay is not None:
            raise ValueError("training.average_decay is not for hgt: leave it out")
        if self.sampling.name == "neighbors" and len(self.sampling.num_neighbors) != self.model.layers:
            raise ValueError(
                f"sampling.num_neighbors has {len(self.sampling.num_neighbors)} hops and model.layers = "
                f"{self.model.layers}: a layer is a hop"
            )
        return self
