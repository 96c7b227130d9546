"""A linear map for every node type, forward and backward by hand."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from corollary.graph.typed_links import TypedRows
from corollary.learners.layers import uniform


class TypedLinear(nn.Module):
    """A linear map of its own for every node type."""

    def __init__(self, seed: int, name: str, types: int, out: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(uniform(seed, name, types, out, width, bound=width**-0.5))
        self.bias = nn.Parameter(uniform(seed, f"{name} bias", types, out, bound=width**-0.5))

    def block(
        self, x: Float[Tensor, "block width"], kind: int, *, out: Float[Tensor, "block out"] | None = None
    ) -> Float[Tensor, "block out"]:
        """Rows of one type."""
        return torch.addmm(self.bias[kind].detach(), x, self.weight[kind].detach().T, out=out)

    def rows(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        *,
        out: Float[Tensor, "rows out"] | None = None,
    ) -> Float[Tensor, "rows out"]:
        """All rows; into `out` where it is given, such as a mapped file."""
        made = x.new_empty(len(x), self.weight.shape[1]) if out is None else out
        for kind, rows in nodes.blocks():
            self.block(x[rows], kind, out=made[rows])
        return made

    def block_backward(
        self,
        x: Float[Tensor, "block width"],
        kind: int,
        gradient: Float[Tensor, "block out"],
        x_gradient: Float[Tensor, "block width"] | None,
    ) -> None:
        """Add to the gradients of the weights, and of x where it is wanted."""
        grad_of(self.weight)[kind].addmm_(gradient.T, x)
        grad_of(self.bias)[kind].add_(gradient.sum(0))
        if x_gradient is not None:
            x_gradient.addmm_(gradient, self.weight[kind].detach())

    def rows_backward(
        self,
        x: Float[Tensor, "rows width"],
        nodes: TypedRows,
        gradient: Float[Tensor, "rows out"],
        x_gradient: Float[Tensor, "rows width"] | None,
    ) -> None:
        """The same over all rows, block by block in order."""
        for kind, rows in nodes.blocks():
            self.block_backward(
                x[rows], kind, gradient[rows], None if x_gradient is None else x_gradient[rows]
            )


def grad_of(parameter: nn.Parameter) -> Tensor:
    """Its gradient, zero before the first addition."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
