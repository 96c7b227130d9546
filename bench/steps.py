"""One training step of ConvE: how long, and how much memory, against plain PyTorch and against PyKEEN?

    python bench/steps.py pykeen FB15K-237   step at batch 256, PyKEEN's own model step beside it (needs pykeen)
    python bench/steps.py plain              200,000 entities: whole step at batch 512, loss alone at batch 1,024
    python bench/steps.py growth             step time and peak at 15,000 / 50,000 / 200,000 / 1,000,000 entities
    python bench/steps.py disk               2,000,000 entities, table and Adam state on disk, under 2 GiB

Every measurement is a process of its own; those of one comparison take turns, so that what else the machine does falls
on all of them. Growth is the high-water mark of resident memory minus its value before the first step, gradients and
buffers included, weights and moments not. Appends one line to results/steps.jsonl.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from corollary.budget import peak_bytes, resident_bytes, restart_peak, show_bytes
from corollary.cli.output import print_table, say
from record import machine_line, write_line

RELATIONS, ANSWERS = 100, 4


def main() -> None:
    """Choose a comparison, or be one measurement of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["pykeen", "plain", "growth", "disk", "one"])
    parser.add_argument("graph", nargs="?", type=Path, help="pykeen: a graph folder of FB15k-237")
    parser.add_argument("--case", type=json.loads, help="one: what to measure")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.what == "one":
        print(json.dumps(measure(**options.case)))
        return
    found = {
        "pykeen": lambda: against_pykeen(options.graph, options.rounds),
        "plain": lambda: against_plain(options.rounds),
        "growth": lambda: growth(options.rounds),
        "disk": lambda: on_disk(options.rounds),
    }[options.what]()
    rows = [
        [name, m["p20"], m["p50"], m["p80"], show_bytes(m["growth"]), show_bytes(m["peak"])]
        for name, m in found.items()
    ]
    print_table(["case", "p20 s", "p50 s", "p80 s", "growth", "peak of the process"], rows)
    write_line("steps", {**machine_line(), "what": options.what, "cases": found})


