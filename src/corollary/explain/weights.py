"""One value for every parameter that training moves: a gradient written out, or what each entry of one is scaled by.

Parameters that a later batch norm cancels are left out by structure (see `factors.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from corollary.explain.encoding import Frozen
from corollary.explain.products import Asked


@dataclass
class Weights:
    """Values by parameter; those of the entity table live where the table's rows live.

    Memory: 4 bytes a parameter.
    """

    entities: dict[str, Tensor]
    """`weight` and, where entities have one, `bias`."""
    relations: Float[Tensor, "relations dim"]
    projection: Float[Tensor, "dim features"]
    rest: list[Tensor]
    """Filters [channels, taps], then scale and shift of the feature maps' batch norm and of the hidden one, where they
    are learned."""

    @classmethod
    def zeros(cls, frozen: Frozen) -> "Weights":
        """Nothing yet."""
        table, learner = frozen.entities, frozen.learner
        rest = [torch.zeros_like(frozen.filters)]
        for norm in (learner.norm_features, learner.norm_hidden):
            if norm.weight is not None:
                rest += [torch.zeros_like(norm.weight), torch.zeros_like(norm.weight)]
        return cls(
            {name: table.storage.like(part) for name, part in table.parts.items()},
            torch.zeros_like(learner.relations.detach()),
            torch.zeros_like(frozen.projection),
            rest,
        )

    @property
    def network(self) -> list[Tensor]:
        """All but the entity table."""
        return [self.relations, self.projection, *self.rest]

    def fill(self, asked: Asked, examples: Sequence[int]) -> None:
        """Become the gradient of the sum of the losses of some asked examples."""
        frozen, found = asked.frozen, asked.found
        chosen = torch.tensor(examples, device=frozen.device)
        queries = found.of[chosen]
        q, f = found.encoded.q[queries], found.encoded.maps_of(frozen, queries, asked.workspace)[1]
        for rows in frozen.entities.block_slices():
            delta = asked.block(rows)[chosen]
            at = {"weight": delta.T @ q, "bias": delta.sum(0)}
            heads = found.heads[chosen]
            inside = (heads >= rows.start) & (heads < rows.stop)
            at["weight"].index_add_(0, heads[inside] - rows.start, found.u[chosen][inside])
            for name, part in self.entities.items():
                frozen.entities.storage.store(part, rows, at[name])
        self.relations.zero_().index_add_(0, found.relations[chosen], found.v[chosen])
        torch.mm(found.g[chosen].T, f, out=self.projection)
        parts = found.k[chosen].sum(0).split([part.numel() for part in self.rest])
        for part, values in zip(self.rest, parts, strict=True):
            part.copy_(values.view(part.shape))

    def scale(self, frozen: Frozen, by: "Weights") -> None:
        """Multiply entry by entry."""
        storage = frozen.entities.storage
        for name, part in self.entities.items():
            for rows in frozen.entities.block_slices():
                scaled = storage.fetch(part, rows) * storage.fetch(by.entities[name], rows)
                storage.store(part, rows, scaled)
        for part, other in zip(self.network, by.network, strict=True):
            part.mul_(other)

    def change(self, frozen: Frozen, function: Callable[[Tensor], Tensor]) -> None:
        """Apply a function to every value."""
        storage = frozen.entities.storage
        for part in self.entities.values():
            for rows in frozen.entities.block_slices():
                storage.store(part, rows, function(storage.fetch(part, rows)))
        for part in self.network:
            part.copy_(function(part))

    def named(self, frozen: Frozen) -> Iterator[tuple[str, Tensor]]:
        """The network's values under the names of the learner's parameters."""
        learner = frozen.learner
        yield "relations", self.relations
        yield "projection", self.projection
        names = ["filters"]
        for name in ("norm_features", "norm_hidden"):
            if getattr(learner, name).weight is not None:
                names += [f"{name}.weight", f"{name}.bias"]
        yield from zip(names, self.rest, strict=True)
