"""Losses of a query against some entities that stand for all: estimates of those in `one_to_all`.

Candidate j stands for n_ij entities where query i is concerned (`counts`; how they are made so that this is right on
average: `learners.negatives`). Among the candidates are all answers of the batch, each with a count of one. Then

    binary cross-entropy   sum over j of n_ij softplus(z_ij) - label z_ij     is unbiased, with its gradients;
    softmax cross-entropy  log of the sum over j of n_ij exp(z_ij) - ...      tends to the exact one with the number drawn.

Both kinds of labels are those of `one_to_all`: `positive` shared among the answers, or given to each, exactly; `every`
is summed over candidates times their counts. Under cross-entropy the labels of a query sum to `positive` and `every`
times its sum of counts, so that adding a constant to all scores changes nothing, as in the exact loss.

The batch goes through in strips; the scores of one strip against all candidates are all that exists at a time, and they
are made once. How many queries make a strip follows from the sizes alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.losses.labels import Labels
from corollary.losses.one_to_all import STRIP_ROWS, Kind
from corollary.losses.workspace import Workspace

TILE_ENTRIES = 1 << 22
"""Scores that exist at a time, 16 MiB in float32, unless a single query has more candidates."""


@dataclass(frozen=True)
class Sample:
    """The candidates of a batch and its true answers: those of query i are `answers[offsets[i]:offsets[i + 1]]`."""

    weight: Float[Tensor, "candidates dim"]
    bias: Float[Tensor, " candidates"] | None
    counts: Float[Tensor, "groups candidates"]
    """Entities that each candidate stands for, by group of queries; 0: it is no candidate there."""
    group_of: Int[Tensor, " queries"]
    offsets: Int[Tensor, " bounds"]
    answers: Int[Tensor, " answers"]
    """As places among the candidates."""


@dataclass(frozen=True)
class Gradients:
    """Of `sum(scale * losses)`."""

    query: Float[Tensor, "queries dim"]
    weight: Float[Tensor, "candidates dim"]
    bias: Float[Tensor, " candidates"] | None


def strip_rows(queries: int, candidates: int) -> int:
    """Queries whose scores exist at a time."""
    return max(1, min(queries, STRIP_ROWS, TILE_ENTRIES // candidates))


def fused(
    kind: Kind,
    query: Float[Tensor, "queries dim"],
    sample: Sample,
    *,
    labels: Labels,
    scale: Float[Tensor, " queries"],
    workspace: Workspace,
) -> tuple[Float[Tensor, " queries"], Gradients]:
    """Losses, and the gradients of `sum(scale * losses)`.

    Scratch: one tile of `strip_rows` x candidates, another where candidates differ by group, a third for binary
    cross-entropy. Three products of that size.
    """
    return _Fused(kind, query.detach(), sample, labels, scale, workspace).run()


def losses(
    kind: Kind, query: Float[Tensor, "queries dim"], sample: Sample, *, labels: Labels
) -> Float[Tensor, " queries"]:
    """One loss a query, differentiable as usual: for attribution and tests. Memory: a few times queries x candidates."""
    scores = query @ sample.weight.T
    scores = scores if sample.bias is None else scores + sample.bias
    counts = sample.counts.to(query.dtype)[sample.group_of]
    answers = sample.offsets.diff()
    rows = torch.repeat_interleave(torch.arange(len(query), device=query.device), answers)
    picked = torch.zeros_like(answers, dtype=query.dtype).index_add(0, rows, scores[rows, sample.answers])
    everything = labels.every * (counts * scores).sum(1)
    if kind == "cross_entropy":
        mass = labels.positive + labels.every * counts.sum(1)
        found = mass * (scores + counts.log()).logsumexp(1) - labels.positive * picked / answers.clamp(min=1)
    else:
        found = (counts * torch.nn.functional.softplus(scores, threshold=100.0)).sum(1)
        found = found - labels.positive * picked
    return (answers > 0) * (found - everything)


class _Fused:
    """One batch against its candidates: `n` their counts, `z` a tile of scores, `g` the gradient of its scores."""

    def __init__(
        self,
        kind: Kind,
        query: Tensor,
        sample: Sample,
        labels: Labels,
        scale: Tensor,
        workspace: Workspace,
    ) -> None:
        self.kind, self.query, self.sample = kind, query, sample
        self.labels, self.workspace = labels, workspace
        self.n = sample.counts.to(query.dtype)
        self.answered = (sample.offsets.diff() > 0).to(query.dtype)
        self.w = self.answered * scale
        self.losses = torch.zeros_like(self.w)
        self.gradients = Gradients(
            torch.empty_like(query),
            torch.empty_like(sample.weight),
            None if sample.bias is None else torch.zeros_like(sample.bias),
        )

    def run(self) -> tuple[Float[Tensor, " queries"], Gradients]:
        gradient, sample = self.gradients, self.sample
        make = self._cross_entropy if self.kind == "cross_entropy" else self._binary_cross_entropy
        for strip, rows, columns in self._strips():
            z = self.workspace.take("scores", self.query, strip.stop - strip.start, len(sample.weight))
            self.workspace.product(self.query[strip], sample.weight.T, z, add=sample.bias)
            g = make(z, strip, rows, columns)
            self.workspace.product(g, sample.weight, gradient.query[strip])
            add = gradient.weight if strip.start else None
            self.workspace.product(g.T, self.query[strip], gradient.weight, add=add)
            if gradient.bias is not None:
                gradient.bias.add_(g.sum(0))
        if self.labels.every:
            self._every()
        return self.answered * self.losses, gradient

    def _strips(self) -> Iterator[tuple[slice, Int[Tensor, " found"], Int[Tensor, " found"]]]:
        """Strips of the batch, each with the rows and columns of its true answers."""
        length, queries = strip_rows(len(self.query), len(self.sample.weight)), len(self.query)
        starts = torch.arange(0, queries + length, length).clamp(max=queries)
        cuts = self.sample.offsets[starts.to(self.query.device)].tolist()
        counts = self.sample.offsets.diff()
        for number, start in enumerate(range(0, queries, length)):
            strip = slice(start, min(start + length, queries))
            numbers = torch.arange(strip.stop - start, device=self.query.device)
            rows = torch.repeat_interleave(numbers, counts[strip])
            yield strip, rows, self.sample.answers[cuts[number] : cuts[number + 1]]

    def _counts(self, strip: slice) -> Float[Tensor, "rows candidates"]:
        """Counts for each query of a strip, or one row that serves all."""
        if len(self.n) == 1:
            return self.n
        found = self.workspace.take("counts", self.n, strip.stop - strip.start, self.n.shape[1])
        return torch.index_select(self.n, 0, self.sample.group_of[strip], out=found)

    def _cross_entropy(self, z: Tensor, strip: slice, rows: Tensor, columns: Tensor) -> Tensor:
        """d loss / d z = mass * n exp(z) / total - label."""
        positive, w = self.labels.positive, self.w[strip]
        answers = self.sample.offsets.diff()[strip].clamp(min=1)
        picked = torch.zeros_like(w).index_add_(0, rows, z[rows, columns])
        counts = self._counts(strip)
        mass = positive + self.labels.every * counts.sum(1)
        z += counts.log() if len(counts) == 1 else counts.log_()
        top = z.amax(1)
        total = z.sub_(top[:, None]).exp_().sum(1)
        self.losses[strip] = mass * (top + total.log()) - positive * picked / answers
        g = z.mul_((mass * w / total)[:, None])
        g[rows, columns] -= (positive * w / answers)[rows]
        return g

    def _binary_cross_entropy(self, z: Tensor, strip: slice, rows: Tensor, columns: Tensor) -> Tensor:
        """d loss / d z = n sigmoid(z) - label."""
        positive, w = self.labels.positive, self.w[strip]
        counts = self._counts(strip)
        losses = self.losses[strip].index_add_(0, rows, z[rows, columns], alpha=-positive)
        losses += torch.nn.functional.softplus(z, threshold=100.0).mul_(counts).sum(1)
        g = z.sigmoid_().mul_(counts).mul_(w[:, None])
        g[rows, columns] -= positive * w[rows]
        return g

    def _every(self) -> None:
        """What the labels' `every` brings: every * n for each candidate, and so in closed form by group."""
        every, sample, gradient, n = self.labels.every, self.sample, self.gradients, self.n
        means = n @ sample.weight
        self.losses -= every * (self.query * means[sample.group_of]).sum(1)
        by_group = self.w.new_zeros(len(self.w), len(n))
        by_group[torch.arange(len(self.w), device=n.device), sample.group_of] = self.w
        gradient.query.sub_(every * self.w[:, None] * means[sample.group_of])
        gradient.weight.addmm_(n.T, by_group.T @ self.query, alpha=-every)
        if sample.bias is not None and gradient.bias is not None:
            self.losses -= every * (n @ sample.bias)[sample.group_of]
            gradient.bias.sub_(every * (by_group.sum(0) @ n))
