"""Batches made ahead by threads, in order."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")


def prefetch(batches: Sequence[Batch], start: int, *, workers: int) -> Iterator[Batch]:
    """Batches from number `start` on. `workers` threads make them ahead; none makes each when it is wanted."""
    if workers == 0:
        yield from (batches[number] for number in range(start, len(batches)))
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="prefetch") as pool:
        waiting: deque[Future[Batch]] = deque()
        for number in range(start, len(batches)):
            waiting.append(pool.submit(batches.__getitem__, number))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
