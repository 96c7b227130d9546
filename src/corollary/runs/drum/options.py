"""The whole configuration of a run of DRUM."""

from typing import Self

from pydantic import PositiveInt, model_validator

from corollary.learners.drum.config import DrumConfig
from corollary.learners.drum.extracting import ExtractingConfig
from corollary.learners.drum.groups import GroupsConfig
from corollary.runs.drum.steps import DrumTraining
from corollary.runs.rules.options import WithRules


class DrumOptions(WithRules):
    """Everything that decides a run of DRUM, but for the graph."""

    model: DrumConfig = DrumConfig()
    training: DrumTraining = DrumTraining()
    groups: GroupsConfig = GroupsConfig()
    max_relations: PositiveInt | None = None
    """Ask only for so many targets, drawn by the seed; bodies may use all relations. Runs with other seeds cover other
    targets; corollary rules combine puts them together."""
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

    @model_validator(mode="after")
    def no_weight_belongs_to_an_entity(self) -> Self:
        optimizer = self.training.optimizer
        if (optimizer.table, optimizer.table_lr_factor) != ("same", 1.0):
            raise ValueError(
                "training.optimizer.table and table_lr_factor are for entity tables, and DRUM has none: leave them out"
            )
        return self
