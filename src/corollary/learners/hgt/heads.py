"""Products by attention head: each head has its own columns of rows and its own matrix."""

import torch
from jaxtyping import Float
from torch import Tensor


def by_head(
    x: Float[Tensor, "rows width"], matrices: Float[Tensor, "attn depth depth"], *, transposed: bool = False
) -> Float[Tensor, "rows width"]:
    """Each head's columns times its matrix, or its transposed matrix."""
    depth, out = matrices.shape[1], torch.empty_like(x)
    for head, matrix in enumerate(matrices):
        columns = slice(head * depth, (head + 1) * depth)
        torch.mm(x[:, columns], matrix.T if transposed else matrix, out=out[:, columns])
    return out


def add_outer(
    matrices: Float[Tensor, "attn depth depth"],
    a: Float[Tensor, "rows width"],
    b: Float[Tensor, "rows width"],
) -> None:
    """Add the sum of outer products of rows to each head's matrix."""
    depth = matrices.shape[1]
    for head, matrix in enumerate(matrices):
        columns = slice(head * depth, (head + 1) * depth)
        matrix.addmm_(a[:, columns].T, b[:, columns])


def heads_dot(
    a: Float[Tensor, "rows width"], b: Float[Tensor, "*rows width"], attn: int
) -> Float[Tensor, "rows attn"]:
    """Products of rows, by head."""
    return (a * b).view(len(a), attn, a.shape[1] // attn).sum(-1)


def by_weight(
    x: Float[Tensor, "rows width"], weight: Float[Tensor, "rows attn"]
) -> Float[Tensor, "rows width"]:
    """Each head's columns times its number of the row."""
    attn = weight.shape[1]
    return (x.view(len(x), attn, x.shape[1] // attn) * weight[..., None]).flatten(1)
