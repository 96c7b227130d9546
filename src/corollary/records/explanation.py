"""All reasons for one prediction, as plain data: what `explain` returns, writes as JSON and shows, and the page reads.

Every piece of evidence says how it is tied to the prediction. Facts stand once, in one numbered list; rules, influence
and paths point into it. A part that cannot be had says why in `missing`. Two runs of `explain` give the same bytes but
for `timing`.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

FORMAT = "corollary.explanation/1"

Tie = Literal["computed", "measured", "attributed", "context"]
"""computed: the score is made of it. measured: scored again without it. attributed: estimated from gradients.
context: true and near by; the model may not have used it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Share(_Part):
    """k of n, with a 95 % Wilson interval; the interval is absent where n is 0."""

    k: int
    n: int
    low: float | None
    high: float | None


class Estimate(_Part):
    """A figure with a 95 % interval, where there is one."""

    value: float
    low: float | None
    high: float | None


class Name(_Part):
    """An entity or a relation, as the graph calls it."""

    id: int
    label: str
    name: str
    type: str | None = None
    degree: int | None = None
    """Training triples that it is part of; of entities alone."""


class Fact(_Part):
    """One triple that a piece of evidence rests on."""

    id: int
    """From 1, in the order in which the evidence asks for it."""
    head: int
    relation: int
    tail: int
    split: str | None
    """None where no split of the graph holds it."""
    source: str | None = None
    """File that it was read from, where the graph remembers."""


class Status(_Part):
    """What the graph itself says of the triple."""

    split: str | None
    """Split that holds it; None: a new fact."""
    other_relations: list[Name]
    """Relations by which the training triples link the two, in either direction."""
    candidates: int
    """Answers that competed: entities, less other known answers."""


class Calibrated(_Part):
    """Of the held-out answers ranked like this one: how often was the candidate at such a rank the held-out fact?"""

    ranks: str
    """The bin of ranks, such as 4-10."""
    right: Share
    probability: float
    """Isotonic over ranks: it never rises with the rank."""
    pooled: bool
    """Over all relations, where this one has too few validation triples."""


class Rank(_Part):
    """Where one run puts the answer."""

    run: str
    learner: str
    rank: float | None
    """Realistic filtered rank from 1; None where the run cannot be asked for this side."""
    score: float | None
    calibrated: Calibrated | None
    missing: str | None = None


class Ensembled(_Part):
    """The runs together."""

    method: str
    weights: dict[str, float]
    """By run, learned on validation triples."""
    rank: float
    calibrated: Calibrated | None


class Trust(_Part):
    """How well a run does on test triples of this relation and side."""

    run: str
    test_facts: int
    mrr: Estimate | None
    hits_at_10: Share
    baseline_mrr: float | None
    """Of ranking by how often training facts of the relation have the entity as answer."""
    top_ten_share: Share
    """Of the relation's queries, those that have this answer among their ten best new ones."""
    warnings: list[str]


class Binding(_Part):
    """One way in which a rule holds."""

    facts: list[int]
    entities: list[int]
    """On the way, first to last."""


class RuleReason(_Part):
    """A rule that derives the prediction."""

    id: str
    """Run and row, such as `umls-rules:88`."""
    sentence: str
    formula: str
    weight: float | None
    """Of a model that the rule was taken from."""
    train: Share
    """Training facts among the pairs that the body gives."""
    held_out: Share | None
    """Held-out facts among the pairs that the body gives and training does not hold."""
    total_groundings: int
    groundings: list[Binding]
    like: str | None
    """A better rule of this list that says much the same: it has the same groundings' facts."""


class RuleReasons(_Part):
    tie: Tie = "computed"
    total: int
    shown: list[RuleReason]


class InfluentialFact(_Part):
    fact: int
    value: float
    """Above zero: it spoke for the prediction during training."""


class InfluenceGroup(_Part):
    """Facts of one relation that share the same end with the prediction."""

    pattern: str
    count: int
    sum: float
    best: InfluentialFact


