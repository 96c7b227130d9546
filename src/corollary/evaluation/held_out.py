"""The rank of every held-out answer, by query: what calibration, trust and the weights of an ensemble are made from."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.errors import RunDamaged
from corollary.evaluation.ranking import rankings
from corollary.evaluation.tiles import BLOCK_ROWS, CHUNK
from corollary.graph.answers import AnswerIndex, Side
from corollary.graph.folder import Graph
from corollary.learners.protocol import Scorer
from corollary.storage import new_file


@dataclass(frozen=True)
class HeldOut:
    """Rankings as columns, in the order of their queries."""

    entities: Int[np.ndarray, " rankings"]
    relations: Int[np.ndarray, " rankings"]
    """Directed."""
    answers: Int[np.ndarray, " rankings"]
    ranks: Float[np.ndarray, " rankings"]
    """Realistic, filtered by all known facts."""
    candidates: Int[np.ndarray, " rankings"]

    def __len__(self) -> int:
        return len(self.ranks)

    def where(self, rows: Bool[np.ndarray, " rankings"]) -> Self:
        """Some of them."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def save(self, path: Path, mark: str) -> None:
        """Write them as `.npz`; `mark` says what they were made with."""
        with new_file(path) as partial, partial.open("wb") as file:
            columns = {field.name: getattr(self, field.name) for field in fields(self)}
            np.savez(file, mark=np.array(mark), **columns)

    @classmethod
    def load(cls, path: Path, mark: str) -> Self | None:
        """Read them; None where there are none, or where they were made with something else."""
        if not path.exists():
            return None
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                if str(file["mark"]) != mark:
                    return None
                return cls(*(file[field.name] for field in fields(cls)))
        except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
            raise RunDamaged(f"{path} is damaged: remove it, it is made again ({error})") from None


def held_out_ranks(
    scorer: Scorer,
    graph: Graph,
    index: AnswerIndex,
    *,
    side: Side | None = None,
    block_rows: int = BLOCK_ROWS,
    chunk: int = CHUNK,
) -> HeldOut:
    """The realistic filtered rank of every answer of an index. Memory: 40 bytes a ranking, and that of `rankings`."""
    asked = index if side is None else index.one_side(side)
    found: list[HeldOut] = []
    for part in rankings(scorer, graph, asked, graph.answers("known"), block_rows=block_rows, chunk=chunk):
        counts = part.full.candidates.astype(np.int64)
        ids = (part.entities.astype(np.int64), part.relations.astype(np.int64), part.answers)
        found.append(HeldOut(*ids, part.full.ranks("realistic"), counts))
    if not found:
        nothing = np.zeros(0, np.int64)
        return HeldOut(nothing, nothing, nothing, np.zeros(0), nothing)
    return HeldOut(
        *(np.concatenate([getattr(part, field.name) for part in found]) for field in fields(HeldOut))
    )
