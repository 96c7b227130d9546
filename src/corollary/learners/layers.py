"""Layers whose randomness is a function of the place in the training, and whose statistics see the whole batch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from corollary.learners.protocol import Place
from corollary.randomness import generator, keep_mask


class Dropout(nn.Module):
    """Zeroes entries with `probability`; the mask depends on seed, epoch, step, layer and row alone."""

    def __init__(self, name: str, probability: float) -> None:
        super().__init__()
        self.name, self.probability = name, probability

    def forward(self, x: Float[Tensor, "batch *rest"], place: Place | None) -> Float[Tensor, "batch *rest"]:
        """Dropout of single entries; none without a place."""
        mask = self.scaled_mask(len(x), x[0].numel(), place, like=x)
        return x if mask is None else x * mask.view(x.shape)

    def scaled_mask(self, rows: int, width: int, place: Place | None, *, like: Tensor) -> Tensor | None:
        """[rows, width] of 0 and 1 / (1 - probability), or None where nothing is dropped."""
        return self.scaled_rows(slice(0, rows), width, place, like=like)

    def scaled_rows(self, rows: slice, width: int, place: Place | None, *, like: Tensor) -> Tensor | None:
        """The same for some rows of a larger batch: each has the mask that it would have in the whole."""
        if place is None or self.probability == 0:
            return None
        keep = 1 - self.probability
        where = (place.epoch, place.step, self.name)
        mask = keep_mask(place.seed, *where, rows=rows, width=width, probability=keep)
        return torch.from_numpy(mask).to(device=like.device, dtype=like.dtype).div_(keep)


def uniform(seed: int, name: str, *shape: int, bound: float) -> Float[Tensor, "..."]:
    """Values uniform in [-bound, bound), a function of seed and name."""
    values = generator(seed, "weights", name).uniform(-bound, bound, shape)
    return torch.from_numpy(values).float()


def normal(seed: int, name: str, *shape: int, std: float) -> Float[Tensor, "..."]:
    """Values normal with this deviation, a function of seed and name."""
    values = generator(seed, "weights", name).standard_normal(shape) * std
    return torch.from_numpy(values).float()