class InfluenceReasons(_Part):
    tie: Tie = "attributed"
    run: str
    method: str
    checkpoints: list[str]
    candidates: int
    of: int
    """Training triples in all."""
    share_for: float
    """Of the whole size of all influence among the candidates."""
    share_against: float
    groups: list[InfluenceGroup]
    proponents: list[InfluentialFact]
    opponents: list[InfluentialFact]


class PathReason(_Part):
    facts: list[int]
    entities: list[int]
    """Head, those between, tail."""
    weight: float
    pattern: str
    above: Share | None
    """Of pairs with like degrees: those whose paths of this pattern weigh less than this pair's."""


class PathReasons(_Part):
    tie: Tie = "context"
    longest: int
    total: int
    damping: float
    shown: list[PathReason]


class Hierarchy(_Part):
    """Where head and tail stand in a taxonomy."""

    tie: Tie = "context"
    run: str
    above_head: list[int]
    """Ancestors, nearest first."""
    above_tail: list[int]
    common: int | None
    """The lowest ancestor of both."""
    common_depth: int | None
    common_size: int | None
    """Nodes below it."""
    siblings_with_relation: Share | None
    """Of the answer's siblings, those that are answers of the same query."""
    distance: float | None
    """Hyperbolic, where both were embedded."""


class Neighbour(_Part):
    entity: int
    similarity: float
    """Cosine of the embeddings."""
    has_relation: bool
    """Whether it stands in this relation to the other end, in the training triples."""


class Neighbours(_Part):
    tie: Tie = "context"
    run: str
    head: list[Neighbour]
    tail: list[Neighbour]


class Agreement(_Part):
    """Do rules, influence and paths cite the same facts?"""

    in_two_or_more: int
    facts: int
    expected: float
    """By chance, were each part to draw its facts from the training triples that share an end with the prediction."""


class Rescored(_Part):
    """The prediction once more, without some facts."""

    tie: Tie = "measured"
    removed: list[int]
    run: str
    rank_before: float
    rank: float


class Missing(_Part):
    """A part that is not there, and why."""

    missing: str


class Made(_Part):
    """From what, and how."""

    version: str
    runs: dict[str, dict[str, Any]]
    """By name: learner, checkpoint and a digest of its configuration."""
    graph: str
    """Fingerprint."""
    options: dict[str, Any]
    command: str


class Timing(_Part):
    seconds: dict[str, float]
    peak_bytes: int


class Explanation(_Part):
    """One prediction with all its reasons."""

    format: str = FORMAT
    key: str
    """SHA-256 of graph, runs, options and triple."""
    graph: str
    head: Name
    relation: Name
    tail: Name
    side: Literal["head", "tail"]
    """The side that counts as the answer."""
    status: Status
    ranks: list[Rank]
    ensemble: Ensembled | Missing
    trust: list[Trust]
    facts: list[Fact]
    entities: dict[int, Name]
    """All entities that anything here names."""
    relations: dict[int, Name]
    rules: RuleReasons | Missing
    influence: InfluenceReasons | Missing
    paths: PathReasons | Missing
    hierarchy: Hierarchy | Missing
    neighbours: Neighbours | Missing
    agreement: Agreement | Missing
    what_if: list[Rescored] | Missing
    made: Made
    timing: Timing

    @property
    def answer(self) -> Name:
        """The predicted end."""
        return self.tail if self.side == "tail" else self.head

    def comparable(self) -> dict[str, Any]:
        """All but the timing: the same for the same question."""
        return self.model_dump(mode="json", exclude={"timing"})


def wilson(k: int, n: int) -> Share:
    """k of n with the 95 % score interval of Wilson 1927."""
    if n == 0:
        return Share(k=k, n=n, low=None, high=None)
    z, share = 1.959963984540054, k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return Share(k=k, n=n, low=max(0.0, middle - half), high=min(1.0, middle + half))
