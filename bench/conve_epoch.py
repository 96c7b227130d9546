"""How long is one ConvE epoch, and how much memory does a step take, beside plain dense-label PyTorch?

`python bench/conve_epoch.py` trains whole epochs of FB15k-237 (KvsAll, reciprocal relations, batch 512, d 200,
in float32 and with bf16 products) and, for the same batches, steps of the plain version: dense labels, softmax cross-entropy over a full
score matrix, autograd, torch.optim.Adam. Prints a table, appends one line to results/conve_epoch.jsonl.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from corollary.budget import peak_bytes, resident_bytes, restart_peak, show_bytes
from corollary.cli.output import print_table, say
from corollary.graph.folder import Graph
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.protocol import Batch
from corollary.losses.workspace import Precision
from corollary.runs.device import settle_threads
from corollary.training.optimizers import OptimizerConfig, Rule
from record import machine_line, write_line


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, help="a graph folder of FB15k-237")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--plain-steps", type=int, default=12)
    options = parser.parse_args()
    graph = Graph.open(options.graph)
    config = ConvEConfig(batch_size=options.batch_size)
    settle_threads()
    ours = measure(graph, config, "fp32", ours_step, options.epochs, None)
    bf16 = measure(graph, config, "bf16", ours_step, options.epochs, None)
    plain = measure(graph, config, "fp32", plain_step, 1, options.plain_steps)
    rows = [
        [name, m["p20"], m["p50"], m["p80"], m["epoch_seconds"], show_bytes(m["growth"])]
        for name, m in (("ours", ours), ("ours, bf16", bf16), ("plain", plain))
    ]
    print_table(["step", "p20 s", "p50 s", "p80 s", "epoch s", "peak growth"], rows)
    say(
        f"plain / ours: {plain['p50'] / ours['p50']:.2f} x the time, {plain['growth'] / ours['growth']:.2f} x the memory"
    )
    line = {
        **machine_line(),
        "graph": graph.name,
        "batch_size": options.batch_size,
        "ours": ours,
        "ours_bf16": bf16,
        "plain": plain,
    }
    write_line("conve_epoch", line)


def measure(
    graph: Graph,
    config: ConvEConfig,
    precision: Precision,
    make_step: Callable[[ConvE], Callable[[Batch, int], None]],
    epochs: int,
    steps: int | None,
) -> dict[str, float]:
    """Seconds a step; an epoch measured where all its steps were run, else estimated; growth of the peak."""
    learner = ConvE(
        config,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        seed=0,
        precision=precision,
    )
    learner.train()
    step, seconds = make_step(learner), []
    batches = learner.batches(graph, seed=0, epoch=0)
    step(batches[0], 1)
    gc.collect()
    before, number = resident_bytes(), 1
    restart_peak()
    started = time.perf_counter()
    for epoch in range(epochs):
        batches = learner.batches(graph, seed=0, epoch=epoch)
        for batch in range(min(steps or len(batches), len(batches))):
            begun, number = time.perf_counter(), number + 1
            step(batches[batch], number)
            seconds.append(time.perf_counter() - begun)
    cuts = statistics.quantiles(seconds, n=10)
    whole = (
        (time.perf_counter() - started) / epochs
        if steps is None
        else statistics.median(seconds) * len(batches)
    )
    return {
        "p20": cuts[1],
        "p50": statistics.median(seconds),
        "p80": cuts[7],
        "epoch_seconds": whole,
        "steps": len(seconds),
        "growth": max(peak_bytes() - before, 1),
    }


def ours_step(learner: ConvE) -> Callable[[Batch, int], None]:
    """One step as the loop makes it."""
    rule = Rule(OptimizerConfig())
    learner.entities.prepare_training(rule, in_sweep=True)
    moments = {name: rule.state(value.detach()) for name, value in learner.named_parameters()}

    def step(batch: Batch, number: int) -> None:
        learner.entities.begin_step(step=number, lr=1e-3)
        learner.loss(batch).backward()
        learner.entities.update(rule, step=number, lr=1e-3)
        for name, value in learner.named_parameters():
            assert value.grad is not None
            rule.update(value.detach(), value.grad, moments[name], step=number, lr=1e-3)
            value.grad = None

    return step


def plain_step(learner: ConvE) -> Callable[[Batch, int], None]:
    """The same model as a user would write it: layers, dense labels, autograd, torch.optim."""
    weight = torch.nn.Parameter(learner.entities.parts["weight"])
    bias = torch.nn.Parameter(learner.entities.parts["bias"])
    optimizer = torch.optim.Adam([weight, bias, *learner.parameters()], lr=1e-3, fused=True)
    height, width = learner.config.image()

    def step(batch: Batch, number: int) -> None:
        head = weight[batch.queries.entity_ids].view(-1, 1, height, width)
        relation = learner.relations[batch.queries.relation_ids].view(-1, 1, height, width)
        x = F.dropout(learner.norm_input(torch.cat([head, relation], 2)), 0.2)
        x = learner.norm_features(F.conv2d(x, learner.filters, learner.filter_bias)).relu()
        x = F.dropout2d(x, 0.2).flatten(1)
        x = learner.norm_hidden(
            F.dropout(F.linear(x, learner.projection, learner.projection_bias), 0.3)
        ).relu()
        counts = batch.offsets.diff()
        labels = torch.zeros(len(batch), len(weight))
        labels[torch.repeat_interleave(torch.arange(len(batch)), counts), batch.answers] = 1
        scores = x @ weight.T + bias
        (-(labels * scores.log_softmax(1)).sum() / counts.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
