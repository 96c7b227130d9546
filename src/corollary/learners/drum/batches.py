"""What DRUM is trained on in one step, and the steps of an epoch: triples asked from both sides, put together by query."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt
from torch import Tensor

from corollary.learners.drum.config import DrumConfig
from corollary.learners.drum.data import DrumData
from corollary.learners.protocol import Place
from corollary.randomness import generator

_NOTHING = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class DrumBatch:
    """Examples by query: those of query i are `bounds[i]` to `bounds[i + 1]`."""

    relations: Int[Tensor, " queries"]
    """Directed, ascending, each once."""
    bounds: Int[np.ndarray, " query_bounds"]
    starts: Int[np.ndarray, " examples"]
    answers: Int[np.ndarray, " examples"]
    removed: UInt[np.ndarray, " edges_or_none"]
    """1 for an edge that no example may use."""
    keys: UInt[np.ndarray, " examples_or_none"]
    """For dropout."""
    place: Place

    def __len__(self) -> int:
        return len(self.starts)

    def to(self, device: torch.device | str) -> "DrumBatch":
        """The queries go to the device of the network; what the walks need goes there when they are made."""
        return DrumBatch(
            self.relations.to(device),
            self.bounds,
            self.starts,
            self.answers,
            self.removed,
            self.keys,
            self.place,
        )


def only(batch: DrumBatch, example: int) -> DrumBatch:
    """The batch with a single example; its queries stay."""
    query = int(np.searchsorted(batch.bounds, example, side="right")) - 1
    bounds = (np.arange(len(batch.bounds)) > query).astype(np.int64)
    row = slice(example, example + 1)
    return DrumBatch(
        batch.relations,
        bounds,
        batch.starts[row],
        batch.answers[row],
        batch.removed,
        batch.keys[row],
        batch.place,
    )


class DrumBatches(Sequence[DrumBatch]):
    """Batches of one epoch, each made when it is asked for."""

    def __init__(
        self, config: DrumConfig, data: DrumData, triples: Int[np.ndarray, "n 3"], seed: int, epoch: int
    ) -> None:
        self._config, self._data, self._seed, self._epoch = config, data, seed, epoch
        self._triples = triples[generator(seed, "order", epoch).permutation(len(triples))]

    def __len__(self) -> int:
        return -(-len(self._triples) // self._config.batch_size)

    def __iter__(self) -> Iterator[DrumBatch]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        size = self._config.batch_size
        triples = self._triples[number * size : (number + 1) * size]
        return batch_of(self._config, self._data, triples, Place(self._seed, self._epoch, number))


def batch_of(config: DrumConfig, data: DrumData, triples: Int[np.ndarray, "n 3"], place: Place) -> DrumBatch:
    """Some triples as one batch, asked from both sides."""
    examples = data.examples(triples)
    examples = examples[np.lexsort(examples.T[::-1])]
    relations, firsts = np.unique(examples[:, 0], return_index=True)
    removed = data.marked(triples) if config.own_edges == "batch" else _NOTHING
    keys = np.zeros(0, np.uint64)
    if config.dropout:
        draws = generator(place.seed, "walks", place.epoch, place.step)
        keys = draws.integers(0, 2**64, len(examples), dtype=np.uint64)
    starts, answers = (np.ascontiguousarray(examples[:, column]) for column in (1, 2))
    return DrumBatch(
        torch.from_numpy(relations), np.append(firsts, len(examples)), starts, answers, removed, keys, place
    )
