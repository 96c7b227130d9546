"""What a run of HGT could have been given away, looked for in the messages themselves and in the ranks of made-up facts."""

import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from corollary.evaluation.ranking import rank_triples
from corollary.graph.folder import Graph
from corollary.graph.pairs import linked_pairs
from corollary.learners.hgt.model import Hgt
from corollary.learners.hgt.parts import epoch_batches
from corollary.learners.hgt.questions import Links, leaked
from corollary.learners.protocol import Scorer
from corollary.randomness import generator
from corollary.runs.hgt.options import HgtOptions

_AUDITED = 2  # batches whose messages are looked at edge by edge
_FAKES = 500
_DEVIATIONS = 4


def audit(graph: Graph, options: HgtOptions, scorer: Hgt) -> dict[str, Any]:
    """What stands in `audit.json`:

    - `leaked_pairs`: messages between the ends of a pair that was asked for, in the first batches of the first
      epoch, whole or drawn as training takes them;
    - `held_out_linked`: valid and test pairs that any relation of train links, for a reader to judge: allowed, and of
      use to a model, where the relations mean different things;
    - `canary`: ranks of random pairs; see there.
    """
    links = Links(graph, options.links, scorer.links)
    batches = epoch_batches(links, options.sampling, seed=options.seed, epoch=0)
    train = np.asarray(graph.triples("train"))
    held = [np.asarray(graph.triples(split)) for split in graph.splits if split != "train"]
    linked = sum(len(linked_pairs(train, rows, graph.num_entities)) for rows in held)
    steps = min(_AUDITED, len(batches))
    return {
        "audited_steps": steps,
        "leaked_pairs": sum(leaked(batches[step], links) for step in range(steps)),
        "held_out_triples": sum(len(rows) for rows in held),
        "held_out_linked": linked,
        "canary": canary(graph, scorer, fake_facts(graph, links, options.seed)),
    }


def fake_facts(graph: Graph, links: Links, seed: int) -> Int[np.ndarray, "fakes 3"]:
    """Pairs drawn at random among the types that the relations asked for link, none of them in any split; no rows where
    every such pair is a fact."""
    rng = generator(seed, "canary")
    kinds = [
        kind
        for kind in links.links.edge_types
        if kind.relation < graph.num_relations and links.asked[kind.relation]
    ]
    starts, order = links.nodes.starts, links.nodes.order
    chosen = rng.integers(len(kinds), size=4 * _FAKES)
    ends = [
        np.array([rng.integers(starts[kinds[i][end]], starts[kinds[i][end] + 1]) for i in chosen])
        for end in (0, 2)
    ]
    relations = np.array([kinds[i].relation for i in chosen])
    made = np.unique(np.stack([order[ends[0]], relations, order[ends[1]]], 1), axis=0)
    for split in graph.splits:
        made = made[~np.isin(_keys(made, graph), _keys(np.asarray(graph.triples(split)), graph))]
    return made[rng.permutation(len(made))[:_FAKES]]


def _keys(triples: Int[np.ndarray, "n 3"], graph: Graph) -> Int[np.ndarray, " n"]:
    """A number for each fact."""
    head, relation, tail = triples.astype(np.int64).T
    return (relation * graph.num_entities + head) * graph.num_entities + tail


def canary(graph: Graph, scorer: Scorer, fakes: Int[np.ndarray, "fakes 3"]) -> dict[str, Any]:
    """Ranks of made-up facts as if they were held out: with nothing given away they lie at chance.

    `at_chance`: the adjusted mean rank index (0 for guessing, 1 for perfect) is within four deviations of 0, those of
    ranks that are uniform and independent. Without made-up facts there is nothing to say: no index, and at chance.
    """
    if not len(fakes):
        return {"pairs": 0, "adjusted_mean_rank_index": None, "at_chance": True}
    candidates: Literal["types"] | None = None if graph.types is None else "types"
    ranks = rank_triples(scorer, graph, fakes, name="canary", resamples=0, candidates=candidates)
    figures = ranks.in_range.figures if ranks.in_range is not None else ranks.figures
    index = figures.sides["both"]["realistic"].adjusted_mean_rank_index
    deviation = 1 / math.sqrt(3 * len(fakes))
    return {
        "pairs": len(fakes),
        "adjusted_mean_rank_index": index,
        "at_chance": index is None or abs(index) < _DEVIATIONS * deviation,
    }
