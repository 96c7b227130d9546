"""What a run of DRUM asks for: its targets, and the training triples of them that walks can reach."""

import numpy as np
from jaxtyping import Int

from corollary.errors import ConfigError, unknown
from corollary.graph.folder import Graph
from corollary.learners.drum.data import DrumData, drum_data, reached_sides
from corollary.randomness import generator
from corollary.runs.drum.options import DrumOptions


def targets_of(options: DrumOptions, graph: Graph) -> Int[np.ndarray, " targets"] | None:
    """Ids of the relations that are asked for; None: all. Raises `ConfigError` for an unknown one or one without facts."""
    asked = with_queries(graph)
    if options.targets:
        labels = graph.relations.labels
        for name in options.targets:
            if not labels.rows_of(name):
                raise ConfigError(unknown("relation", name, list(labels), where="targets"))
        targets = np.unique([labels.rows_of(name)[0] for name in options.targets])
        without = [graph.relations.label(int(target)) for target in targets if target not in asked]
        if without:
            raise ConfigError(f"target {without[0]!r} has no facts in train: leave it out or add some")
        return targets
    if options.max_relations is None:
        return None
    if options.max_relations > len(asked):
        raise ConfigError(
            f"max_relations = {options.max_relations} is more than the {len(asked)} with facts in train"
        )
    draw = generator(options.seed, "targets").permutation(len(asked))[: options.max_relations]
    return np.sort(asked[draw])


def with_queries(graph: Graph) -> Int[np.ndarray, " targets"]:
    return np.unique(np.asarray(graph.triples("train"))[:, 1])


def reached_data(graph: Graph, options: DrumOptions, targets: Int[np.ndarray, " targets"] | None) -> DrumData:
    """Facts and queries, without examples that no walk reaches: they have no gradient and only blur the loss."""
    data = drum_data(graph, options.model, seed=options.seed, targets=targets)
    if not len(data.triples):
        raise ConfigError(f"{graph.path} has no triples to ask for: the targets have no facts in train")
    reached = reached_sides(data, options.model.rule_length, data.triples)
    if not reached.any():
        raise ConfigError(
            f"no training triple of {graph.path} can be reached by {options.model.rule_length} steps without itself: "
            "use longer rules (rule_length) or more body relations"
        )
    data.reached = reached
    return data


def reach(graph: Graph, options: DrumOptions, triples: Int[np.ndarray, "n 3"]) -> float:
    """Share of the sides of some triples whose answer a walk over the training triples reaches: a model's ceiling."""
    data = drum_data(graph, options.model, seed=options.seed)
    return float(reached_sides(data, options.model.rule_length, triples).mean())