def compare(cases: dict[str, dict[str, Any]], rounds: int) -> dict[str, dict[str, Any]]:
    """Every case in turn, `rounds` times; seconds of all rounds together, the largest memory."""
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            command = [sys.executable, __file__, "one", "--case", json.dumps(case)]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
            if done.returncode:
                say(f"{name}: {done.stderr.strip().splitlines()[-1:]} (exit {done.returncode})")
                continue
            seen[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
            say(f"{name}: {statistics.median(seen[name][-1]['seconds']):.3f} s")
    return {name: collect(found) | {"case": cases[name]} for name, found in seen.items() if found}


def collect(found: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [value for one in found for value in one["seconds"]]
    cuts = statistics.quantiles(seconds, n=10)
    largest = {name: max(one[name] for one in found) for name in ("growth", "peak", "before")}
    return {
        "p20": cuts[1],
        "p50": statistics.median(seconds),
        "p80": cuts[7],
        "steps": len(seconds),
        **largest,
    }


def against_plain(rounds: int) -> dict[str, dict[str, Any]]:
    whole = {"kind": "step", "entities": 200_000, "batch": 512, "steps": 3}
    bce = {"loss": "binary_cross_entropy"}
    loss = {"kind": "loss", "entities": 200_000, "batch": 1024, "steps": 3}
    for rows in (whole, loss):
        rows["by"] = "ours"
    cases = {
        "step, plain dense labels": {**whole, "by": "plain"},
        "step, ours fp32": whole,
        "step, ours bf16": {**whole, "precision": "bf16"},
        "bce step, plain dense labels": {**whole, **bce, "by": "plain"},
        "bce step, ours fp32": {**whole, **bce},
        "bce step, ours bf16": {**whole, **bce, "precision": "bf16"},
        "loss, plain dense labels": {**loss, "by": "plain"},
        "loss, ours fp32": loss,
        "loss, ours bf16": {**loss, "precision": "bf16"},
    }
    found = compare(cases, rounds)
    for kind in ("step", "bce step", "loss"):
        plain = found[f"{kind}, plain dense labels"]
        for precision in ("fp32", "bf16"):
            ours = found[f"{kind}, ours {precision}"]
            ours["times_faster"] = plain["p50"] / ours["p50"]
            ours["times_less_memory"] = plain["growth"] / ours["growth"]
            say(
                f"{kind}, {precision}: {ours['times_faster']:.2f} x faster, {ours['times_less_memory']:.1f} x less"
            )
    return found


def against_pykeen(graph: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """FB15k-237, batch 256, binary cross-entropy as in PyKEEN's default."""
    case = {
        "kind": "step",
        "entities": 14_541,
        "batch": 256,
        "loss": "binary_cross_entropy",
        "relations": 237,
    }
    cases = {
        "ours fp32": {**case, "by": "ours", "steps": 8},
        "ours bf16": {**case, "by": "ours", "steps": 8, "precision": "bf16"},
        "pykeen 1.11.1": {**case, "by": "pykeen", "steps": 2},
    }
    found = compare(cases, rounds)
    for name in ("ours fp32", "ours bf16"):
        ours, theirs = found[name], found["pykeen 1.11.1"]
        ours["times_faster"] = theirs["p50"] / ours["p50"]
        ours["times_less_memory"] = theirs["growth"] / ours["growth"]
        say(f"{name}: {ours['times_faster']:.1f} x faster, {ours['times_less_memory']:.1f} x less memory")
    return found


def growth(rounds: int) -> dict[str, dict[str, Any]]:
    cases: dict[str, dict[str, Any]] = {}
    for entities in (15_000, 50_000, 200_000, 1_000_000):
        case = {"kind": "step", "by": "ours", "entities": entities, "batch": 512, "steps": 3}
        cases[f"{entities:,} fp32"] = case
        cases[f"{entities:,} bf16"] = {**case, "precision": "bf16"}
        cases[f"{entities:,} on disk"] = {**case, "precision": "bf16", "place": "disk"}
    return compare(cases, rounds)


def on_disk(rounds: int) -> dict[str, dict[str, Any]]:
    case = {"kind": "step", "by": "ours", "entities": 2_000_000, "batch": 512, "steps": 2}
    return compare(
        {
            "disk, fp32": {**case, "place": "disk"},
            "disk, bf16": {**case, "place": "disk", "precision": "bf16"},
            "in memory, bf16": {**case, "precision": "bf16"},
            "in memory, plain, batch 64": {**case, "by": "plain", "batch": 64},
            "disk, bf16, batch 64": {**case, "place": "disk", "precision": "bf16", "batch": 64},
        },
        rounds,
    )


def measure(
    kind: str,
    by: str,
    entities: int,
    batch: int,
    steps: int,
    loss: str = "cross_entropy",
    relations: int = RELATIONS,
    precision: str = "fp32",
    place: str = "device",
) -> dict[str, Any]:
    """Seconds of some steps after a first one, and memory."""
    from corollary.runs.device import settle_threads

    settle_threads()
    make = {"pykeen": pykeen_step, "plain": plain, "ours": ours}[by]
    step = make(kind, entities, batch, loss, relations, precision, place)
    gc.collect()
    before, seconds = resident_bytes(), []
    restart_peak()
    for number in range(1, steps + 2):
        started = time.perf_counter()
        step(number)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[1:], "growth": peak_bytes() - before, "peak": peak_bytes(), "before": before}


def make_batch(entities: int, batch: int, relations: int) -> Any:
    """Random queries with four answers each."""
    import torch

    from corollary.learners.protocol import Batch, Place, Queries

    rng = np.random.default_rng(0)
    heads, kinds = rng.integers(0, entities, batch), rng.integers(0, 2 * relations, batch)
    answers = torch.from_numpy(rng.integers(0, entities, batch * ANSWERS))
    queries = Queries(torch.from_numpy(heads), torch.from_numpy(kinds))
    return Batch(queries, torch.arange(0, batch * ANSWERS + 1, ANSWERS), answers, Place(0, 0, 0))


def ours(
    kind: str, entities: int, batch: int, loss: str, relations: int, precision: Any, place: Any
) -> Callable[[int], None]:
    """A step as the loop makes it, or the loss with its gradients alone."""
    import torch

    from corollary.learners.conve import ConvE
    from corollary.learners.conve_config import ConvEConfig
    from corollary.learners.row_storage import RowStorage
    from corollary.losses import one_to_all
    from corollary.losses.labels import smoothed
    from corollary.losses.workspace import Workspace
    from corollary.training.optimizers import OptimizerConfig, Rule

    one = make_batch(entities, batch, relations)
    if kind == "loss":
        labels, workspace = smoothed("uniform", 0.1, entities), Workspace(precision)
        query, weight, bias = torch.randn(batch, 200), torch.randn(entities, 200) / 14, torch.zeros(entities)
        scale = torch.full((batch,), 1 / batch)

        def loss_step(number: int) -> None:
            table = one_to_all.Whole(weight, bias, 4096, torch.empty_like(weight), torch.empty_like(bias))
            one_to_all.fused(
                "binary_cross_entropy", query, table, one.offsets, one.answers, labels=labels, scale=scale,
                workspace=workspace,
            )  # fmt: skip

        return loss_step
    folder = Path(os.environ.get("TMPDIR", "/tmp")) if place == "disk" else None
    config = ConvEConfig(batch_size=batch, loss=loss, label_smoothing=0.1)
    learner = ConvE(
        config, num_entities=entities, num_relations=relations, seed=0, precision=precision,
        storage=RowStorage("cpu", place, folder), recompute=place == "disk",
    )  # fmt: skip
    rule = Rule(OptimizerConfig())
    learner.entities.prepare_training(rule, in_sweep=True)
    moments = {name: rule.state(value.detach()) for name, value in learner.named_parameters()}
    learner.train()

    def step(number: int) -> None:
        learner.entities.begin_step(step=number, lr=1e-3)
        learner.loss(one).backward()
        learner.entities.update(rule, step=number, lr=1e-3)
        for name, value in learner.named_parameters():
            assert value.grad is not None
            rule.update(value.detach(), value.grad, moments[name], step=number, lr=1e-3)
            value.grad = None

    return step


def plain(
    kind: str, entities: int, batch: int, loss: str, relations: int, precision: str, place: str
) -> Callable[[int], None]:
    """The same as a user would write it: layers, dense smoothed labels, BCE with logits or softmax, autograd, Adam."""
    import torch
    import torch.nn.functional as F

    one = make_batch(entities, batch, relations)
    weight = torch.nn.Parameter(torch.randn(entities, 200) / 14)
    bias = torch.nn.Parameter(torch.zeros(entities))

    def labels() -> torch.Tensor:
        dense = torch.zeros(batch, entities)
        dense[torch.repeat_interleave(torch.arange(batch), ANSWERS), one.answers] = 1
        return dense.mul_(0.9).add_(0.1 / entities)

    if kind == "loss":
        query = torch.randn(batch, 200, requires_grad=True)

        def loss_step(number: int) -> None:
            scores = query @ weight.T + bias
            (F.binary_cross_entropy_with_logits(scores, labels(), reduction="sum") / batch).backward()
            query.grad = weight.grad = bias.grad = None

        return loss_step
    table = torch.nn.Embedding(2 * relations, 200)
    layers = torch.nn.ModuleList(
        [
            torch.nn.BatchNorm2d(1), torch.nn.Conv2d(1, 32, 3), torch.nn.BatchNorm2d(32),
            torch.nn.Linear(32 * 18 * 18, 200), torch.nn.BatchNorm1d(200),
        ]
    )  # fmt: skip
    first, convolution, second, projection, third = layers
    optimizer = torch.optim.Adam(
        [weight, bias, *table.parameters(), *layers.parameters()], lr=1e-3, fused=True
    )
    optimizer.zero_grad()
    for group in optimizer.param_groups:  # moments are there before the first step, as ours are
        for value in group["params"]:
            value.grad = torch.zeros_like(value)
    optimizer.step()
    optimizer.zero_grad()

    def step(number: int) -> None:
        head = weight[one.queries.entity_ids].view(-1, 1, 10, 20)
        relation = table(one.queries.relation_ids).view(-1, 1, 10, 20)
        x = F.dropout(first(torch.cat([head, relation], 2)), 0.2)
        x = F.dropout2d(second(convolution(x)).relu(), 0.2).flatten(1)
        x = third(F.dropout(projection(x), 0.3)).relu()
        scores = x @ weight.T + bias
        value = (
            F.binary_cross_entropy_with_logits(scores, labels(), reduction="sum")
            if loss == "binary_cross_entropy"
            else F.cross_entropy(scores, labels() / ANSWERS, reduction="sum")
        )
        (value / batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def pykeen_step(
    kind: str, entities: int, batch: int, loss: str, relations: int, precision: str, place: str
) -> Callable[[int], None]:
    """PyKEEN's model: scores of all tails, BCE on its labels, backward, Adam."""
    import torch
    from pykeen.models import ConvE
    from pykeen.triples import CoreTriplesFactory

    one = make_batch(entities, batch, relations)
    rng = np.random.default_rng(0)
    mapped = np.stack([rng.integers(0, most, 1000) for most in (entities, relations, entities)], 1)
    factory = CoreTriplesFactory(
        torch.from_numpy(mapped), num_entities=entities, num_relations=relations, create_inverse_triples=True
    )
    model = ConvE(triples_factory=factory, embedding_dim=200)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    pairs = torch.stack([one.queries.entity_ids, one.queries.relation_ids], 1)

    def step(number: int) -> None:
        labels = torch.zeros(batch, entities)
        labels[torch.repeat_interleave(torch.arange(batch), ANSWERS), one.answers] = 1
        value = torch.nn.functional.binary_cross_entropy_with_logits(model.score_t(pairs), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
