"""Which of some candidates are known answers of a query. Plain twin: a set, in tests/kernels/test_known_answers.py."""

import numpy as np
from jaxtyping import Int

from corollary.kernels import compiled


@compiled()
def known_among(
    starts: Int[np.ndarray, " queries"],
    stops: Int[np.ndarray, " queries"],
    answers: Int[np.ndarray, " answers"],
    candidates: Int[np.ndarray, " candidates"],
) -> Int[np.ndarray, "2 found"]:
    """Query and place in `candidates` of every candidate that is a known answer.

    Args:
        answers: those of query i are `starts[i]` to `stops[i]`, ascending.
        candidates: ascending, each once.

    Time: for each query the shorter list is looked up in the longer one.
    """
    count = 0
    for fill in range(2):
        if fill == 1:
            found = np.empty((2, count), np.int64)
            count = 0
        for query in range(len(starts)):
            start, stop = starts[query], stops[query]
            if stop - start < len(candidates):
                for at in range(start, stop):
                    place = np.searchsorted(candidates, answers[at])
                    if place < len(candidates) and candidates[place] == answers[at]:
                        if fill == 1:
                            found[0, count], found[1, count] = query, place
                        count += 1
            else:
                for place in range(len(candidates)):
                    at = start + np.searchsorted(answers[start:stop], candidates[place])
                    if at < stop and answers[at] == candidates[place]:
                        if fill == 1:
                            found[0, count], found[1, count] = query, place
                        count += 1
    return found
