"""ConvE the obvious way: torch's own layers, dense labels, dense scores, plain autograd. In float64.

Only the dropout masks come from the package, since they are random; they are asked for whole.
"""

import torch
from torch import Tensor, nn

from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.protocol import Batch, Place, Queries
from corollary.losses.labels import smoothed
from corollary.randomness import keep_mask
from tests.reference import one_to_all

SAME = {
    "relations": "relations.weight",
    "filters": "convolution.weight",
    "filter_bias": "convolution.bias",
    "projection": "projection.weight",
    "projection_bias": "projection.bias",
    "entities.weight": "entities.weight",
    "entities.bias": "entity_bias",
}
"""Names of the package's tensors and of the same ones here; names of batch norms are equal."""


class PlainConvE(nn.Module):
    def __init__(self, config: ConvEConfig, num_entities: int, num_relations: int) -> None:
        super().__init__()
        self.config, paper = config, config.variant == "paper"
        self.entities = nn.Embedding(num_entities, config.embedding_dim)
        self.entity_bias = nn.Parameter(torch.zeros(num_entities)) if config.entity_bias else None
        self.relations = nn.Embedding(2 * num_relations, config.embedding_dim)
        self.convolution = nn.Conv2d(1, config.channels, config.kernel, bias=config.conv_bias)
        features = self.convolution(torch.zeros(1, 1, *config.stacked())).numel()
        self.projection = nn.Linear(features, config.embedding_dim)
        self.norm_input = nn.BatchNorm2d(1) if paper else nn.Identity()
        self.norm_features = nn.BatchNorm2d(config.channels, affine=paper)
        self.norm_hidden = nn.BatchNorm1d(config.embedding_dim, affine=paper)
        self.double()

    @torch.no_grad()
    def copy(self, learner: ConvE) -> "PlainConvE":
        """Take the learner's weights and statistics."""
        mine = dict(self.named_parameters()) | dict(self.named_buffers())
        theirs = dict(learner.named_parameters()) | dict(learner.named_buffers())
        theirs |= {f"entities.{name}": part for name, part in learner.entities.parts.items()}
        assert {SAME.get(name, name) for name in theirs} == set(mine)
        for name, value in theirs.items():
            mine[SAME.get(name, name)].copy_(value)
        return self

    def gradients(self) -> dict[str, Tensor]:
        """By the package's names."""
        names = {mine: theirs for theirs, mine in SAME.items()}
        return {names.get(name, name): value.grad for name, value in self.named_parameters()}

    def image(self, queries: Queries, place: Place | None = None) -> Tensor:
        config = self.config
        head, relation = self.entities(queries.entity_ids), self.relations(queries.relation_ids)
        if config.variant == "libkge":
            head = head * self.mask("input", config.input_dropout, head.shape, place)
            relation = relation * self.mask("relation", config.input_dropout, head.shape, place)
        height, width = config.image()
        images = [x.reshape(len(queries), 1, height, width) for x in (head, relation)]
        return torch.cat(images, dim=2 if config.stacking == "height" else 3)

    def encode(self, queries: Queries, place: Place | None) -> Tensor:
        config, paper = self.config, self.config.variant == "paper"
        x = self.norm_input(self.image(queries, place))
        if paper:
            x = x * self.mask("input", config.input_dropout, x.shape, place)
        x = torch.relu(self.norm_features(self.convolution(x)))
        x = x * self.mask("features", config.feature_dropout, x.shape[:2], place)[:, :, None, None]
        x = self.projection(x.reshape(len(x), -1))
        x = x * self.mask("hidden", config.hidden_dropout, x.shape, place)
        x = self.norm_hidden(x)
        return torch.relu(x) if paper else x

    def mask(self, layer: str, probability: float, shape: torch.Size, place: Place | None) -> Tensor:
        """Zero, or what keeps the mean."""
        if place is None or probability == 0:
            return torch.ones(shape, dtype=torch.float64)
        rows, where = slice(0, shape[0]), (place.epoch, place.step, layer)
        width = shape[1:].numel()
        kept = keep_mask(place.seed, *where, rows=rows, width=width, probability=1 - probability)
        return torch.from_numpy(kept).double().reshape(shape) / (1 - probability)

    def scores(self, queries: Queries, place: Place | None = None) -> Tensor:
        scores = self.encode(queries, place) @ self.entities.weight.T
        return scores if self.entity_bias is None else scores + self.entity_bias

    def losses(self, batch: Batch) -> Tensor:
        """One loss a query, times what the query counts."""
        config, scores = self.config, self.scores(batch.queries, batch.place)
        y = one_to_all.dense_labels(batch.offsets, batch.answers, scores.shape[1])
        labels = smoothed(config.smoothing, config.label_smoothing, scores.shape[1])
        losses = getattr(one_to_all, config.loss)(scores, y, labels)
        if config.loss == "binary_cross_entropy" and config.reduction == "mean":
            losses = losses / scores.shape[1]
        return losses * self.counts(batch)

    def counts(self, batch: Batch) -> Tensor:
        answers = batch.offsets.diff()
        return answers if self.config.weight == "triple" else (answers > 0).long()

    def loss(self, batch: Batch) -> Tensor:
        """The mean over what counts."""
        return self.losses(batch).sum() / self.counts(batch).sum()
