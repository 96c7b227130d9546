"""A run folder as a training on `countries` leaves it, with made-up figures and one hostile name."""

import json
import math
from pathlib import Path
from typing import Any

from corollary.records.run_folder import RunFolder

HOSTILE = "<script>alert(1)</script>"
MIB = 1 << 20

RELATIONS = {
    "spoken_language": 66, "borders": 64, "located_in_region": 40, "written_in": 36, "official_language": 34,
    "in_family": 30, "uses_time": 29, "uses_currency": 26, "located_in_subregion": 25, "access_to_sea": 25,
    "calling_zone": 24, "capital": 24, "uses_clock": 24, "member_of": 24, "keeps_time": 24, "first_day_of_week": 15,
    "has_offset": 13, "regional_language": 13, "kind_of": 9, "uses_calendar": 6, "territory_of": 5, "part_of": 4,
    "originated_in": 3, HOSTILE: 1,
}  # fmt: skip

PARTS = {
    "interpreter": 420 * MIB, "parameters": 7_310_000, "gradient": 7_310_000, "optimiser": 14_620_000,
    "averaged weights": 14_620_000, "encoder activations": 119_537_664, "score tiles": 2_940_000,
    "evaluation": 36_700_160, "graph index": 214_000,
}  # fmt: skip


def config() -> dict[str, Any]:
    """What stands in `config.json`."""
    return {
        "learner": "conve",
        "graph": {
            "path": "graph",
            "name": "countries",
            "fingerprint": "8f1c" * 16,
            "vocabulary_fingerprint": "02ab" * 16,
            "num_entities": 1435,
            "num_relations": 24,
            "num_triples": {"train": 4602, "valid": 562, "test": 562},
        },
        "seed": 0,
        "device": "auto",
        "memory_limit": "700MiB",
        "model": {
            "embedding_dim": 200, "image_height": None, "channels": 32, "kernel": 3, "input_dropout": 0.2,
            "examples": "kvsall", "loss": "cross_entropy", "batch_size": 128, "block_rows": 4096,
        },
        "training": {
            "epochs": 120, "lr": 0.003, "optimizer": {"name": "adam", "beta1": 0.9}, "average_decay": 0.99,
            "schedule": {"name": "cosine", "warmup": 0.05},
        },
        "evaluation": {"metric": "mrr", "hits": [1, 3, 5, 10], "ties": "realistic", "filter": "known"},
        "device_used": "cpu",
        "processor": "AMD EPYC 7763 64-Core Processor",
        "threads": 2,
        "python": "3.11.2",
        "versions": {"corollary": "0.1.0", "torch": "2.13.0+cpu", "numpy": "2.3.4", "numba": "0.63.1"},
        "plan": {"parts": PARTS, "block_rows": 4096, "evaluation_chunk": 128, "budget": {"limit": 700 * MIB}},
    }  # fmt: skip


def metric_lines(epochs: int = 120) -> list[dict[str, Any]]:
    """What stands in `metrics.jsonl`: validation every fifth epoch."""
    lines = []
    for epoch in range(1, epochs + 1):
        line: dict[str, Any] = {
            "epoch": epoch,
            "updates": 25 * epoch,
            "loss": 1.1 + 5.4 * math.exp(-epoch / 22) + 0.03 * math.sin(7 * epoch),
            "learning_rate": 0.003 * min(1, epoch / 6) * 0.5 * (1 + math.cos(math.pi * epoch / epochs)),
            "seconds": 1.31,
            "resident_bytes": 540 * MIB,
            "peak_bytes": 566 * MIB + 1000 * epoch,
        }
        if epoch % 5 == 0:
            plain = 0.56 * (1 - math.exp(-epoch / 21)) - 0.0003 * epoch + 0.006 * math.sin(3 * epoch)
            average = 0.575 * (1 - math.exp(-epoch / 33)) - 0.00025 * epoch
            line |= {
                "valid": {"mrr": plain, "hits@10": plain + 0.2},
                "valid_average": {"mrr": average, "hits@10": average + 0.2},
                "validation_seconds": 0.21,
            }
        lines.append(line)
    return lines


