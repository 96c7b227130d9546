"""How long does filtered ranking of a whole test set take, beside PyKEEN's evaluator?

`python bench/ranking.py GRAPH` ranks every test triple of a graph folder (FB15k-237 is the one we publish), both
sides, with an untrained ConvE of d 200: how good the scores are does not matter to the time. Beside it the time of
the encoder and the products alone, which is the floor. Where PyKEEN 1.11.1 is installed it ranks a sample of the
triples in two ways, and its time for the whole set is extrapolated: its own ConvE with its evaluator, and its
evaluator alone over our scores, looked up. On the sample the figures of both must agree to 1e-9.
Prints a table, appends one line to results/ranking.jsonl.
"""

import argparse
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corollary.budget import peak_bytes, show_bytes
from corollary.cli.output import print_table, say
from corollary.evaluation.ranking import HITS, rank_split, rank_triples
from corollary.evaluation.tiles import BLOCK_ROWS, CHUNK, Tiles
from corollary.graph.answers import AnswerIndex
from corollary.graph.folder import Graph
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.protocol import Queries, Scorer
from record import machine_line, write_line

SEED = 0


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, help="a graph folder, for the published figure one of FB15k-237")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sample", type=int, default=256, help="triples that PyKEEN ranks")
    options = parser.parse_args()
    graph = Graph.open(options.graph)
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    learner = ConvE(ConvEConfig(), **sizes, seed=SEED)
    learner.eval()

    rank_split(learner, graph, "test", resamples=0)  # compiles
    before = peak_bytes()
    ours = seconds_of(lambda: rank_split(learner, graph, "test", seed=SEED), options.repeats)
    growth = peak_bytes() - before
    floor = seconds_of(lambda: score_once(learner, graph.answers("test")), options.repeats)
    rows: list[list[Any]] = [
        ["corollary, 1,000 resamples", ours["p20"], ours["p50"], ours["p80"], "measured"],
        ["encoder and one product a block", floor["p20"], floor["p50"], floor["p80"], "measured"],
    ]
    line = {
        **machine_line(), "graph": graph.name, "seed": SEED, "chunk": CHUNK, "block_rows": BLOCK_ROWS,
        "test_triples": graph.info.num_triples["test"], "ours": ours, "scores_once": floor,
        "peak_bytes": peak_bytes(), "peak_growth": growth, "load": os.getloadavg()[0],
    }  # fmt: skip
    if find_spec("pykeen") is None:
        say("PyKEEN is not installed, so it is left out: pip install pykeen==1.11.1 (never torchvision)")
    else:
        peer = compare(learner, graph, options.sample)
        line |= peer
        for name in ("pykeen", "pykeen_evaluator"):
            label = f"{name.replace('_', ' ')}, from {peer['sample']} triples"
            rows.append([label, None, peer[name], None, "extrapolated"])
    print_table(["whole test set", "p20 s", "p50 s", "p80 s", "how"], rows)
    say(f"load of the machine {os.getloadavg()[0]:.1f}: above the number of cores the times say little")
    say(f"peak {show_bytes(peak_bytes())}; ranking added {show_bytes(growth)} after the first run")
    write_line("ranking", line)


def seconds_of(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Quantiles over some repeats."""
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    p20, p50, p80 = np.quantile(seconds, [0.2, 0.5, 0.8]).tolist()
    return {"p20": p20, "p50": p50, "p80": p80}


def score_once(scorer: Scorer, index: AnswerIndex) -> None:
    """Every tile of every query, thrown away."""
    for first in range(0, index.num_queries, CHUNK):
        tiles = Tiles(scorer, *index.queries(slice(first, first + CHUNK)), BLOCK_ROWS)
        for block in range(tiles.num_blocks):
            tiles.tile(block)


class Stored:
    """Scores computed before, so that both evaluators rank the very same numbers."""

    def __init__(self, scorer: Scorer, index: AnswerIndex, num_relations: int) -> None:
        self.num_entities, self.device = scorer.num_entities, torch.device("cpu")
        self._index, self._num_relations = index, num_relations
        tiles = Tiles(scorer, *index.queries(slice(None)), BLOCK_ROWS)
        self._scores = np.concatenate([tiles.tile(block) for block in range(tiles.num_blocks)], axis=1)

    def look_up(self, entities: np.ndarray, relations: np.ndarray) -> np.ndarray:
        """Scores of every entity."""
        return self._scores[self._index.find(entities, relations)]

    def prepare(self, queries: Queries) -> torch.Tensor:
        """The rows of some queries."""
        return torch.from_numpy(self.look_up(queries.entity_ids.numpy(), queries.relation_ids.numpy()))

    def scores(self, prepared: torch.Tensor, rows: slice, out: torch.Tensor | None = None) -> torch.Tensor:
        """A part of them."""
        return prepared[:, rows]


def compare(learner: ConvE, graph: Graph, size: int) -> dict[str, Any]:
    """PyKEEN on a sample: seconds for the whole test set, extrapolated, and how far its figures are from ours."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sys.path.append(str(Path(__file__).parents[1]))
    from pykeen.models import ConvE as TheirConvE
    from pykeen.triples.triples_factory import KGInfo

    from tests.reference import pykeen_ranking

    test = np.array(graph.triples("test"))
    sample = test[np.sort(np.random.default_rng(SEED).permutation(len(test))[:size])]
    known = np.concatenate([graph.triples(split) for split in graph.splits])
    stored = Stored(learner, AnswerIndex.build(sample, graph.num_relations), graph.num_relations)
    given = pykeen_ranking.GivenScores(stored.look_up, graph.num_entities, graph.num_relations)
    theirs = pykeen_ranking.evaluate(given, sample, known)
    ours = rank_triples(stored, graph, sample, resamples=0)
    farthest = max(pykeen_ranking.differences(theirs, ours.figures, HITS).values())
    assert farthest < 1e-9, f"PyKEEN's figures are {farthest} from ours"

    info = KGInfo(graph.num_entities, 2 * graph.num_relations, create_inverse_triples=True)
    own = TheirConvE(triples_factory=info, embedding_dim=200, random_seed=SEED).eval()
    factor = len(test) / len(sample)
    return {
        "pykeen_version": metadata.version("pykeen"),
        "sample": len(sample),
        "farthest_from_pykeen": farthest,
        "pykeen": factor * once(lambda: pykeen_ranking.evaluate(own, sample, known)),
        "pykeen_evaluator": factor * once(lambda: pykeen_ranking.evaluate(given, sample, known)),
    }


def once(work: Callable[[], Any]) -> float:
    """Median of three."""
    seconds: Sequence[float] = [seconds_of(work, 1)["p50"] for _ in range(3)]
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
