"""Embeddings of a taxonomy for other programs: word2vec text (gensim's KeyedVectors reads it), CSV, Parquet."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from corollary.errors import ConfigError
from corollary.geometry.hyperbolic import to_ball
from corollary.runs.poincare.kind import Embedded
from corollary.storage import new_file

_SUFFIXES = (".txt", ".vec", ".csv", ".parquet")


def export_embedding(embedded: Embedded, path: Path) -> None:
    """Coordinates of the Poincaré ball with labels, by the suffix of `path`.

    `.txt` and `.vec`: word2vec text; spaces in labels become underscores. `.csv`, `.parquet`: label, name, rank, depth,
    radius, then x0, x1, ... In the ball 1 - |x| is lost beyond radius 37; `radius` is exact.

    Raises `ConfigError` for another suffix.
    """
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"{path}: the suffix says the format: {', '.join(_SUFFIXES)}")
    with new_file(path) as partial:
        if path.suffix in (".txt", ".vec"):
            _write_text(embedded, partial)
        else:
            frame = embedding_frame(embedded)
            frame.to_csv(partial, index=False) if path.suffix == ".csv" else _write_parquet(frame, partial)


def embedding_frame(embedded: Embedded) -> pd.DataFrame:
    """One line a node."""
    entity_ids, entities = embedded.taxonomy.entity_ids, embedded.graph.entities
    columns: dict[str, Any] = {
        "label": [entities.label(int(entity)) for entity in entity_ids],
        "name": embedded.names,
    }
    if embedded.graph.types is not None:
        kinds = [*embedded.graph.info.node_types, ""]
        columns["rank"] = [kinds[kind] for kind in np.asarray(embedded.graph.types)[entity_ids]]
    columns["depth"] = embedded.taxonomy.tree.depth
    columns["radius"] = np.linalg.norm(embedded.points, axis=1)
    ball = to_ball(embedded.points)
    return pd.DataFrame({**columns, **{f"x{axis}": ball[:, axis] for axis in range(ball.shape[1])}})


def _write_text(embedded: Embedded, path: Path) -> None:
    ball, entities = to_ball(embedded.points), embedded.graph.entities
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{len(ball)} {ball.shape[1]}\n")
        for entity, values in zip(embedded.taxonomy.entity_ids, ball, strict=True):
            label = "_".join(entities.label(int(entity)).split())
            file.write(f"{label} {' '.join(map(repr, values.tolist()))}\n")


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.register("frame", frame)
        connection.execute(f"COPY frame TO '{str(path).replace(chr(39), chr(39) * 2)}' (FORMAT parquet)")
