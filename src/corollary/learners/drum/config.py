"""The options of DRUM."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from corollary.config import Config


class DrumConfig(Config):
    """Architecture and objective of DRUM. Defaults are the authors' unless a field says otherwise."""

    rule_length: int = Field(2, ge=1, le=6)
    """Steps of a walk, T: the most atoms in a rule's body. The authors' num_step is one more."""
    components: int = Field(3, ge=1, le=64)
    """Sums of weighted walks that are added up, L; the authors' rank."""
    query_embed_size: PositiveInt = 128
    """Length of a query's vector."""
    lstm_size: PositiveInt = 128
    """Length of the hidden state of each LSTM, of which there are two a component."""
    normalise: bool = True
    """Divide what arrives by its sum over all entities. Once, at the end: it is the same as after every step."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the entities reached after every step."""
    own_edges: Literal["leave-one-out", "batch"] = "leave-one-out"
    """Edges that an example may not use: its own (exact, not the authors'), or those of its whole batch (theirs)."""
    queries: Literal["auto", "all", "given", "split"] = "auto"
    """Triples that are asked for: all of train; those that came in train.txt beside facts.txt (given); or a share of
    train drawn at random (split). auto: given where there are facts, else all."""
    query_share: float = Field(0.25, gt=0, lt=1)
    """With queries = split: share of train that is asked for."""
    resplit: bool = False
    """With queries = split: draw anew in every epoch."""
    extra_facts: bool = True
    """Walk over the triples that are asked for too. Without: over the other facts alone."""
    body_relations: tuple[str, ...] = ()
    """Relations that bodies may use; not set: all."""
    facts_only: bool = False
    """Bodies may use the relations of the facts alone, those that facts.txt holds."""
    shortlist: PositiveInt | None = None
    """Operators each query may use: those most often on ways from its starts to its answers, then beside them. Not set:
    all. The authors' type_check with its domain_size of 128."""
    generated: bool = False
    """Make query vectors and operator keys from what relations are like, beside a row for each, so that relations that
    no training saw can be asked. Experimental."""
    generated_width: PositiveInt = 128
    """Inner width of the two networks that make them."""
    hidden_share: float = Field(0.3, ge=0, lt=1)
    """With generated: relations that are asked for as if unseen, others every 64 steps, by 0, 1, 5 or all of their
    facts."""
    lookup_dropout: float = Field(0.5, ge=0, lt=1)
    """With generated: relations whose own rows are left out of a step."""
    batch_size: PositiveInt = 64
    """Triples a step, each asked from both sides."""
    floor: PositiveFloat = 1e-12
    """Least score of an answer that has a gradient."""
    output_scale: PositiveFloat = 1.0
    """Standard deviation of the first weights of the output layer."""
    block_rows: PositiveInt = 4096
    """Entities that are ranked at once; part of the result of an evaluation."""

    @model_validator(mode="after")
    def only_what_is_drawn_is_drawn_anew(self) -> Self:
        if self.resplit and self.queries != "split":
            raise ValueError(
                f"resplit = true draws anew what queries = split draws, and queries = {self.queries} draws nothing: say "
                "queries = split too, or leave it out"
            )
        return self
