"""Given features of nodes as input: a linear map for each type that has them, added to input embeddings or in their place.

The features themselves stay where they are, such as a mapped file; a block of rows is read at a time.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from corollary.graph.typed_links import BLOCK_ROWS, TypedRows
from corollary.learners.hgt.typed_linear import grad_of
from corollary.learners.layers import uniform
from corollary.learners.row_storage import RowStorage


class Features(nn.Module):
    """Maps from features to input, by type.

    Args:
        given: for some types, by number, a row for every node in the order of rows.
    """

    def __init__(
        self,
        given: Mapping[int, Float[np.ndarray, "rows features"]],
        nodes: TypedRows,
        width: int,
        seed: int,
        *,
        alone: bool,
    ) -> None:
        super().__init__()
        self._given, self._nodes, self.alone = dict(given), nodes, alone
        self.maps = nn.ParameterDict(
            {
                str(kind): uniform(
                    seed, f"features {kind}", width, rows.shape[1], bound=rows.shape[1] ** -0.5
                )
                for kind, rows in self._given.items()
            }
        )

    def _blocks(self, rows: Tensor | None) -> Iterator[tuple[nn.Parameter, slice, Tensor]]:
        """Map, places in the input, and features of some consecutive places of one type.

        Args:
            rows: of the whole graph, ascending, for every place; None: all of them.
        """
        whole = None if rows is None else rows.cpu().numpy()
        for kind, given in self._given.items():
            start, stop = int(self._nodes.starts[kind]), int(self._nodes.starts[kind + 1])
            first, last = (start, stop) if whole is None else np.searchsorted(whole, (start, stop)).tolist()
            for at in range(first, last, BLOCK_ROWS):
                places = slice(at, min(at + BLOCK_ROWS, last))
                chosen = (
                    given[at - start : places.stop - start] if whole is None else given[whole[places] - start]
                )
                parameter = self.maps[str(kind)]
                values = torch.from_numpy(np.array(chosen)).to(parameter.device, parameter.dtype)
                yield parameter, places, values

    def add(
        self,
        x: Float[Tensor, "places width"],
        rows: Tensor | None,
        *,
        storage: RowStorage | None = None,
    ) -> Float[Tensor, "places width"]:
        """Input rows with what features give: x itself where no type has features, else a copy, in `storage` if given."""
        if not self._given:
            return x
        x = (torch.empty_like(x) if storage is None else storage.like(x)).copy_(x)
        for parameter, places, values in self._blocks(rows):
            if self.alone:
                x[places] = 0
            x[places].addmm_(values, parameter.detach().T)
        return x

    def backward(self, gradient: Float[Tensor, "places width"], rows: Tensor | None) -> None:
        """Add to the gradients of the maps; where features stand alone, zero what goes on to the embeddings."""
        for parameter, places, values in self._blocks(rows):
            grad_of(parameter).addmm_(gradient[places].T, values)
            if self.alone:
                gradient[places] = 0
