"""Scores of training triples for asked ones, block by block: influence by any measure, and the plain heuristic.

Nothing of size training triples x asked triples exists: who wants sums or ranks goes along with the blocks.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from corollary.budget import Budget
from corollary.explain import heuristics
from corollary.explain.ensemble import Scores
from corollary.explain.influence import UNIT, Asked, influences
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.models import checkpoint_names
from corollary.runs.tracing.plan import Work, choose_way
from corollary.runs.tracing.tracin import open_influence

SHARED = "shared"
"""The heuristic's name among scores."""
HEURISTIC_BLOCK = 4096
"""Training triples that the heuristic looks at together."""

Block = tuple[Int[np.ndarray, " block"], Float[np.ndarray, "block asked"]]
"""Rows of the training split, and their scores."""
Blocks = Callable[[], Iterator[Block]]
"""Goes over all training triples; the same bytes each time."""


def opened(
    runs: Sequence[Run],
    config: TracInConfig,
    *,
    names: Sequence[str] = (),
    asked: int = 0,
    memory_limit: str | None = None,
) -> Scores:
    """Influence over the checkpoints that `tracin` would take, or those named. Raises what it raises.

    Args:
        runs: one, or the members of an ensemble.
        asked: triples that will be asked about.
    """
    chosen = [list(names or config.checkpoints) or checkpoint_names(run) for run in runs]
    work = Work(
        asked=asked,
        sides=len(config.sides()),
        checkpoints=max(len(some) for some in chosen),
        candidates=runs[0].graph.info.num_triples["train"],
        results=0,
        unit=UNIT,
        pairs=True,
        adam=config.measure == "adam",
    )
    plan, hold = choose_way(runs, work, Budget.parse(memory_limit))
    return open_influence(runs, chosen, config, plan, hold)[0]


def influence_blocks(
    runs: Sequence[Run],
    asked: Int[np.ndarray, "asked 3"],
    config: TracInConfig,
    *,
    memory_limit: str | None = None,
) -> Blocks:
    """The scores that `tracin` ranks by. The models are opened when the blocks are gone over."""

    def blocks() -> Iterator[Block]:
        influence = opened(runs, config, asked=len(asked), memory_limit=memory_limit)
        reference = influence.ask(Asked(np.asarray(asked), config.target, config.sides()))
        triples = np.asarray(runs[0].graph.triples("train")).astype(np.int64)
        for rows, scores in influences(influence, triples, reference):
            yield rows, scores.double().cpu().numpy()

    return blocks


def shared_blocks(run: Run, asked: Int[np.ndarray, "asked 3"]) -> Blocks:
    """The heuristic: places at which a training triple is the asked one."""
    split = run.graph.triples("train")

    def blocks() -> Iterator[Block]:
        for start in range(0, len(split), HEURISTIC_BLOCK):
            some = np.asarray(split[start : start + HEURISTIC_BLOCK]).astype(np.int64)
            yield np.arange(start, start + len(some)), heuristics.shared(some, asked)

    return blocks
