"""Bytes of a run of DRUM, by part: its training, or the counting and ranking of its rules, whichever needs more.

Groups of targets change none of it but the rows of a table; what fills memory elsewhere, a state for each operator and
example, does not exist here (kernels.drum).
"""

from corollary.budget import MIB, Budget, Plan
from corollary.graph.folder import Graph
from corollary.kernels import on_disk
from corollary.learners.drum.learner import ATTENTION_BYTES, THREADS
from corollary.learners.drum.relation_features import WIDTH
from corollary.learners.drum.tensor_walk import CHUNK_BYTES, rows_at_once
from corollary.learners.planning import LATER_BYTES
from corollary.runs.drum.options import DrumOptions

CHUNK = 256
"""Most queries scored at once."""

COMPILING_BYTES = 200 * MIB
"""What the compiler takes, the first time that the kernels of walks and of rules run on a machine (measured: 160 MiB)."""

RULE_BYTES = 1500
"""A candidate while rules are counted: columns, the trie of bodies, tallies (measured: about 1,100)."""


def plan_drum(graph: Graph, options: DrumOptions, *, held: int, budget: Budget | None = None) -> Plan:
    """Bytes of a run by part, with as many queries at once as the limit lets. Raises nothing: `Plan.check` does.

    How many queries are scored at once changes no score.
    """
    budget = budget or Budget.parse(options.memory_limit)
    size, parts = graph.size, {"before training": held + LATER_BYTES}
    parts |= {"compiler": 0 if on_disk() else COMPILING_BYTES}
    parts |= {"facts as links": size.num_train * 64, "queries": size.num_train * 48}
    parts |= {
        "reading the facts": size.num_train * 140,
        "attention while scoring": _kept_attention(graph, options),
    }
    fixed = sum(parts.values())
    training, concluding = _training(graph, options), _rules(graph, options)
    parts |= training if sum(training.values()) > sum(concluding.values()) else concluding
    one = size.num_entities * 8 + 4096 * 8 + 100 * size.max_answers
    spare = budget.bytes - fixed - max(sum(training.values()), sum(concluding.values()))
    chunk = int(max(1, min(CHUNK, 256 * MIB // one, spare // one)))
    return Plan(
        parts=parts | {"ranking": chunk * one},
        block_rows=options.model.block_rows,
        evaluation_chunk=chunk,
        budget=budget,
    )


def plan_on_device(graph: Graph, options: DrumOptions, budget: Budget) -> Plan:
    """Bytes that walks in tensors take of an accelerator's own memory; the limit is for that. Calculated, not measured
    yet on one."""
    model, parts = options.model, _training(graph, options)
    examples, one = 2 * model.batch_size, 4 * model.components * graph.num_entities
    operators = 2 * graph.num_relations + 1
    del parts["states of the walks"]
    parts |= {
        "attention of the examples": 12 * examples * model.rule_length * operators * model.components,
        "states of the walks": one * examples * (model.rule_length + 3),
        "edges": 2 * graph.size.num_train * 50,
        "products of edges": 5 * CHUNK_BYTES,
        "ranking": 3 * one * rows_at_once(graph.num_entities, model.components),
    }
    return Plan(parts=parts, block_rows=model.block_rows, evaluation_chunk=CHUNK, budget=budget)


def _training(graph: Graph, options: DrumOptions) -> dict[str, int]:
    """What one step holds: attention for the queries of a batch, and two states of every step for each thread."""
    model, directed = options.model, 2 * graph.num_relations
    queries = min(2 * model.batch_size, directed)
    d, h, cells = model.query_embed_size, model.lstm_size, 2 * model.components
    weights = 4 * (directed * d + cells * (d + h + 1) * 4 * h + (2 * h + 1) * (directed + 1))
    attention = queries * model.rule_length * (directed + 1) * model.components
    state = 16 * graph.num_entities * (model.components + 1) * (model.rule_length + 2)
    generated = {}
    if model.generated:
        wide = model.generated_width
        weights += 4 * wide * (2 * WIDTH + d + 2 * h + 1)
        profiles = 16 * directed * directed  # of all relations, while they are described
        tables = 20 * (2 * h + 1 + wide) * directed  # what a step makes of keys, and their gradients
        facts = 120 * graph.size.num_train  # sorted by relation meanwhile
        generated = {"descriptions of relations": 40 * WIDTH * directed + profiles + tables + facts}
    return {
        **generated,
        "weights with gradient and moments": weights * (2 + options.training.optimizer.moments),
        "attention and its gradient": attention * 40,
        "LSTMs": cells * queries * h * 4 * 16 * model.rule_length,
        "states of the walks": state * THREADS,
    }


def _kept_attention(graph: Graph, options: DrumOptions) -> int:
    directed, model = 2 * graph.num_relations, options.model
    return min(ATTENTION_BYTES, 4 * directed * (directed + 1) * model.rule_length * model.components)


def _rules(graph: Graph, options: DrumOptions) -> dict[str, int]:
    """The model's weights, its rules and candidates, and the walkers that count them."""
    targets = len(options.targets) or graph.num_relations
    each = options.extracting.top + options.extracting.candidates
    walker = graph.num_entities * (16 + 16 * (options.model.rule_length + 2))
    return {
        "rules and candidates": targets * each * RULE_BYTES,
        "counting": walker * THREADS,
        "facts of the heads": graph.size.num_train * 164,
        "shown figures": 24 * MIB,
    }
