"""What a model's embeddings of entities say: those nearest to one, and whether the whole is healthy."""

import numpy as np
import torch
from jaxtyping import Float

from corollary.errors import RunError
from corollary.evaluation.embedding_health import Health, examine
from corollary.graph.arrays import pieces
from corollary.learners.conve import ConvE
from corollary.learners.hgt.model import Hgt
from corollary.runs.run import Run


def embeds(run: Run) -> bool:
    """Whether the run has one embedding for every entity."""
    return run.kind.name == "conve"


def entity_vectors(run: Run) -> Float[np.ndarray, "entities dim"]:
    """The embedding of every entity, in float32, of a run of ConvE or HGT.

    Raises `RunError` for a run without embeddings of entities. Memory: the table once more.
    """
    scorer = run.scorer
    if isinstance(scorer, Hgt):
        return scorer.embeddings().detach().float().cpu().numpy()
    if not isinstance(scorer, ConvE):
        raise RunError(f"{run.path} is a run of {run.kind.name}, which has no embedding for every entity")
    table = scorer.entities
    with torch.no_grad():
        return torch.cat([table.block(rows)[0].float().cpu() for rows in table.block_slices()]).numpy()


def nearest(run: Run, entity: int, count: int) -> list[tuple[int, float]]:
    """Ids and cosines of the `count` entities nearest to one, nearest first; equal ones in the order of ids.

    Memory: one block of the table, and 4 bytes an entity. Raises `RunError` for a run without embeddings of entities.
    """
    if not embeds(run):
        raise RunError(f"{run.path} is a run of {run.kind.name}, which has no embedding for every entity")
    table = run.model.entities
    parts = []
    with torch.no_grad():
        mine = table.block(slice(entity, entity + 1))[0].float().cpu()
        for rows in table.block_slices():
            block = table.block(rows)[0].float().cpu()
            parts.append(torch.nn.functional.cosine_similarity(block, mine, dim=1).numpy())
    similarity = np.concatenate(parts)
    similarity[entity] = -np.inf
    best = np.lexsort((np.arange(len(similarity)), -similarity))[: min(count, len(similarity) - 1)]
    return [(int(one), float(similarity[one])) for one in best]


def embedding_health(run: Run, *, seed: int = 0) -> Health:
    """The table judged by type, with degrees, as `validate_embeddings` judges a file.

    Memory: the table four times, in float64. Raises `RunError` for a run without embeddings of entities.
    """
    if not embeds(run):
        raise RunError(f"{run.path} is a run of {run.kind.name}, which has no embedding for every entity")
    graph, vectors = run.graph, entity_vectors(run).astype(np.float64)
    degrees = np.zeros(graph.num_entities, np.int64)
    for triples in pieces(graph.path / "edges" / "train.npy"):
        for column in (0, 2):
            degrees += np.bincount(triples[:, column], minlength=graph.num_entities)
    names = [*graph.info.node_types, ""]
    types = None if graph.types is None else [names[kind] for kind in np.asarray(graph.types)]
    return examine(vectors, types, degrees, seed=seed)
