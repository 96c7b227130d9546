"""How long does exact TracIn take, beside gradients made one by one, by vmap(grad), and by Captum's exact loop?

`PYTHONPATH=. python bench/tracin.py RUN` asks about the first 100 test triples of a run, over all training triples and
one checkpoint, and times the plain ways on a sample: a gradient of every example (tests/reference), the inner products
with those of the asked triples as one matrix product; Captum's `TracInCP`, example by example, where captum is installed.
Their whole time is the sample's, scaled. Checks that all agree. `--asked 1` times a single question; `--index FOLDER` times
it with an index ('corollary tracin index') too, and compares what is listed. Prints a table, appends one line to
results/tracin.jsonl.
"""

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap

from corollary.budget import Budget, resident_bytes, show_bytes
from corollary.cli.output import print_table, say
from corollary.explain.influence import SIDES, Asked, Influence
from corollary.learners.protocol import Queries
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.indexed import tracin_by_index
from corollary.runs.tracing.models import Work, open_checkpoints, plan_influence
from corollary.runs.tracing.tracin import tracin
from record import machine_line, write_line
from tests.reference.conve import PlainConvE

CANCELLED = ("convolution.bias", "projection.bias", "norm_input.weight", "norm_input.bias")
LISTED = 10


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--graph", type=Path)
    parser.add_argument("--asked", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="of the test triples")
    parser.add_argument("--sample", type=int, default=36, help="training triples of the plain ways; 0: none")
    parser.add_argument("--repeats", type=int, default=3, help="the middle one counts")
    parser.add_argument("--index", type=Path, help="an index of the run")
    parser.add_argument("--bf16", action="store_true", help="products with bf16 factors")
    parser.add_argument("--memory-limit")
    options = parser.parse_args()
    run = Run.open(options.run, graph=options.graph)
    some = slice(options.first, options.first + options.asked)
    asked = np.asarray(run.graph.triples("test")[some]).astype(np.int64)
    count, config = run.graph.info.num_triples["train"], run.config.model
    options_of = {"checkpoints": (run.checkpoint,), "top_k": LISTED, "use_mixed_precision": options.bf16}
    before, seconds = resident_bytes(), []
    for _ in range(options.repeats):
        started = time.perf_counter()
        found = tracin(
            run, asked, TracInConfig(deletion="example", **options_of), memory_limit=options.memory_limit
        )
        seconds.append(time.perf_counter() - started)
    ours, growth = sorted(seconds)[len(seconds) // 2], found.peak_bytes - before
    rows: list[list[Any]] = [["closed form", ours, ours, 1.0, 0.0]]
    line: dict[str, Any] = {
        **machine_line(), "graph": run.graph.name, "train": count, "asked": len(asked), "block": found.block,
        "dim": config.embedding_dim, "bf16": options.bf16, "seconds": ours, "every_second": seconds, "growth": growth,
        "planned": found.planned_bytes,
    }  # fmt: skip
    if options.sample and (config.loss != "cross_entropy" or config.label_smoothing):
        say("the plain ways know softmax cross-entropy without smoothing alone: not timed")
    elif options.sample:
        sample = np.asarray(run.graph.triples("train")[: options.sample]).astype(np.int64)
        for name, part, error in plain_ways(run, asked, sample):
            rows.append([name, part, part / len(sample) * count, part / len(sample) * count / ours, error])
        line["ways"] = {
            name: {"sample_seconds": s, "ratio": r, "difference": e} for name, s, _, r, e in rows[1:]
        }
    if options.index:
        line["index"] = indexed(run, asked, options.index, found, options_of)
        rows.append(["with the index", line["index"]["seconds"], line["index"]["seconds"], 0.0, 0.0])
    print_table(["way", "seconds", "for all, seconds", "ratio", "largest difference"], rows)
    say(f"{count:,} x {len(asked)} triples, block {found.block}, growth {show_bytes(growth)}")
    write_line("tracin", line)


def indexed(run: Run, asked: np.ndarray, folder: Path, exact: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds, bytes, and the share of the exactly listed that the index lists too."""
    started = time.perf_counter()
    found = tracin_by_index(run, asked, folder, TracInConfig(top_k=LISTED))
    seconds, shares = time.perf_counter() - started, []
    for one, other in zip(exact.triples, found.triples, strict=True):
        for name in ("proponents", "opponents"):
            rows = {p.row for p in getattr(one, name)}
            shares.append(len(rows & {p.row for p in getattr(other, name)}) / max(len(rows), 1))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "seconds": seconds,
        "bytes": size,
        f"recall_{LISTED}": float(np.mean(shares)),
        "built": found.from_index.recall,
    }


def plain_ways(run: Run, asked: np.ndarray, sample: np.ndarray) -> list[tuple[str, float, float]]:
    """Name, seconds for the sample, and the largest difference relative to the largest entry."""
    plan, _ = plan_influence(run, Work(len(asked), 1, len(sample), 0), Budget())
    points = open_checkpoints(run, [run.checkpoint], plan)
    influence = Influence(points, run.graph.answers("train"), deletion="example")
    exact = influence.scores(sample, influence.ask(Asked(asked))) / points[0].learning_rate
    learner = points[0].frozen.learner
    plain = WithoutMasks(run.config.model, run.graph.num_entities, run.graph.num_relations).float()
    plain.copy(learner).eval()
    weights = {name: value.detach() for name, value in plain.named_parameters()}
    fixed = {name: value for name, value in weights.items() if name in CANCELLED}
    moved = {name: value for name, value in weights.items() if name not in CANCELLED}
    buffers, module, relations = dict(plain.named_buffers()), Scores(plain), run.graph.num_relations

    def loss(moved: dict[str, Tensor], entity: Tensor, relation: Tensor, answer: Tensor) -> Tensor:
        values = {f"plain.{name}": value for name, value in {**moved, **fixed, **buffers}.items()}
        scores = functional_call(module, values, (entity[None], relation[None]))
        return F.cross_entropy(scores, answer[None])

    many = vmap(grad(loss), in_dims=(None, 0, 0, 0))
    learned = {name: value for name, value in plain.named_parameters() if name in moved}

    def sequential(triples: np.ndarray) -> Tensor:
        found = []
        for entity, relation, answer in zip(*examples(triples, relations), strict=True):
            single = F.cross_entropy(module(entity[None], relation[None]), answer[None])
            parts = torch.autograd.grad(single, list(learned.values()))
            found.append(_flat(dict(zip(learned, parts, strict=True)), 0))
        return torch.stack(found)

    def vectorised(triples: np.ndarray) -> Tensor:
        parts = examples(triples, relations)
        starts = range(0, len(parts[0]), 8)
        return torch.cat([_flat(many(moved, *(c[i : i + 8] for c in parts)), 1) for i in starts])

    theirs = sequential(asked[:8])
    theirs = theirs[: len(theirs) // 2] + theirs[len(theirs) // 2 :]
    # Products with all asked triples cost what they cost: the eight are taken again and again.
    wide = theirs.repeat(len(asked) // len(theirs) + 1, 1)[: len(asked)]
    few = exact[:, : len(theirs)]
    return [
        _timed("autograd, one by one", sequential, sample, wide, few),
        _timed("vmap(grad)", vectorised, sample, wide, few),
        *captum_loop(plain, relations, asked, sample, exact),
    ]


def captum_loop(
    plain: PlainConvE, relations: int, asked: np.ndarray, sample: np.ndarray, exact: Tensor
) -> list[tuple[str, float, float]]:
    """Captum's exact TracInCP over all parameters, where it is installed and its gradients fit.

    Seconds are those of the sample alone, without the gradients of the asked triples, which are made once, before.
    """
    if importlib.util.find_spec("captum") is None:
        say("captum is not installed: its loop is not timed")
        return []
    size = sum(value.numel() for value in plain.parameters())
    if 8 * size * (len(asked) + len(sample)) > 6 << 30:
        say("captum's gradients of these examples would take more than 6 GiB: its loop is not timed")
        return []
    from captum.influence import TracInCP

    for name in CANCELLED:  # it differentiates by everything that is a parameter
        owner, attribute = plain.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
        value = getattr(owner, attribute).detach()
        delattr(owner, attribute)
        owner.register_buffer(attribute, value)
    data = Stamped(*examples(sample, relations))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = TracInCP(
            Scores(plain), data, [""], checkpoints_load_func=lambda *_: 1.0,
            loss_fn=torch.nn.CrossEntropyLoss(reduction="none"), batch_size=8, sample_wise_grads_per_batch=False,
        )  # fmt: skip
        found = traced.influence(examples(asked, relations))
    whole = time.perf_counter() - data.started
    summed = found.view(2, len(asked), 2, len(sample)).sum((0, 2)).T
    return [("Captum TracInCP", whole, float((summed - exact).abs().max() / exact.abs().max()))]


class Stamped(torch.utils.data.Dataset):
    """Examples, and when the first of them was last asked for."""

    def __init__(self, *parts: Tensor) -> None:
        self.parts, self.started = parts, 0.0

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, number: int) -> tuple[Tensor, ...]:
        if number == 0:
            self.started = time.perf_counter()
        return tuple(part[number] for part in self.parts)


class WithoutMasks(PlainConvE):
    """In float32: the reference's masks are of float64."""

    def mask(self, layer: str, probability: float, shape: torch.Size, place: Any) -> Tensor:
        return torch.ones(())

    def encode(self, queries: Queries, place: Any) -> Tensor:
        x = torch.relu(self.norm_features(self.convolution(self.norm_input(self.image(queries, place)))))
        x = self.norm_hidden(self.projection(x.reshape(len(x), -1)))
        return torch.relu(x) if self.config.variant == "paper" else x


class Scores(torch.nn.Module):
    """Scores of queries given as two tensors."""

    def __init__(self, plain: PlainConvE) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, entity: Tensor, relation: Tensor) -> Tensor:
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
