"""Taxonomies in hyperbolic space: a place for every node from which nearness gives back who is above whom.

Source: Nickel & Kiela 2017 (Poincaré embeddings), Mishne et al. 2023 (free vectors). Published for WordNet's nouns in 10
dimensions: mean rank 4.02, MAP .851; no public rerun reaches both. What is different here: nested caps as the start
(`geometry.placement`), negatives that are never true, Adagrad with one number a row, float64 throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from corollary.config import Config
from corollary.geometry.hyperbolic import from_ball, to_ball
from corollary.geometry.placement import PlacementConfig, place
from corollary.graph.folder import Graph
from corollary.graph.taxonomy import Taxonomy
from corollary.kernels.taxonomy import negatives as tiers
from corollary.kernels.taxonomy import rows
from corollary.learners.protocol import Files
from corollary.randomness import philox


class TaxonomyNegatives(Config):
    """What a node's ancestors are compared with. Shares of `count`; what they leave goes to uniform."""

    count: PositiveInt = 50
    """Negatives a pair."""
    degree: float = Field(0.8, ge=0, le=1)
    """By (number of pairs of the node) ** `degree_power`: mostly nodes high up."""
    degree_power: float = Field(0.75, ge=0, le=2)
    same_depth: float = Field(0.0, ge=0, le=1)
    """Of the depth of the descendant."""
    sibling: float = Field(0.0, ge=0, le=1)
    """Other children of the parent; of the nearest ancestor that has some."""
    cousin: float = Field(0.0, ge=0, le=1)
    """Grandchildren of the grandparent by another parent."""
    structural: float = Field(0.1, ge=0, le=1)
    """A geometric number of steps up, then another child or any node below."""

    @model_validator(mode="after")
    def shares_fit(self) -> Self:
        total = self.degree + self.same_depth + self.sibling + self.cousin + self.structural
        if total > 1 + 1e-9:
            raise ValueError(f"the shares of negatives sum to {total:g}: at most 1")
        return self

    def quotas(self) -> Int[np.ndarray, " tiers"]:
        """Draws of every tier for one pair; their sum is `count`."""
        found = np.zeros(tiers.NUM_TIERS, np.int64)
        shares = {
            tiers.DEGREE: self.degree,
            tiers.SAME_DEPTH: self.same_depth,
            tiers.SIBLING: self.sibling,
            tiers.COUSIN: self.cousin,
            tiers.STRUCTURAL: self.structural,
        }
        for tier, share in shares.items():
            found[tier] = min(round(share * self.count), self.count - found.sum())
        found[tiers.UNIFORM] = self.count - found.sum()
        return found


