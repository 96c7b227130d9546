"""What do sampled negatives save against exact 1-N training, in time and memory, and what do they cost in MRR?

`python bench/sampled.py` measures optimiser steps of ConvE (batch 512, d 200, float32) at 200,000 and 2,000,000
entities: exact with Adam, sampled with 1,024 and 8,192 drawn entities and Adam, sampled with row-wise Adagrad and the
table in mapped files. Every way has a process of its own; growth is its high-water mark minus what was resident before
the first step, `resident` the mark itself. With `--graph FOLDER` it also trains that graph for `--epochs`, exactly and
with `--drawn` entities, and ranks its test triples. Prints a table, appends one line to results/sampled.jsonl.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from corollary.budget import peak_bytes, resident_bytes, restart_peak, show_bytes
from corollary.cli.output import print_table, say
from corollary.graph.folder import Graph, write_graph
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.row_storage import RowStorage
from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve
from corollary.runs.device import settle_threads
from corollary.training.optimizers import OptimizerConfig, Rule, table_rule
from record import machine_line, write_line

WAYS: dict[str, dict[str, Any]] = {
    "exact": {},
    "uniform 1,024": {"negatives": {"name": "uniform", "num_drawn": 1024}},
    "uniform 8,192": {"negatives": {"name": "uniform", "num_drawn": 8192}},
    "degree 1,024": {"negatives": {"name": "degree", "num_drawn": 1024}},
    "uniform 1,024, disk": {"negatives": {"name": "uniform", "num_drawn": 1024}},
}
RELATIONS, TRIPLES = 24, 6_000


def main() -> None:
    """Measure, print, record; with `--one` what a process of its own does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--entities", type=int, nargs="*", default=[200_000, 2_000_000], help="none: no steps"
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--graph", type=Path, help="a graph folder to compare test figures on")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--drawn", type=int, default=1024)
    parser.add_argument("--settings", type=json.loads, default={}, help="options of those runs, as JSON")
    parser.add_argument("--one", nargs=2, metavar=("GRAPH", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(steps(Path(options.one[0]), options.one[1], options.steps)))
        return
    line: dict[str, Any] = {**machine_line(), "steps": {}, "figures": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for entities in options.entities:
            graph = random_graph(Path(scratch) / str(entities), entities)
            line["steps"][entities] = {way: in_a_process(graph, way, options.steps) for way in WAYS}
    if options.graph:
        trained = Graph.open(options.graph)
        line |= {
            "graph": trained.name,
            "epochs": options.epochs,
            "drawn": options.drawn,
            "settings": options.settings,
        }
        for way in ("all", "uniform", "degree", *(["types"] if trained.types is not None else [])):
            negatives = {"name": way, "num_drawn": options.drawn}
            line["figures"][way] = figures(trained, negatives, options.epochs, options.settings)
    show(line)
    write_line("sampled", line)


def random_graph(path: Path, entities: int) -> Path:
    """Few triples among many entities: a step costs the same whatever the graph."""
    rng = np.random.default_rng(0)
    triples = np.stack([rng.integers(0, n, TRIPLES) for n in (entities, RELATIONS, entities)], axis=1)
    write_graph(
        path,
        name=path.name,
        labels=[f"e{i}" for i in range(entities)],
        relations=[f"r{i}" for i in range(RELATIONS)],
        triples={"train": triples},
    )
    return path


def in_a_process(graph: Path, way: str, count: int) -> dict[str, float]:
    """One way, measured without the memory of the others."""
    command = [sys.executable, __file__, "--steps", str(count), "--one", str(graph), way]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as the command line sets it
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def steps(path: Path, way: str, count: int) -> dict[str, float]:
    """Seconds a step and growth of the peak. Fewer steps where one takes long."""
    settle_threads()
    graph, disk = Graph.open(path), way.endswith("disk")
    config = ConvEConfig(batch_size=512, **WAYS[way])
    optimizer = OptimizerConfig(table="rowwise_adagrad" if disk else "same")
    storage = RowStorage("cpu", "disk", path) if disk else None
    learner = ConvE(
        config, num_entities=graph.num_entities, num_relations=graph.num_relations, seed=0, storage=storage
    )
    rule, own = Rule(optimizer), table_rule(optimizer, sampled=config.negatives.sampled)
    learner.entities.prepare_training(own, in_sweep=not config.negatives.sampled)
    moments = {name: rule.state(value.detach()) for name, value in learner.named_parameters()}
    batches, seconds = learner.train().batches(graph, seed=0, epoch=0), []
    restart_peak()
    before = resident_bytes()
    for number in range(1, count + 2):
        begun = time.perf_counter()
        learner.entities.begin_step(step=number, lr=1e-3)
        learner.loss(batches[number % len(batches)]).backward()
        learner.entities.update(own, step=number, lr=1e-3)
        for name, value in learner.named_parameters():
            assert value.grad is not None
            rule.update(value.detach(), value.grad, moments[name], step=number, lr=1e-3)
            value.grad = None
        seconds.append(time.perf_counter() - begun)
        if number > 2 and sum(seconds) > 60:
            break
    return {
        "p50": statistics.median(seconds[1:]),
        "steps": len(seconds) - 1,
        "growth": peak_bytes() - before,
        "resident": peak_bytes(),
    }


def figures(
    graph: Graph, negatives: dict[str, Any], epochs: int, settings: dict[str, Any]
) -> dict[str, float]:
    """Test figures after so many epochs, and how long an epoch took."""
    config = RunConfig.build(
        {
            **settings,
            "model": {**settings.get("model", {}), "negatives": negatives},
            "training": {**settings.get("training", {}), "epochs": epochs, "validate_every": epochs},
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        run = train_conve(graph, Path(scratch) / "run", config)
        assert run.evaluation is not None
        found = run.evaluation.metrics.values()
        seconds = statistics.median(line["seconds"] for line in run.folder.metrics())
    return {"mrr": found["mrr"], "hits@10": found["hits@10"], "epoch_seconds": seconds}


def show(line: dict[str, Any]) -> None:
    """The tables that people read."""
    rows = [
        [f"{int(entities):,}", way, m["p50"], show_bytes(m["growth"]), show_bytes(m["resident"])]
        for entities, ways in line["steps"].items()
        for way, m in ways.items()
    ]
    if rows:
        print_table(["entities", "way", "p50 s", "growth", "resident"], rows)
    if line["figures"]:
        say(f"{line['graph']}, {line['epochs']} epochs, {line['drawn']} drawn")
        print_table(
            ["negatives", "MRR", "hits@10", "epoch s"],
            [[way, m["mrr"], m["hits@10"], m["epoch_seconds"]] for way, m in line["figures"].items()],
        )


if __name__ == "__main__":
    main()
