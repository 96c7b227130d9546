"""The whole configuration of a run of DRUM."""

from typing import Self

from pydantic import PositiveInt, model_validator

from corollary.learners.drum_config import DrumConfig
from corollary.learners.drum_groups import GroupsConfig
from corollary.learners.drum_rules import ExtractingConfig
from corollary.runs.drum_steps import DrumTraining
from corollary.runs.rules_options import WithRules


class DrumOptions(WithRules):
    """Everything that decides a run of DRUM, but for the graph."""

    model: DrumConfig = DrumConfig()
    training: DrumTraining = DrumTraining()
    groups: GroupsConfig = GroupsConfig()
    max_relations: PositiveInt | None = None
    """Ask only for so many targets, drawn by the seed; bodies may use all relations. Runs with other seeds cover other
    targets; `runs.drum_combining` puts them together."""
    extracting: ExtractingConfig = ExtractingConfig()
    """How rules are taken from the trained model; they are counted and ranked beside it."""

    @model_validator(mode="after")
    def groups_take_turns_of_their_own(self) -> Self:
        """Early stopping looks at one figure over the whole training, and groups have one each."""
        if self.groups.target_batch_size is not None and self.training.early_stopping is not None:
            raise ValueError(
                "training.early_stopping does not go with groups.target_batch_size: the best weights of each group "
                "are kept anyway"
            )
        return self