class PoincareConfig(Config):
    """How a taxonomy is embedded."""

    dim: PositiveInt = Field(10, ge=2)
    """Length of an embedding."""
    relations: tuple[str, ...] = ()
    """Relations of the graph that mean "is a"; its only one when not given."""
    closed: bool = True
    """Train on every ancestor pair; else on the given pairs alone, of which some may be missing."""
    held_out: float = Field(0.0, ge=0, lt=1)
    """Share of ancestor pairs that are kept from training, placement and negatives, for validation."""
    held_out_parents: float = Field(0.0, ge=0, lt=1)
    """Share of leaves whose parent is kept from training, for leaf attachment; they keep what is above it."""
    held_out_ranks: tuple[str, ...] = ()
    """Ranks such as phylum: some leaves lose their ancestor of that rank and all above it, to see whose neighbours
    they become."""
    held_out_nodes: float = Field(0.01, gt=0, lt=1)
    """Share of leaves taken for each of these ranks."""
    coordinates: Literal["free", "ball"] = "free"
    """free vectors, or coordinates of the Poincaré ball with Riemannian SGD."""
    loss: Literal["softmax", "hinge"] = "softmax"
    """softmax over negatives, anchored at the descendant; or the older margin loss, anchored at the ancestor."""
    margin: NonNegativeFloat = 0.2
    """hinge: by how much a negative is to be farther than the descendant, in hyperbolic units."""
    lambda_reg: NonNegativeFloat = 0.01
    """hinge: weight of the squared difference between a radius and that of its depth."""
    optimizer: Literal["adagrad", "sgd"] = "adagrad"
    """Adagrad keeps one number a row; sgd none. Ball coordinates go with sgd."""
    negatives: TaxonomyNegatives = TaxonomyNegatives()
    placement: PlacementConfig = PlacementConfig()
    off_chain: PositiveInt = 3
    """Times that a pair is met in an epoch where the spanning tree does not hold it (nodes with several parents)."""
    smallest_share: NonNegativeFloat = 1e-6
    """softmax: negatives with a smaller share stay where they are."""
    largest_radius: PositiveFloat = 36.0
    """No node goes farther out, in hyperbolic units; where one would, it is counted."""
    batch_size: PositiveInt = 32768
    """Pairs between two looks of the loop (rate, progress, checkpoints). Every pair is an update of its own."""
    threads: PositiveInt = 1
    """Ranges of a batch at once, without locks. With 1 the same run gives the same bytes."""

    @model_validator(mode="after")
    def parts_go_together(self) -> Self:
        if self.coordinates == "ball" and self.optimizer != "sgd":
            raise ValueError("coordinates = ball are trained with Riemannian SGD: set optimizer = sgd too")
        if self.coordinates == "ball" and self.loss == "hinge":
            raise ValueError("loss = hinge is for free coordinates: leave coordinates = ball out")
        if (
            self.coordinates == "ball"
            and self.placement.name == "caps"
            and self.placement.largest_radius > 30
        ):
            raise ValueError(
                "placement.largest_radius is above 30, where ball coordinates no longer tell points apart"
            )
        return self


@dataclass(frozen=True)
class PairRange:
    """Some places of one epoch's order."""

    first: int
    last: int
    key: np.uint64

    def __len__(self) -> int:
        return self.last - self.first


class PairRanges(Sequence[PairRange]):
    """One epoch, cut into ranges; its order follows from the key and is never written down."""

    def __init__(self, count: int, size: int, key: np.uint64) -> None:
        self._count, self._size, self._key = count, size, key

    def __len__(self) -> int:
        return -(-self._count // self._size)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        first = number * self._size
        return PairRange(first, min(first + self._size, self._count), self._key)


class Poincare:
    """Places of all nodes of a taxonomy. Rows are those of the taxonomy, in preorder."""

    def __init__(self, config: PoincareConfig, taxonomy: Taxonomy, *, seed: int) -> None:
        """Allocate, and place the nodes.

        Memory: 8 * nodes * (dim + 4, rounded up to 8) bytes, and as much as `place` while placing.
        """
        self.config = config
        self.taxonomy = taxonomy.repeating(config.off_chain)
        self.width = rows.padded(config.dim)
        self.table = rows.new_table(len(taxonomy), config.dim)
        self.points = self.table[:, : config.dim]
        placed = place(taxonomy, config.dim, config.placement, seed=seed)
        self.cut_at_start = placed.cut_radii
        self.points[:] = placed.points if config.coordinates == "free" else to_ball(placed.points)

    @property
    def num_pairs(self) -> int:
        """Updates of one epoch."""
        return self.taxonomy.num_pairs + len(self.taxonomy.tree.extra_pairs)

    @property
    def embeddings(self) -> Float[np.ndarray, "nodes dim"]:
        """Free vectors of all rows, copied."""
        return self.points.copy() if self.config.coordinates == "free" else from_ball(self.points)

    def batches(self, graph: Graph, *, seed: int, epoch: int) -> PairRanges:
        """Ranges of the epoch's order."""
        key = np.uint64(philox(seed, "pairs", epoch).random_raw())
        return PairRanges(self.num_pairs, self.config.batch_size, key)

    def files(self) -> Files:
        """The vectors (or ball coordinates) and the entity of every row."""
        entity_ids = torch.from_numpy(self.taxonomy.entity_ids)
        yield "weights.safetensors", {"points": torch.from_numpy(self.points), "entity_ids": entity_ids}

    def release(self) -> None:
        """Nothing is kept between steps."""

    def train(self, mode: bool = True) -> Self:
        """Training and evaluation do not differ."""
        return self

    def eval(self) -> Self:
        return self
