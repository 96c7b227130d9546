"""ConvE as three other programs build it, in plain torch: for their names of tensors and their scores.

PyKeen    PyKEEN 1.11, `pykeen.models.ConvE` and `pykeen.nn.modules.ConvEInteraction`
Script    a plain training script: images side by side, no entity bias
Authors   the code of Dettmers et al.: images on top of each other, entity bias `b`
"""

import torch
from torch import Tensor, nn


class _Representation(nn.Module):
    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self._embeddings = nn.Embedding(rows, dim)


class _Interaction(nn.Module):
    def __init__(self, height: int, width: int, channels: int, kernel: int) -> None:
        super().__init__()
        features = channels * (2 * height - kernel + 1) * (width - kernel + 1)
        self.hr2d = nn.Sequential(
            nn.BatchNorm2d(1),
            nn.Dropout(0.2),
            nn.Conv2d(1, channels, kernel),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout2d(0.2),
        )
        self.hr1d = nn.Sequential(
            nn.Linear(features, height * width), nn.Dropout(0.3), nn.BatchNorm1d(height * width), nn.ReLU()
        )


class PyKeen(nn.Module):
    """`num_rows` relations, the inverse ones among them."""

    def __init__(
        self, num_entities: int, num_rows: int, *, height: int, width: int, channels: int, kernel: int = 3
    ) -> None:
        super().__init__()
        self.image = height, width
        dim = height * width
        self.interaction = _Interaction(height, width, channels, kernel)
        self.entity_representations = nn.ModuleList(
            [_Representation(num_entities, dim), _Representation(num_entities, 1)]
        )
        self.relation_representations = nn.ModuleList([_Representation(num_rows, dim)])

    def forward(self, entities: Tensor, relations: Tensor) -> Tensor:
        """Scores of every entity, each as a product summed on its own."""
        table, bias = (item._embeddings.weight for item in self.entity_representations)
        pictures = [
            vectors.view(-1, 1, *self.image)
            for vectors in (
                table[entities],
                self.relation_representations[0]._embeddings.weight[relations],
            )
        ]
        x = self.interaction.hr2d(torch.cat(pictures, dim=-2))
        x = self.interaction.hr1d(x.view(len(x), -1))
        return (x[:, None, :] * table[None]).sum(-1) + bias[:, 0]


class _Named(nn.Module):
    """The layers that plain scripts and the authors name alike."""

    def __init__(self, stacked: tuple[int, int], dim: int, channels: int, kernel: int) -> None:
        super().__init__()
        features = channels * (stacked[0] - kernel + 1) * (stacked[1] - kernel + 1)
        self.bn0 = nn.BatchNorm2d(1)
        self.conv1 = nn.Conv2d(1, channels, kernel)
        self.bn1 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(features, dim)
        self.bn2 = nn.BatchNorm1d(dim)

    def encode(self, picture: Tensor) -> Tensor:
        x = self.bn1(self.conv1(self.bn0(picture))).relu()
        return self.bn2(self.fc(x.flatten(1))).relu()


class Script(_Named):
    def __init__(
        self, num_entities: int, num_rows: int, *, height: int, width: int, channels: int, kernel: int = 3
    ) -> None:
        super().__init__((height, 2 * width), height * width, channels, kernel)
        self.image = height, width
        self.entity_embeddings = nn.Embedding(num_entities, height * width)
        self.relation_embeddings = nn.Embedding(num_rows, height * width)

    def forward(self, entities: Tensor, relations: Tensor) -> Tensor:
        vectors = self.entity_embeddings(entities), self.relation_embeddings(relations)
        picture = torch.cat([v.view(-1, 1, *self.image) for v in vectors], dim=3)
        return self.encode(picture) @ self.entity_embeddings.weight.T


class Authors(_Named):
    def __init__(
        self, num_entities: int, num_rows: int, *, height: int, width: int, channels: int, kernel: int = 3
    ) -> None:
        super().__init__((2 * height, width), height * width, channels, kernel)
        self.image = height, width
        self.emb_e = nn.Embedding(num_entities, height * width)
        self.emb_rel = nn.Embedding(num_rows, height * width)
        self.b = nn.Parameter(torch.zeros(num_entities))

    def forward(self, entities: Tensor, relations: Tensor) -> Tensor:
        vectors = self.emb_e(entities), self.emb_rel(relations)
        picture = torch.cat([v.view(-1, 1, *self.image) for v in vectors], dim=2)
        return self.encode(picture) @ self.emb_e.weight.T + self.b


def stirred(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and statistic drawn anew, none of them zero or one; in evaluation mode."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                drawn = torch.randn(value.shape, generator=rng)
                value.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn / 2)
    return model.eval()
