"""One training step of HGT: how long, and how much memory, against PyG's HGTConv?

    python bench/hgt.py exact GRAPH     Hetionet, both directions: width 32 beside PyG, then 128 and 512
    python bench/hgt.py random          67,000 nodes of 5 types, 3.4 million edges, width 256
    python bench/hgt.py sampled         25,000 edges of that graph, 8 heads, width 256, beside PyG; the sampler alone

Every measurement is a process of its own. `growth` is the high-water mark of resident memory minus its value before the
first step: gradients and buffers, weights and moments not. `cpu` is seconds of processor time, which other work on the
machine does not touch as it does `wall`. Where PyG (torch-geometric) is not installed its cases are left out. Appends
one line to results/hgt.jsonl.
"""

import argparse
import gc
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from corollary.budget import peak_bytes, resident_bytes, restart_peak, show_bytes
from corollary.cli.output import print_table, say
from record import machine_line, write_line

NODES, EDGES, TYPES, RELATIONS = 67_000, 3_400_000, 5, 5


def main() -> None:
    """Choose a comparison, or be one measurement of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["exact", "random", "sampled", "one"])
    parser.add_argument("graph", nargs="?", help="exact: a graph folder of Hetionet")
    parser.add_argument("--only", action="append", help="one of the comparison's cases; may be repeated")
    parser.add_argument("--case", type=json.loads, help="one: what to measure")
    options = parser.parse_args()
    if options.what == "one":
        print(json.dumps(measure(**options.case)))
        return
    wanted = cases(options.what, options.graph)
    found = collect({name: wanted[name] for name in options.only or wanted})
    columns = ["case", "wall s", "cpu s", "growth", "peak of the process"]
    print_table(
        columns,
        [
            [name, m["wall"], m["cpu"], show_bytes(m["growth"]), show_bytes(m["peak"])]
            for name, m in found.items()
        ],
    )
    write_line("hgt", {**machine_line(), "what": options.what, "cases": found})


def cases(what: str, graph: str | None) -> dict[str, dict[str, Any]]:
    """Measurements of a comparison, by name."""
    if what == "exact":
        base = {"graph": graph, "attn": 4, "steps": 1}
        found = {
            "encoder, width 32": {**base, "kind": "encoder", "by": "ours", "width": 32},
            "encoder, width 32, PyG": {**base, "kind": "encoder", "by": "pyg", "width": 32, "steps": 0},
            "encoder, width 128": {**base, "kind": "encoder", "by": "ours", "width": 128},
            "whole step, width 128": {**base, "kind": "step", "by": "ours", "width": 128},
            "whole step, width 512": {**base, "kind": "step", "by": "ours", "width": 512},
        }
    elif what == "random":
        found = {"whole step, width 256": {"kind": "step", "by": "ours", "width": 256, "attn": 8, "steps": 1}}
    else:
        base = {"kind": "part", "width": 256, "attn": 8, "steps": 2}
        found = {
            "part of 25,000 edges": {**base, "by": "ours"},
            "part of 25,000 edges, PyG": {**base, "by": "pyg"},
            "sampler alone": {**base, "kind": "sampler", "by": "ours", "steps": 20},
        }
    if importlib.util.find_spec("torch_geometric") is None:
        found = {name: case for name, case in found.items() if case["by"] != "pyg"}
    return found


def collect(cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every case in its own process."""
    found = {}
    for name, case in cases.items():
        command = [sys.executable, __file__, "one", "--case", json.dumps(case)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
        if done.returncode:
            say(f"{name}: {done.stderr.strip().splitlines()[-1:]} (exit {done.returncode})")
            continue
        found[name] = json.loads(done.stdout.strip().splitlines()[-1]) | {
            "case": case | {"graph": Path(case["graph"]).name} if "graph" in case else case
        }
        say(f"{name}: {found[name]['cpu']:.3f} s of processor time, {show_bytes(found[name]['growth'])}")
    return found


def measure(
    kind: str, by: str, width: int, attn: int, steps: int, graph: str | None = None
) -> dict[str, Any]:
    """Median seconds of some steps after a first one, or with no such step of the first, and memory."""
    from corollary.runs.device import settle_threads

    settle_threads()
    step = {"encoder": encoder, "step": whole_step, "part": part, "sampler": sampler}[kind](
        by, width, attn, graph
    )
    gc.collect()
    before, wall, cpu = resident_bytes(), [], []
    restart_peak()
    for _ in range(steps + 1):
        started, used = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return {
        "wall": statistics.median(wall[1:] or wall),
        "cpu": statistics.median(cpu[1:] or cpu),
        "growth": peak_bytes() - before,
        "peak": peak_bytes(),
        "before": before,
    }


def triples_of(graph: str | None) -> tuple[Any, Any, int]:
    """Rows by type, triples of rows, number of relations; a random typed graph when none is named."""
    from corollary.graph.folder import Graph
    from corollary.graph.typed_links import TypedRows

    if graph is not None:
        opened = Graph.open(Path(graph))
        nodes = TypedRows.of(opened)
        head, relation, tail = np.asarray(opened.triples("train")).T
        return nodes, (nodes.row_of[head], relation, nodes.row_of[tail]), opened.num_relations
    rng = np.random.default_rng(0)
    kinds = np.sort(rng.integers(0, TYPES, NODES))
    nodes = TypedRows.sorted_by(kinds, [f"type {i}" for i in range(TYPES)])
    relation = rng.integers(0, RELATIONS, EDGES)
    ends = []
    for shift in (0, 1):
        first, last = (
            nodes.starts[:-1][(relation + shift) % TYPES],
            nodes.starts[1:][(relation + shift) % TYPES],
        )
        ends.append((first + rng.random(EDGES) * (last - first)).astype(np.int32))
    return nodes, (ends[0], relation.astype(np.int32), ends[1]), RELATIONS


def encoder(by: str, width: int, attn: int, graph: str | None) -> Callable[[], None]:
    """Two layers forward and backward over all edges."""
    from corollary.graph.typed_links import TypedLinks

    nodes, triples, relations = triples_of(graph)
    links = TypedLinks.build(nodes, *triples, relations)
    return layers_step(links, relations, by, width, attn)


def layers_step(links: Any, relations: int, by: str, width: int, attn: int) -> Callable[[], None]:
    import torch

    from corollary.learners.hgt.config import HgtConfig
    from corollary.learners.hgt.layer import Layer
    from corollary.learners.hgt.tensor_edges import edges_of

    x = torch.randn(len(links.nodes), width, generator=torch.Generator().manual_seed(0)) * 0.1
    if by == "pyg":
        return pyg_step(links, relations, x, attn)
    config = HgtConfig(hidden_dim=width, attn=attn, dropout=0.0)
    layers = [Layer(config, links, 2 * relations, 0, i) for i in range(2)]

    @torch.no_grad()
    def step() -> None:
        edges, hidden, saved = edges_of(links, None, x.device), x, []
        for layer in layers:
            hidden, kept = layer(hidden, links, edges)
            saved.append(kept)
        gradient = hidden.clone()
        del hidden
        for layer in reversed(layers):
            gradient = layer.backward(gradient, saved.pop(), links, edges)
        for layer in layers:
            layer.zero_grad()

    return step


def pyg_step(links: Any, relations: int, x: Any, attn: int) -> Callable[[], None]:
    """The same with PyG's HGTConv and autograd."""
    import torch
    from torch_geometric.nn import HGTConv

    from corollary.learners.hgt.typed_batch import TypedBatch, messages_by_type

    data = TypedBatch({}, messages_by_type(links, [f"r{i}" for i in range(relations)]), {}).to_pyg()
    starts, kinds = links.nodes.starts.tolist(), links.nodes.names
    given = {
        name: x[starts[i] : starts[i + 1]].clone().requires_grad_()
        for i, name in enumerate(kinds)
        if starts[i + 1] > starts[i]
    }
    metadata = (list(given), data.edge_types)
    edge_index = data.edge_index_dict
    layers = [HGTConv(x.shape[1], x.shape[1], metadata, attn) for _ in range(2)]

    def step() -> None:
        hidden = given
        for layer in layers:
            hidden = {name: value for name, value in layer(hidden, edge_index).items() if value is not None}
        sum((value**2).sum() / 2 for value in hidden.values()).backward()
        for layer in layers:
            layer.zero_grad()
        for value in given.values():
            value.grad = None

    del torch
    return step


class _Fake:
    """A graph that is made of triples alone, for what a learner asks of one."""

    def __init__(self, nodes: Any, triples: Any, relations: int) -> None:
        from corollary.graph.answers import AnswerIndex

        self.num_entities, self.num_relations, self.path = len(nodes), relations, "random"
        self.relations = SimpleNamespace(labels=[f"r{number}" for number in range(relations)])
        rows = np.stack([nodes.order[triples[0]], triples[1], nodes.order[triples[2]]], 1).astype(np.int32)
        self._train, self._answers = rows, AnswerIndex.build(rows, relations)

    def triples(self, split: str) -> Any:
        return self._train

    def answers(self, split: str) -> Any:
        return self._answers


def whole_step(by: str, width: int, attn: int, graph: str | None) -> Callable[[], None]:
    """Loss with negatives, both layers, Adam on every row, as in training."""
    import torch

    from corollary.graph.folder import Graph
    from corollary.graph.typed_links import TypedLinks
    from corollary.learners.hgt.config import HgtConfig, LinksConfig
    from corollary.learners.hgt.model import Hgt
    from corollary.training.optimizers import OptimizerConfig
    from corollary.training.steps import GradientSteps

    nodes, triples, relations = triples_of(graph)
    opened: Any = Graph.open(graph) if graph is not None else _Fake(nodes, triples, relations)
    links = TypedLinks.build(nodes, *triples, relations)
    config = HgtConfig(hidden_dim=width, embedding_dim=width, attn=attn)
    model = Hgt(config, links, num_relations=relations, seed=0).asks(opened, LinksConfig()).train()
    steps = GradientSteps(model, OptimizerConfig(), device=torch.device("cpu"), clip_norm=1.0)
    batches, done = model.batches(opened, seed=0, epoch=0), [0]

    def step() -> None:
        done[0] += 1
        steps.update([batches[done[0] % len(batches)]], lr=1e-3, update=done[0])

    return step


def _sampler() -> tuple[Any, int]:
    from corollary.graph.sampling import EdgeSampler
    from corollary.graph.typed_links import TypedLinks

    nodes, triples, relations = triples_of(None)
    links = TypedLinks.build(nodes, *triples, relations)
    return EdgeSampler(links, *triples, relations), relations


def part(by: str, width: int, attn: int, graph: str | None) -> Callable[[], None]:
    """Two layers forward and backward over 5,000 edges of each of 5 relations."""
    drawn, relations = _sampler()
    links = drawn.part(drawn.draw(5000, 0, 0), None).links
    return layers_step(links, relations, by, width, attn)


def sampler(by: str, width: int, attn: int, graph: str | None) -> Callable[[], None]:
    """A part drawn, numbered and sorted, ready to be learnt from."""
    drawn, _ = _sampler()
    number = [0]

    def step() -> None:
        number[0] += 1
        drawn.part(drawn.draw(5000, 0, number[0]), None)

    return step


if __name__ == "__main__":
    main()
