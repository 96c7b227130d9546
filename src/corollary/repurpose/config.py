"""Everything that decides a list of candidates, but for the graph."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from corollary.config import Config

Scheme = Literal["rows", "random", "areas", "external"]
Withhold = Literal["all", "half"]


class PairsConfig(Config):
    """Which pairs, and what else is known of them."""

    side: Literal["head", "tail"] = "head"
    """What is listed: heads for every tail of the relation, or tails for every head."""
    head_type: str | None = None
    """Node type of the heads, where the relation has several."""
    tail_type: str | None = None
    """Node type of the tails, where the relation has several."""
    negatives: tuple[str, ...] = ()
    """Relations between the two types whose pairs are known not to be answers, such as contraindicated."""
    negatives_file: Path | None = None
    """A file of such pairs: head and tail by label or name, tab between (comma in .csv)."""
    marks: tuple[str, ...] = ()
    """Relations between the two types that are shown beside an answer, such as in trials."""
    mark_files: dict[str, Path] = Field({})
    """Files of pairs to be shown beside an answer, by the name that they are shown under."""


class SplittingConfig(Config):
    """What is held out to see how good the lists are."""

    schemes: tuple[Scheme, ...] = ("rows",)
    """rows: all answers of some rows; random: some pairs; areas: all rows of one area; external: a list from outside."""
    folds: int = Field(5, ge=2)
    """Parts of rows and random: each is held out once."""
    areas_file: Path | None = None
    """A file with a row node and its area in each line, by label or name, tab between (comma in .csv)."""
    areas_relation: str | None = None
    """A relation from a row node to its area, in place of a file; it is followed upwards."""
    areas: tuple[str, ...] = ()
    """Areas to hold out, by name. None named: those with at least smallest_area rows that have an answer and at most half
    of them all, without the ones that lie within another."""
    smallest_area: PositiveInt = 4
    """Rows with a known answer that an area needs to be held out by itself."""
    external_file: Path | None = None
    """A file of pairs that are not in the graph: what a model of the whole graph should find."""


class BaselineConfig(Config):
    """What the untrained scores count. None named: every relation of the graph that links what they need."""

    similar_columns: tuple[str, ...] = ()
    """Relations that make two columns alike: by linking them, or by linking both to the same node."""
    similar_rows: tuple[str, ...] = ()
    """The same for rows."""
    paths: tuple[str, ...] = ()
    """Paths of two steps from column to row, as CbG-DaG: the relation of each step."""
    damping: NonNegativeFloat = 0.4
    """A step through a node with d such edges counts d ** -damping at both of its ends."""


class EmbeddingsConfig(Config):
    """Vectors of the nodes, and whether they may see answers that are learned from."""

    learner: Literal["hgt", "conve", "none"] = "hgt"
    """What makes them; none: the lists are made of counts alone."""
    options: dict[str, Any] = Field({})
    """Options of the learner, as in its recipe."""
    run: Path | None = None
    """A run whose learner and options are taken, in place of the two above. It is trained again without the answers."""
    file: Path | None = None
    """Vectors from a .csv, .tsv or .parquet file, in place of a learner. Nobody can say what they were made from."""
    withhold: Withhold = "all"
    """all: learners see no pair of the relation, so one training serves every fold. half: a learner sees half of the
    pairs of a fold and the classifier learns from the other half, then the other way: two trainings a fold, and one
    learner's score of the pair itself becomes a feature."""
    elementwise: bool = True
    """Whether products and differences of the two vectors are features, a number for each dimension."""


class ClassifierConfig(Config):
    """Boosted trees over the features of a pair."""

    draws: int = Field(5, ge=3)
    """Classifiers, each with other negatives and another part of the rows left out; probabilities are their mean."""
    negatives: PositiveInt = 50
    """Pairs of unknown standing drawn for each known answer in a draw."""
    rounds: PositiveInt = 300
    """Most trees of a classifier."""
    early_stopping: PositiveInt = 20
    """Trees without improvement on rows kept for it after which a classifier stops."""
    lr: PositiveFloat = 0.1
    """Learning rate of the trees."""
    depth: PositiveInt = 4
    """Most splits one above the other."""
    min_child_weight: NonNegativeFloat = 2.0
    """Least evidence in a leaf."""
    column_share: float = Field(0.5, gt=0, le=1)
    """Share of the features that a tree sees."""
    regression: float = Field(0.5, ge=0, le=1)
    """Share of a logistic regression in the log-odds that are calibrated; 0: trees alone."""
    calibration: Literal["sigmoid", "isotonic"] = "sigmoid"
    """How scores become probabilities, on pairs that the classifier has not seen, at their true share."""


class RepurposeConfig(Config):
    """Everything that decides the lists of a relation, but for the graph."""

    relation: str
    """The relation whose answers are listed."""
    pairs: PairsConfig = PairsConfig()
    splitting: SplittingConfig = SplittingConfig()
    baseline: BaselineConfig = BaselineConfig()
    embeddings: EmbeddingsConfig = EmbeddingsConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    rules: Path | None = None
    """A run of rules or DRUM whose options are taken: its scores of a pair become features. Needs withhold = half."""
    longest_path: Literal[2, 3] = 3
    """Steps of the longest paths that are features: each kind of path is one."""
    top: PositiveInt = 50
    """Places in the list of each row."""
    known: bool = False
    """List answers that are known already too."""
    faithfulness: NonNegativeInt = 50
    """First answers, spread over the rows, that are scored again without the path that is shown for them."""
    resamples: PositiveInt = 1000
    """Bootstrap resamples of rows behind the intervals of the figures."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of folds, negatives, learners and trees."""
    memory_limit: str | None = None
    """Resident memory of the whole process, such as 4GiB; refused before any work where the plan does not fit."""

    @model_validator(mode="after")
    def parts_go_together(self) -> Self:
        if self.rules is not None and self.embeddings.withhold != "half":
            raise ValueError(
                "rules of a relation can only be learned where the relation is: set embeddings.withhold = half with rules"
            )
        splitting = self.splitting
        if "external" in splitting.schemes and splitting.external_file is None:
            raise ValueError("the scheme external needs splitting.external_file")
        if "areas" in splitting.schemes and not (splitting.areas_file or splitting.areas_relation):
            raise ValueError("the scheme areas needs splitting.areas_file or splitting.areas_relation")
        if self.embeddings.file is not None and self.embeddings.run is not None:
            raise ValueError("embeddings come from a file or from a run: leave one of them out")
        return self