def predictions() -> list[dict[str, Any]]:
    """What stands in `predictions.json`."""

    def answers(*rows: tuple[str, str, float, bool]) -> list[dict[str, Any]]:
        keys = ("label", "name", "score", "known")
        return [{"rank": rank, **dict(zip(keys, row, strict=True))} for rank, row in enumerate(rows, start=1)]

    return [
        {
            "query": "(France, borders, ?)",
            "side": "tail",
            "answers": answers(
                ("DE", "Germany", 9.12, True), ("ES", "Spain", 8.77, True), ("NL", "Netherlands", 7.10, False),
                ("BE", "Belgium", 6.93, True), ("GB", "United Kingdom", 4.25, False),
            ),
        },
        {
            "query": "(?, official_language, Portuguese)",
            "side": "head",
            "answers": answers(
                ("Brazil", "Brazil", 8.31, True), ("Mozambique", "Mozambique", 7.95, True),
                (HOSTILE, HOSTILE, -0.52, False),
            ),
        },
    ]  # fmt: skip


def evaluation() -> dict[str, Any]:
    """What stands in `evaluation.json`."""

    def metrics(mrr: float, rankings: int) -> dict[str, Any]:
        hits = {"1": mrr - 0.11, "3": mrr + 0.05, "5": mrr + 0.09, "10": mrr + 0.21}
        return {
            "num_rankings": rankings, "mrr": mrr, "hits": hits, "mean_rank": 40.25, "adjusted_mean_rank_index": 0.94,
            "mean_candidates": 1390.5,
        }  # fmt: skip

    relations = []
    for number, (relation, triples) in enumerate(RELATIONS.items()):
        for side, difference in (("both", 0.0), ("head", -0.04), ("tail", 0.04)):
            found = metrics(
                0.45 + 0.3 * math.sin(number) + difference, triples * (2 if side == "both" else 1)
            )
            relations.append({"relation_id": number, "relation": relation, "side": side, "metrics": found})
    sides = {
        side: {ties: metrics(mrr + extra, 1124) for ties, extra in (("optimistic", 0.001), ("realistic", 0.0), ("pessimistic", -0.001))}
        for side, mrr in (("both", 0.541), ("head", 0.502), ("tail", 0.58))
    }  # fmt: skip
    intervals = {
        "mrr": (0.512, 0.569),
        "hits@1": (0.4, 0.462),
        "hits@3": (0.56, 0.621),
        "hits@10": (0.727, 0.775),
    }
    return {
        "graph": "countries", "graph_fingerprint": "8f1c" * 16, "split": "test", "filter": "known",
        "ties": "realistic", "num_triples": 562, "num_rankings": 1124, "num_queries_scored": 1043,
        "candidates": "all", "block_rows": 4096, "seed": 0, "resamples": 1000, "seconds": 0.31,
        "figures": {
            "sides": sides,
            "macro": {side: metrics(0.5, 1124) for side in sides},
            "intervals": {name: {"low": low, "high": high} for name, (low, high) in intervals.items()},
            "relations": relations,
        },
        "in_range": None,
    }  # fmt: skip


def write_run(folder: Path, *, without: tuple[str, ...] = ()) -> RunFolder:
    """The whole folder; leave files out by name."""
    run = RunFolder.create(folder, config())
    if "metrics.jsonl" not in without:
        for line in metric_lines():
            run.append_metrics(line)
    for name, content in (("evaluation.json", evaluation()), ("predictions.json", predictions())):
        if name not in without:
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
    sources = [{"name": "edges.tsv", "sha256": "77fe" * 16, "columns": ["subject", "predicate", "object"]}]
    if "graph.json" not in without:
        (folder / "graph").mkdir()
        (folder / "graph" / "graph.json").write_text(json.dumps({"sources": sources}), encoding="utf-8")
    return run
