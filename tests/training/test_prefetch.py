"""Batches made ahead come in order, from wherever a run goes on."""

import threading
from collections.abc import Sequence

import pytest
import torch

from corollary.learners.protocol import Batch, Place, Queries
from corollary.training.prefetch import prefetch

EMPTY = torch.zeros(0, dtype=torch.long)


class Numbered(Sequence):
    """Batches with nothing in them but their number; notes which were made, and where."""

    def __init__(self, length):
        self.length, self.broken, self.made, self.threads = length, None, [], set()

    def __len__(self):
        return self.length

    def __getitem__(self, number):
        self.made.append(number)
        self.threads.add(threading.current_thread().name.split("_")[0])
        if number == self.broken:
            raise ValueError("broken batch")
        return Batch(Queries(EMPTY, EMPTY), torch.zeros(1).long(), EMPTY, Place(0, 0, number))


def started(batches, start, workers):
    """A stream; what was made while its arguments were checked is forgotten."""
    stream = prefetch(batches, start, workers=workers)
    batches.made.clear()
    batches.threads.clear()
    return stream


def numbers(stream):
    """Of the batches that come."""
    for batch in stream:
        yield batch.place.step


@pytest.mark.parametrize("workers", [0, 1, 3, 50])
@pytest.mark.parametrize("start", [0, 4, 9, 10])
def test_batches_come_in_order(workers, start):
    """Each once, from the first that is wanted."""
    batches = Numbered(10)
    assert list(numbers(started(batches, start, workers))) == list(range(start, 10))
    assert sorted(batches.made) == list(range(start, 10))


def test_threads_make_them_ahead_and_not_too_far():
    """Two a thread and the one that is handed out; none without threads."""
    ahead, now = Numbered(100), Numbered(100)
    for batches, workers in ((ahead, 2), (now, 0)):
        stream = started(batches, 0, workers)
        assert next(stream).place.step == 0
        stream.close()
    assert len(ahead.made) <= 5
    assert ahead.threads == {"prefetch"}
    assert now.made == [0]
    assert now.threads == {"MainThread"}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_goes_wrong_in_a_thread_is_raised_in_its_turn(workers):
    """After the batches before it."""
    batches = Numbered(10)
    stream = numbers(started(batches, 0, workers))
    batches.broken = 3
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken batch"):
        next(stream)
