"""The whole configuration of a run of counted rules."""

from typing import Literal

from pydantic import PositiveInt

from corollary.config import Config
from corollary.rules.applying import Applying, ApplyingOptions
from corollary.rules.mining import Mining
from corollary.runs.config import EvaluationConfig, RunOptions


class CountingOptions(Config):
    """How rules are counted."""

    distinct: bool = True
    """The variables of a rule stand for different entities. Without: walks may turn back (AMIE's reading)."""
    most_edges: PositiveInt | None = None
    """Edges looked at before starts are drawn in place of walking from all; such rules say so. Not set: never."""


class WithRules(RunOptions):
    """What every run that holds counted rules has."""

    targets: tuple[str, ...] = ()
    """Relations that rules are looked for, evaluated and applied for; not set: all."""
    counting: CountingOptions = CountingOptions()
    applying: ApplyingOptions = ApplyingOptions()
    """How rules become scores."""
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def how(self) -> Applying:
        """How rules are applied: with variables as they were counted."""
        return Applying(**self.applying.model_dump(), distinct=self.counting.distinct)


class RulesOptions(WithRules):
    """Everything that decides a run of counted rules, but for the graph."""

    source: Literal["mined", "imported"] = "mined"
    """Where the rules come from."""
    body_relations: tuple[str, ...] = ()
    """Relations that bodies may use; not set: all."""
    mining: Mining = Mining()
