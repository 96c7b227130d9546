"""What decides a ConvE: architecture and objective, with the sizes that follow from them."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from corollary.config import Config
from corollary.graph.folder import GraphSize
from corollary.learners.negatives import NegativesConfig, drawing_bytes
from corollary.learners.planning import Sampling
from corollary.losses.labels import Smoothing


class ConvEConfig(Config):
    """Architecture and objective of ConvE. Defaults are the paper's unless a field says otherwise."""

    embedding_dim: PositiveInt = 200
    """Length of an embedding; it is seen as an image of `image_height` x `image_width`."""
    image_height: PositiveInt | None = None
    """Rows of that image. Not set: such that the stacked image is nearest to a square."""
    image_width: PositiveInt | None = None
    """Columns of that image. Not set: embedding_dim / image_height."""
    stacking: Literal["height", "width"] = "height"
    """Put the relation's image below the head's (height) or beside it (width)."""
    channels: PositiveInt = 32
    """Feature maps of the convolution."""
    kernel: PositiveInt = 3
    """Side of the square convolution kernel."""
    input_dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the stacked image (paper) or on both embeddings (libkge)."""
    feature_dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout of whole feature maps."""
    hidden_dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout after the projection to the embedding."""
    entity_bias: bool = True
    """One learned offset per entity."""
    conv_bias: bool = True
    """A learned offset per feature map."""
    sides: Literal["both", "tail"] = "both"
    """both: heads are asked for by 2R directed relations; tail: R relations, and only tails can be asked for."""
    variant: Literal["paper", "libkge"] = "paper"
    """libkge: no batch norm on the input, the other two without scale and shift, no nonlinearity at the end."""
    examples: Literal["kvsall", "1vsall"] = "kvsall"
    """kvsall: a query with all its answers is one example; 1vsall: every triple and side is one."""
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    """Softmax over all entities (not the paper's: stronger and more robust), or one sigmoid per entity."""
    weight: Literal["triple", "query"] = "triple"
    """triple: a query counts as many times as it has answers, the expected gradient of 1vsall; query: once."""
    reduction: Literal["sum", "mean"] = "sum"
    """Of binary cross-entropy over entities: mean is the paper's, sum keeps the learning rate of other losses."""
    label_smoothing: NonNegativeFloat = Field(0.0, lt=1)
    """Amount of label smoothing; the paper uses 0.1."""
    smoothing: Smoothing = "uniform"
    """Which definition of label smoothing: uniform, conve or pykeen (see the docs)."""
    batch_size: int = Field(512, ge=2)
    """Queries (kvsall) or examples (1vsall) per optimiser step."""
    block_rows: PositiveInt = 4096
    """Rows of the fixed blocks in which sums over entities run; part of the result, not of the memory plan."""
    negatives: NegativesConfig = NegativesConfig()

    @model_validator(mode="after")
    def image_fits(self) -> Self:
        self.image()
        return self

    @model_validator(mode="after")
    def candidates_are_counted(self) -> Self:
        """What is summed over all entities needs to know how many a candidate stands for."""
        if self.negatives.sampled and not self.negatives.correction:
            mean = self.loss == "binary_cross_entropy" and self.reduction == "mean"
            if self.label_smoothing or mean:
                raise ValueError(
                    f"negatives.correction = false does not go with "
                    f"{'reduction = mean' if mean else 'label_smoothing'}, which is made for all entities: candidates "
                    f"have to be counted for those that they stand for"
                )
        return self

    def image(self) -> tuple[int, int]:
        """Height and width of one embedding's image. Raises `ValueError` with the nearest usable size."""
        height, width = _image(self.embedding_dim, self.image_height, self.image_width, self.stacking)
        if height * width != self.embedding_dim:
            raise ValueError(
                f"embedding_dim = {self.embedding_dim} is not image_height x image_width = {height} x {width}"
            )
        if not _usable(height, width, self.kernel, self.stacking):
            raise ValueError(
                f"embedding_dim = {self.embedding_dim} as an image of {height} x {width} is too narrow for kernel = "
                f"{self.kernel}; nearest usable: {self._nearest_usable()}"
            )
        return height, width

    def stacked(self) -> tuple[int, int]:
        """Height and width of head and relation stacked."""
        height, width = self.image()
        return (2 * height, width) if self.stacking == "height" else (height, 2 * width)

    def directed(self, num_relations: int) -> int:
        """Rows of the relation table."""
        return num_relations * (2 if self.sides == "both" else 1)

    def sampling(self, size: GraphSize) -> Sampling:
        """What decides the bytes of sampled negatives."""
        by_type = self.negatives.name == "types"
        return Sampling(
            drawn=self.negatives.num_drawn,
            one_answer=self.examples == "1vsall",
            tiles=1 + by_type + (self.loss == "binary_cross_entropy"),
            groups=min(self.batch_size, self.directed(size.num_relations)) if by_type else 1,
            tables=drawing_bytes(self.negatives.name, size.num_entities),
        )

    def patches(self) -> int:
        """Places of the kernel on the stacked image: entries of one feature map."""
        height, width = self.stacked()
        return (height - self.kernel + 1) * (width - self.kernel + 1)

    def features(self) -> int:
        """Entries of all feature maps of one query: what the projection reads."""
        return self.channels * self.patches()

    def _nearest_usable(self) -> str:
        for distance in range(100 * self.kernel**2):
            for dim in (self.embedding_dim - distance, self.embedding_dim + distance):
                height, width = _image(max(dim, 1), None, None, self.stacking)
                if _usable(height, width, self.kernel, self.stacking):
                    return f"{dim} as {height} x {width}"
        raise AssertionError("a square image is always usable")


def _image(dim: int, height: int | None, width: int | None, stacking: str) -> tuple[int, int]:
    """The given sides; a side that is not given follows, so that the stacked image is nearest to a square."""
    if height is not None or width is not None:
        height = height or dim // (width or 1)
        return height, width or dim // height
    factors = [side for side in range(1, dim + 1) if dim % side == 0]
    short = min(factors, key=lambda side: (abs(np.log(dim / side / (2 * side))), side))
    return (short, dim // short) if stacking == "height" else (dim // short, short)


def _usable(height: int, width: int, kernel: int, stacking: str) -> bool:
    """At least two rows and columns a side, and room for the kernel."""
    stacked = (2 * height, width) if stacking == "height" else (height, 2 * width)
    return min(height, width) >= 2 and min(stacked) >= kernel
