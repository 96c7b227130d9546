"""What decides a call of TracIn."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from corollary.config import Config
from corollary.explain.deltas import Deletion
from corollary.explain.influence import Measure, Target
from corollary.graph.answers import Side


class TracInConfig(Config):
    """What is asked of the training triples."""

    measure: Measure = "tracin"
    """tracin: the definition. output, output-kfac, cosine, adam: other scores, which are not TracIn."""
    target: Target = "loss"
    """loss: of the asked triple; score: of its answer; contrast: its lead over another answer."""
    side: Literal["both", "tail", "head"] | None = None
    """Answer that is asked about. Not set: both for a loss, the tail for a score and a contrast."""
    deletion: Deletion | None = None
    """What a training triple stands for: example, its own positive and negatives; label, its place among the answers of
    its query. Not set: as the run was trained, label for kvsall and example for 1vsall."""
    top_k: PositiveInt | None = 10
    """Proponents, and opponents, that are kept of every asked triple; not set: all."""
    checkpoints: tuple[str, ...] = ()
    """Names. Not given: those kept by checkpoint_frequency, else the one that predicts."""
    learning_rate: NonNegativeFloat | None = None
    """In place of the checkpoints' own; for imported models that record none."""
    batch_size: PositiveInt | None = None
    """Training triples that go by together; part of the rounding. Not set: 512, whatever the memory limit."""
    within_hops: PositiveInt | None = None
    """Only candidates this near to the asked triple; 1: they share an entity with it."""
    relations: tuple[str, ...] = ()
    """Only candidates of these relations."""
    by_checkpoint: bool = False
    """Say of the listed triples what each checkpoint adds."""
    by_entity: bool = False
    """Sum influence around every entity too."""
    by_path: bool = False
    """Sum influence over paths of two and three triples from head to tail, and list the strongest."""
    distribution: bool = False
    """Count influences by size."""
    recompute: bool = False
    """Make feature maps again in the backward pass in place of holding those of a block; changes no byte."""
    use_mixed_precision: bool = False
    """Products with bf16 factors and float32 sums: ranks stay close, numbers do not."""

    @model_validator(mode="after")
    def sides_go_with_the_target(self) -> "TracInConfig":
        if self.target == "contrast" and self.side == "both":
            raise ValueError("a contrast is asked of one side: side = tail or side = head")
        return self

    def sides(self) -> tuple[Side, ...]:
        """Directions in which the asked triples are examples."""
        side = self.side or ("both" if self.target == "loss" else "tail")
        return ("tail", "head") if side == "both" else (side,)
