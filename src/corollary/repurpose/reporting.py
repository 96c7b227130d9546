"""What the report of a folder shows, gathered from the folder's own files; `reports.repurposing` makes the page of it."""

import json
from collections.abc import Iterator, Mapping
from heapq import nlargest
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from corollary.budget import peak_bytes
from corollary.evaluation.embedding_health import examine, spectrum
from corollary.randomness import generator
from corollary.reports.repurposing import LISTED, write_page
from corollary.repurpose.evaluating import SchemeFigures
from corollary.repurpose.evidence import PairEvidence
from corollary.repurpose.features import Vectors
from corollary.repurpose.listing import ListColumns, read_lists
from corollary.repurpose.stages import Stages

LISTS = 300
"""Lists on the page at most, those with the surest first answer."""
_POINTS = 500
"""Nodes of a type on the map of embeddings."""
_LIBRARIES = ("corollary", "xgboost", "xgboost-cpu", "scikit-learn", "torch", "numpy", "numba", "duckdb")


def conclude(stages: Stages) -> Path:
    """Write `report.html`, and last the record of memory, so that the page counts too; returns the report's path.

    A command that goes on keeps the higher peak of those before it. Memory: the lists on the page and the embeddings of
    both types.
    """
    report = write_page(stages.output / "report.html", page_of(stages))
    stages.folder.write_json("memory.json", _memory(stages))
    return report


def _memory(stages: Stages) -> dict[str, int]:
    """Planned bytes, and the peak of this command or of one that it goes on with."""
    folder = stages.folder
    planned = sum(folder.read_json("config.json")["plan"]["parts"].values())
    there = (stages.output / "memory.json").exists()
    before = folder.read_json("memory.json")["peak_bytes"] if there else 0
    return {"planned_bytes": planned, "peak_bytes": max(before, peak_bytes())}


def page_of(stages: Stages) -> dict[str, Any]:
    """Everything on the page, as plain values."""
    pairs, folder, config = stages.pairs, stages.folder, stages.config
    record, memory = folder.read_json("config.json"), _memory(stages)
    return {
        "title": f"{pairs.columns.type} nodes for every {pairs.rows.type}: {pairs.relation} of {stages.graph.name}",
        "row_type": pairs.rows.type,
        "column_type": pairs.columns.type,
        "counts": {
            f"{pairs.rows.type} nodes": f"{len(pairs.rows):,}",
            f"{pairs.columns.type} nodes": f"{len(pairs.columns):,}",
            "known pairs": f"{len(pairs.known):,}, one in {round(1 / pairs.prevalence):,}",
            "known not to be": f"{len(pairs.negatives):,}",
        },
        "schemes": {name: _with_sentences(stages.judge(name)) for name in config.splitting.schemes},
        "faithfulness": folder.read_json("faithfulness.json"),
        "lists": nlargest(LISTS, _lists(stages), key=lambda one: one["answers"][0]["probability"]),
        "list_count": sum(1 for _ in read_lists(stages.output / "lists")),
        "embeddings": _embeddings(stages),
        "options": record["options"],
        "made": {
            "graph": stages.graph.name,
            "graph fingerprint": stages.graph.fingerprint,
            "planned memory, bytes": memory["planned_bytes"],
            "measured peak before this page, bytes": memory["peak_bytes"],
            **_versions(),
        },
        "checksums": json.loads((stages.output / "lists" / "manifest.json").read_text(encoding="utf-8")),
    }


def _with_sentences(found: SchemeFigures) -> dict[str, Any]:
    values = found.model_dump(mode="json")
    for name in ("comparison", "precision"):
        values[name]["sentence"] = getattr(found, name).sentence
    return values


def _lists(stages: Stages) -> Iterator[dict[str, Any]]:
    """The records of predictions.json under names that do not depend on the node types."""
    names = ListColumns.of(stages.pairs)
    for record in read_lists(stages.output / "lists"):
        answers = [_answer(answer, names) for answer in record["answers"][:LISTED]]
        yield {"label": record[names.row], "name": record["name"], "answers": answers}


def _answer(answer: Mapping[str, Any], names: ListColumns) -> dict[str, Any]:
    evidence = PairEvidence.model_validate(answer["evidence"])
    shown = evidence.model_dump(mode="json")
    shown["paths"] = [{"text": path.text} for path in evidence.paths]
    return {
        "rank": answer["rank"],
        "label": answer[names.column],
        "name": answer[f"{names.column}_name"],
        "probability": answer["probability"],
        "low": answer["probability_low"],
        "high": answer["probability_high"],
        "normalised_rank": answer["normalised_rank"],
        "untrained_rank": answer["untrained_rank"],
        "says": [name for name in ("known", *names.marks.values()) if answer[name]],
        "evidence": shown,
    }


def _embeddings(stages: Stages) -> dict[str, Any] | None:
    """Health, singular values and a map of the final model's first vectors; None without any."""
    hidden = stages.answering.parts(stages.final)[0].hidden
    vectors = next((one for one in stages.learned.given(hidden) if isinstance(one, Vectors)), None)
    if vectors is None:
        return None
    pairs = stages.pairs
    axes = {pairs.rows.type: np.asarray(vectors.rows), pairs.columns.type: np.asarray(vectors.columns)}
    types = [kind for kind, rows in axes.items() for _ in range(len(rows))]
    every = np.concatenate(list(axes.values())).astype(np.float64)
    health = examine(every, types)
    return {
        "name": vectors.name,
        "verdict": health.verdict,
        "reasons": list(health.reasons),
        "spectra": {kind: spectrum(rows - rows.mean(0)).tolist() for kind, rows in axes.items()},
        "points": _points(axes, every),
    }


def _points(
    axes: Mapping[str, Float[np.ndarray, "_ dim"]], every: Float[np.ndarray, "rows dim"]
) -> dict[str, list[tuple[float, float]]]:
    """Some nodes of each type along the two main directions of all."""
    middle = every.mean(0)
    directions = np.linalg.svd(every - middle, full_matrices=False)[2][:2]
    found = {}
    for kind, rows in axes.items():
        some = np.sort(generator(0, "map", kind).permutation(len(rows))[:_POINTS])
        placed = (rows[some] - middle) @ directions.T
        found[kind] = [(float(x), float(y)) for x, y in placed]
    return found


def _versions() -> dict[str, str]:
    """Of the libraries that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
