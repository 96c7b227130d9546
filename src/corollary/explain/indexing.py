"""What an index holds of training examples, and scores from it: fast, nearly exact.

Of every query: its encoder output, and its feature maps projected. Of every example: u, v and g whole, k projected (names
of `factors.py`). Numbers are 16 bit with one scale a row. So of the inner product

    (delta . delta') (q . q' + 1) + delta[h'] (q . u') + delta'[h] (u . q') + [h = h'] (u . u') + [r = r'] (v . v')
        + (g . g') (f . f') + k . k'

only three parts are approximate. f . f' and k . k' are projected on the main axes of a sample (both sides the same way;
the small rest is lost). delta . delta' runs over the `LARGEST` entities of the asked example's delta; the others count with
their mean. Everything else is exact to 16 bit.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.explain.encoding import Frozen
from corollary.explain.factors import Factors, as_p_, rows_of
from corollary.explain.products import Asked
from corollary.losses.workspace import Workspace

LARGEST = 1024
"""Entities over which deltas are multiplied one by one."""
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Axes:
    """Directions that feature maps and small gradients are projected on."""

    f: Float[Tensor, "features components"]
    k: Float[Tensor, "rest written_components"]

    @classmethod
    def of(
        cls, f: Float[Tensor, "sample features"], k: Float[Tensor, "sample rest"], components: int
    ) -> "Axes":
        """The main axes of a sample."""
        return cls(_main(f, components), _main(k, components))


def _main(rows: Float[Tensor, "sample width"], components: int) -> Float[Tensor, "width components"]:
    """Eigenvectors of the sample's second moment, the largest first; from the products of its rows with each other."""
    values, vectors = torch.linalg.eigh((rows @ rows.T).double())
    kept = (
        (values > values[-1] * 1e-6).nonzero()[:, 0].flip(0)[:components]
    )  # below are products' rounding errors
    return (rows.T @ (vectors[:, kept] / values[kept].sqrt()).to(rows.dtype)).contiguous()


def entries(frozen: Frozen, some: Factors, axes: Axes, workspace: Workspace) -> Arrays:
    """What the index holds of some examples, and of their queries."""
    config, projected = frozen.config, some.u.new_empty(len(some.encoded.q), axes.f.shape[1])
    for start in range(0, len(projected), 128):
        chosen = torch.arange(start, min(start + 128, len(projected)), device=projected.device)
        torch.mm(
            some.encoded.maps_of(frozen, chosen, workspace)[1], axes.f, out=projected[start : start + 128]
        )
    deltas, found = some.deltas, {}
    if config.loss == "cross_entropy":
        found["log_total"] = some.wide.log_total
    beta = deltas.beta if len(deltas.beta) else torch.zeros_like(deltas.alpha)
    found |= {"total": some.wide.totals, "alpha": deltas.alpha, "own": deltas.values, "beta": beta}
    queries = some.encoded.queries
    found |= {
        "head": queries.entity_ids,
        "relation": queries.relation_ids,
        "of": some.of,
        "answer": deltas.ids,
    }
    for name, part in (("q", some.encoded.q), ("f", projected), ("u", some.u), ("v", some.v), ("g", some.g)):
        found |= _halved(name, part)
    found |= _halved("k", some.k @ axes.k)
    return {name: part.cpu().numpy() for name, part in found.items()}


def _halved(name: str, rows: Float[Tensor, "n width"]) -> dict[str, Tensor]:
    """16-bit rows, and the scale of each."""
    scale = rows.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny)
    return {name: (rows / scale[:, None]).half(), f"{name}_scale": scale}


class Question:
    """One asked triple, made ready to be multiplied with what an index holds."""

    def __init__(self, asked: Asked, examples: list[int], axes: Axes) -> None:
        frozen, found = asked.frozen, asked.found
        chosen = torch.tensor(examples)
        queries = found.of[chosen]
        self.frozen, self.heads, self.relations = frozen, found.heads[chosen], found.relations[chosen]
        self.q, self.u, self.v, self.g = found.q[chosen], found.u[chosen], found.v[chosen], found.g[chosen]
        self.f = found.encoded.maps_of(frozen, queries, asked.workspace)[1] @ axes.f
        self.k = found.k[chosen] @ axes.k
        blocks = [asked.block(rows)[chosen].clone() for rows in frozen.entities.block_slices()]
        self.delta = torch.cat(blocks, 1)
        size = self.delta.abs().amax(0)
        size[self.heads] = torch.inf
        self.places = torch.topk(size, min(LARGEST, len(size))).indices.sort().values
        rest = max(self.delta.shape[1] - len(self.places), 1)
        self.largest = self.delta[:, self.places]
        self.mean_rest = (self.delta.sum(1) - self.largest.sum(1)) / rest
        self.weight = rows_of(frozen, self.places)
        parts, storage = frozen.entities.parts, frozen.entities.storage
        self.bias = storage.gather(parts["bias"], self.places) if "bias" in parts else None

    def scores(self, part: Arrays, answers: tuple[np.ndarray, np.ndarray]) -> Float[Tensor, " examples"]:
        """Influence without learning rate on the examples of one part, summed over those of the asked triple.

        Args:
            answers: known answers of the part's queries, as CSR; without any where no example has a weight on them.
        """
        held = {name: torch.from_numpy(array) for name, array in part.items()}
        of, head = held["of"].long(), held["head"].long()
        q = _whole(held, "q")
        p = q @ self.weight.T
        if self.bias is not None:
            p += self.bias
        p = as_p_(self.frozen, p, held.get("log_total", q.new_zeros(0)))
        rest = held["total"] - p.sum(1)
        near = p @ self.largest.T + rest[:, None] * self.mean_rest
        answer, own = held["answer"].long(), held["own"][:, None]
        delta = held["alpha"][:, None] * near[of] + own * self.delta[:, answer].T
        at_heads = held["alpha"][:, None] * p[:, torch.searchsorted(self.places, self.heads)][of]
        at_heads += own * (answer[:, None] == self.heads)
        if len(answers[1]):
            delta, at_heads = self._with_rows(answers, held["beta"][:, None], of, delta, at_heads)
        u, v, g, k, f = (_whole(held, name) for name in "uvgkf")
        result = delta * (q @ self.q.T + int(self.frozen.config.entity_bias))[of]
        result += at_heads * (q @ self.u.T)[of]
        result += self.delta[:, head].T[of] * (u @ self.q.T)
        result += (head[:, None] == self.heads)[of] * (u @ self.u.T)
        result += (held["relation"].long()[:, None] == self.relations)[of] * (v @ self.v.T)
        result += (g @ self.g.T) * (f @ self.f.T)[of]
        result += k @ self.k.T
        return result.sum(1)

    def _with_rows(
        self,
        answers: tuple[np.ndarray, np.ndarray],
        beta: Tensor,
        of: Tensor,
        delta: Tensor,
        at_heads: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """With what the other answers of a query's row do."""
        offsets, ids = (torch.from_numpy(array) for array in answers)
        query = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
        sums = delta.new_zeros(len(offsets) - 1, delta.shape[1]).index_add_(0, query, self.delta[:, ids].T)
        known = torch.zeros_like(sums).index_add_(0, query, (ids[:, None] == self.heads).to(sums))
        return delta + beta * sums[of], at_heads + beta * known[of]


def _whole(held: dict[str, Tensor], name: str) -> Float[Tensor, "n width"]:
    return held[name].float() * held[f"{name}_scale"][:, None]


def evenly(count: int, wanted: int) -> Int[np.ndarray, " places"]:
    """Places spread over a range."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))
