"""One rule of one run: its counts, the pairs that it gives, and the facts by which it gives them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from corollary.records.explanation import Name, Share

Which = Literal["all", "holds", "fails"]
"""Pairs: every one; those that some split holds; those that none holds."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class NamedFact(_Part):
    """A triple by its names."""

    head: Name
    relation: Name
    tail: Name


class RulePair(_Part):
    """Two entities that the rule links."""

    head: Name
    tail: Name
    split: str | None
    """That holds the fact; None: none does."""
    ways: list[list[NamedFact]]
    """The first walks by which the body holds."""


class RuleSheet(_Part):
    """A rule with a part of its pairs."""

    run: str
    formula: str
    sentence: str
    relation: Name
    train: Share
    """Training facts among the pairs that the body gives."""
    pca: Share
    """The same among pairs whose given end has an answer at all."""
    head_coverage: float | None
    """Share of the relation's training facts that the body gives."""
    held_out: Share | None
    """Held-out facts among the pairs that training does not hold."""
    weight: float | None
    """In the model that it was taken from."""
    which: Which
    offset: int
    pairs: list[RulePair]
    more: bool
    """Whether there are pairs behind these."""
