"""How long does exact TracIn take, beside gradients by autograd, one example after the other and with vmap(grad)?

`PYTHONPATH=. python bench/tracin.py RUN` asks about the first 100 test triples of a run, over all training triples and
one checkpoint, and times the plain ways on a sample: a gradient of every example by autograd (tests/reference), the
inner products with those of the asked triples as one matrix product. Their whole time is the sample's, scaled. Checks
that both ways agree. Prints a table, appends one line to results/tracin.jsonl.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap

from corollary.budget import Budget, resident_bytes, show_bytes
from corollary.cli.output import print_table, say
from corollary.explain.influence import SIDES, Asked, Influence
from corollary.runs.run import Run
from corollary.runs.traced_models import Work, open_checkpoints, plan_influence
from corollary.runs.tracing import TracInConfig, tracin
from record import machine_line, write_line
from tests.reference.conve import PlainConvE

CANCELLED = ("convolution.bias", "projection.bias", "norm_input.weight", "norm_input.bias")


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--graph", type=Path)
    parser.add_argument("--asked", type=int, default=100)
    parser.add_argument("--sample", type=int, default=16, help="training triples of the plain ways")
    parser.add_argument("--memory-limit")
    options = parser.parse_args()
    run = Run.open(options.run, graph=options.graph)
    asked = np.asarray(run.graph.triples("test")[: options.asked]).astype(np.int64)
    count = run.graph.info.num_triples["train"]
    before = resident_bytes()
    started = time.perf_counter()
    found = tracin(run, asked, TracInConfig(deletion="example"), memory_limit=options.memory_limit)
    ours = time.perf_counter() - started
    growth = found.peak_bytes - before
    rows = [["closed form", ours, ours, 1.0, 0.0]]
    config = run.config.model
    if config.loss != "cross_entropy" or config.label_smoothing:
        say("the plain ways know softmax cross-entropy without smoothing alone: not timed")
    else:
        sample = np.asarray(run.graph.triples("train")[: options.sample]).astype(np.int64)
        for name, seconds, error in plain_ways(run, asked, sample):
            whole = seconds / len(sample) * count
            rows.append([name, seconds, whole, whole / ours, error])
    print_table(["way", "seconds", "for all, seconds", "ratio", "largest difference"], rows)
    say(f"{count:,} x {len(asked)} triples, block {found.block}, growth {show_bytes(growth)}")
    write_line(
        "tracin",
        {
            **machine_line(), "graph": run.graph.name, "train": count, "asked": len(asked), "block": found.block,
            "dim": config.embedding_dim, "seconds": ours, "growth": growth, "planned": found.planned_bytes,
            "ways": {name: {"sample_seconds": s, "ratio": ratio, "difference": e} for name, s, _, ratio, e in rows[1:]},
        },
    )  # fmt: skip


def plain_ways(run: Run, asked: np.ndarray, sample: np.ndarray) -> list[tuple[str, float, float]]:
    """Name, seconds for the sample, and the largest difference relative to the largest entry."""
    names = [run.checkpoint]
    plan, _ = plan_influence(run, Work(len(asked), 1, len(sample), 0), Budget())
    points = open_checkpoints(run, names, plan)
    influence = Influence(points, run.graph.answers("train"), deletion="example")
    exact = influence.scores(sample, influence.ask(Asked(asked))) / points[0].learning_rate
    learner = points[0].frozen.learner
    plain = PlainConvE(run.config.model, run.graph.num_entities, run.graph.num_relations).float()
    plain.copy(learner).eval()
    weights = {name: value.detach() for name, value in plain.named_parameters()}
    fixed = {name: value for name, value in weights.items() if name in CANCELLED}
    moved = {name: value for name, value in weights.items() if name not in CANCELLED}
    buffers = dict(plain.named_buffers())

    def loss(moved: dict[str, Tensor], entity: Tensor, relation: Tensor, answer: Tensor) -> Tensor:
        module = _Scores(plain)
        values = {f"plain.{name}": value for name, value in {**moved, **fixed, **buffers}.items()}
        scores = functional_call(module, values, (entity[None], relation[None]))
        return F.cross_entropy(scores, answer[None])

    one = grad(loss)
    many = vmap(one, in_dims=(None, 0, 0, 0))

    def sequential(triples: np.ndarray) -> Tensor:
        parts = zip(*examples(triples, run.graph.num_relations), strict=True)
        return torch.stack([_flat(one(moved, *part), 0) for part in parts])

    def vectorised(triples: np.ndarray) -> Tensor:
        found = [_flat(many(moved, *(c[i : i + 8] for c in parts)), 1) for parts in [examples(triples, run.graph.num_relations)]
                 for i in range(0, len(parts[0]), 8)]  # fmt: skip
        return torch.cat(found)

    theirs = sequential(asked[:8])
    theirs = theirs[: len(theirs) // 2] + theirs[len(theirs) // 2 :]
    # Products with all asked triples cost what they cost: the eight are taken again and again.
    wide = theirs.repeat(len(asked) // len(theirs) + 1, 1)[: len(asked)]
    return [
        _timed("autograd, one by one", sequential, sample, wide, exact[:, : len(theirs)]),
        _timed("vmap(grad)", vectorised, sample, wide, exact[:, : len(theirs)]),
    ]


class _Scores(torch.nn.Module):
    """Scores of queries given as two tensors."""

    def __init__(self, plain: PlainConvE) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, entity: Tensor, relation: Tensor) -> Tensor:
        from corollary.learners.protocol import Queries

        return self.plain.scores(Queries(entity, relation))


def examples(triples: np.ndarray, num_relations: int) -> tuple[Tensor, Tensor, Tensor]:
    """Entity, directed relation, answer: all tails, then all heads."""
    head, relation, tail = (torch.from_numpy(triples[:, i].copy()) for i in range(3))
    assert SIDES == ("tail", "head")
    return torch.cat([head, tail]), torch.cat([relation, relation + num_relations]), torch.cat([tail, head])


def _flat(gradients: dict[str, Tensor], start: int) -> Tensor:
    return torch.cat([gradients[name].flatten(start) for name in sorted(gradients)], start)


def _timed(
    name: str, gradients: Callable[[np.ndarray], Tensor], sample: np.ndarray, wide: Tensor, exact: Tensor
) -> tuple[str, float, float]:
    started = time.perf_counter()
    ours = gradients(sample)
    found = (ours[: len(sample)] + ours[len(sample) :]) @ wide.T
    seconds = time.perf_counter() - started
    error = (found[:, : exact.shape[1]] - exact).abs().max() / exact.abs().max()
    return name, seconds, float(error)


if __name__ == "__main__":
    main()
