"""Embeddings of every node of an HGT run, in a file that says which node each row is."""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch

from corollary.errors import ConfigError, RunError
from corollary.learners.hgt.model import Hgt
from corollary.runs.exporting import entity_rows, write_parquet
from corollary.runs.run import Run
from corollary.storage import new_file

_ROWS = 4096


@dataclass(frozen=True)
class Embedded:
    """What was written where."""

    path: Path
    rows: int
    dim: int


def embed(run: Run, path: str | Path) -> Embedded:
    """Write the embeddings of all nodes, made layer by layer over all training edges, never from sampled parts.

    - `.csv`: id, type, name, then a column for each number, `e0` on;
    - `.parquet`: label (the id), name, type, `embedding` (FLOAT[dim]).

    Raises `ConfigError` for another ending, `RunError` for a run of another learner. Memory: that of a ranking.
    """
    path, scorer = Path(path), run.scorer
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{path}: embeddings are written to a .csv or .parquet file")
    if not isinstance(scorer, Hgt):
        raise RunError(
            f"{run.path} is a run of {run.kind.name}: 'corollary export' writes its embeddings, embed is for hgt"
        )
    with new_file(path) as partial:
        if path.suffix == ".parquet":
            write_parquet(entity_rows(run.graph, scorer.embeddings()), partial)
        else:
            _write_csv(run, scorer.embeddings(), partial)
    return Embedded(path, run.graph.num_entities, scorer.config.embedding_dim)


def _write_csv(run: Run, embeddings: torch.Tensor, path: Path) -> None:
    graph = run.graph
    kinds, names = graph.types, [*graph.info.node_types, ""]
    with path.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "type", "name", *(f"e{column}" for column in range(embeddings.shape[1]))])
        for start in range(0, len(embeddings), _ROWS):
            block = embeddings[start : start + _ROWS].float().cpu().tolist()
            for entity, values in enumerate(block, start=start):
                kind = "" if kinds is None else names[kinds[entity]]
                label, name = graph.entities.label(entity), graph.entities.name(entity)
                writer.writerow([label, kind, name, *(f"{value:.9g}" for value in values)])
