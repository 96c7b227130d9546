"""What decides a heterogeneous graph transformer, beside the graph."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from corollary.config import Config

Convolution = Literal["hgt", "gat", "rgcn"]


class HgtConfig(Config):
    """Architecture. Defaults are those of the paper's code where it has them."""

    embedding_dim: PositiveInt = 128
    """Length of the embeddings that come out and are compared."""
    hidden_dim: PositiveInt = 128
    """Width inside: of the input embeddings and of every layer."""
    layers: PositiveInt = 2
    """Steps that a message can go."""
    attn: PositiveInt = 4
    """Attention heads, each `hidden_dim / attn` wide; blocks of the relation matrices for rgcn."""
    convolution: Convolution = "hgt"
    """hgt, or with the same machinery gat (additive attention) or rgcn (means)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """On what a layer adds to a node."""
    input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the nodes whose input a step leaves out as a whole, so that they are known by their neighbours alone."""
    inputs: Literal["fit", "memory", "disk"] = "fit"
    """Where input embeddings with their optimiser state and the layer outputs of inference lie: in memory, in mapped
    files, or in files where the limit asks for it (CPU). The numbers are the same bytes."""
    input_std: PositiveFloat = 0.1
    """Deviation of the input embeddings at the start."""
    features: dict[str, Path] = Field({})
    """Given features by node type: a .npy, .parquet, .csv or .tsv file with a row for every node of the type."""
    features_alone: bool = False
    """Nodes of types with features have no input embeddings beside them."""
    decoder_bias: bool = True
    """Each directed relation has a vector beside that of its product: how well an embedding answers it, whoever asks."""
    popularity: bool = True
    """Scores grow with how often an entity answers the relation among the edges that carry messages: by the log of one
    more than that, times a number learnt for each directed relation. Attention takes means: it cannot count."""
    typed_scores: bool = True
    """Entities of a type that never answers a relation in train score below all others."""

    @model_validator(mode="after")
    def heads_fit(self) -> Self:
        if self.hidden_dim % self.attn:
            raise ValueError(f"hidden_dim = {self.hidden_dim} is not a multiple of attn = {self.attn}")
        return self

    @property
    def depth(self) -> int:
        """Width of one attention head."""
        return self.hidden_dim // self.attn


class NegativesConfig(Config):
    """What a true answer competes with: entities of its own type, never chosen by what valid or test hold."""

    count: PositiveInt = 1024
    """Entities drawn for each relation, side and step; a type that has no more is taken whole, exactly."""
    name: Literal["uniform", "degree", "matched"] = "uniform"
    """How they are drawn: all alike, by degree ** 0.75, or by how often each answers the relation. The loss divides
    by the chance (log-q), so all three estimate the same loss."""


class ContrastConfig(Config):
    """A contrastive loss over a whole node type: linked nodes closer than all others of the type."""

    relation: str
    """Nodes that this relation links are positives; it has to link a type with itself."""
    weight: PositiveFloat = 0.1
    """Beside the link loss, which has 1."""
    temperature: PositiveFloat = 0.1
    anchors: PositiveInt = 1024
    """Nodes asked a step."""


class LinksConfig(Config):
    """What is asked of the graph while training, and what messages may then not go over."""

    folds: PositiveInt = 10
    """Parts of the training edges: each step asks for one part and sends messages over the others. An epoch asks for
    every part once."""
    edges_per_type: PositiveInt = 5000
    """Most edges of a relation asked for in one step."""
    relations: tuple[str, ...] = ()
    """Relations asked for; none named: all."""
    weights: dict[str, NonNegativeFloat] = Field({})
    """What relations count in the loss, by name; 1 where not named, before they are divided by their sum."""
    weighting: Literal["relations", "edges"] = "relations"
    """Whether every relation counts the same, or every edge that was asked for."""
    parallel: Literal["all", "same"] | tuple[str, ...] = "all"
    """Which other edges between the two nodes of an edge that is asked for are hidden with it, in both directions:
    of all relations, none but its own, or those named here."""
    negatives: NegativesConfig = NegativesConfig()
    contrast: ContrastConfig | None = None
    """A contrastive loss beside that of links: set its `relation`, and perhaps `weight`, `temperature` and `anchors`."""


class SamplingConfig(Config):
    """Training on drawn parts of the graph in place of the whole. Embeddings are made from the whole all the same."""

    name: Literal["none", "edges", "neighbors", "budget"] = "none"
    """none: exact, over all edges. edges: so many edges of every relation and the nodes they link. neighbors: so many
    edges into every node, by edge type, around the nodes that are asked. budget (HGSampling): so many nodes of every
    type around them, drawn by how much of their neighbours' edges they have, and all edges between nodes drawn."""
    edge_sample_size: PositiveInt = 5000
    """edges: edges of each relation in a part; one in `links.folds` of them is asked for, and carries no message."""
    num_neighbors: tuple[PositiveInt, ...] = (10, 10)
    """neighbors: most edges of a node and edge type, one number a hop, the nearest first."""
    node_batch_size: PositiveInt = 512
    """neighbors, budget: about so many nodes are asked; relations that are asked for share them evenly."""
    width: PositiveInt = 256
    """budget: nodes of each type that a round draws."""
    rounds: PositiveInt = 2
    """budget: times that nodes are drawn, each among the neighbours of all that were drawn before."""
    batches: PositiveInt = 100
    """Parts in an epoch."""
