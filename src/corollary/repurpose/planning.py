"""Bytes of a whole pipeline, by part, before it starts."""

from corollary.budget import Budget, Plan, resident_bytes
from corollary.graph.folder import Graph
from corollary.learners.planning import LATER_BYTES
from corollary.messages import silent
from corollary.repurpose.config import RepurposeConfig
from corollary.repurpose.learned import Learned, Recipe
from corollary.repurpose.pairs import Pairs
from corollary.runs.device import choose_device
from corollary.runs.kinds import kind_of

_EDGE_BYTES = 100
"""Of each edge while steps and evidence are made of it."""
_COUNTED = 150
"""Features of a pair that are counted, where a graph has many relations (114 on Hetionet)."""
_EXAMPLE_BYTES = 18
"""Of each feature of a draw's examples while trees learn from them: the number, XGBoost's own twice and its bins
(measured: 12 to 16 with 1,174 features)."""
_ROW_BYTES = 32
"""Of each feature of a pair while a row is scored: as they are, for trees, and in float64 for the regression."""
_READ_BYTES = 40
"""Of each number of a file of vectors while it is read (measured: 17 for text, 37 for Parquet)."""
_LINE_BYTES = 1 << 10
"""Of each answer until the Parquet file is made of them."""
_TREES_BYTES = 200 << 20
"""XGBoost and scikit-learn, loaded, with their trees (measured on Hetionet: 150 MiB)."""


def plan_repurposing(
    graph: Graph, pairs: Pairs, config: RepurposeConfig, learned: Learned, *, loaded: int | None = None
) -> Plan:
    """What the pipeline will use: learners, classifiers and figures come one after the other, so the largest counts. Raises `PlanDoesNotFit` with what would fit."""
    held = resident_bytes() if loaded is None else loaded
    budget = Budget.parse(config.memory_limit)
    plan = _planned(graph, pairs, config, learned, held, budget)
    fewer = config.classifier.changed(negatives=5)
    plain = config.embeddings.changed(elementwise=False)
    remedies = {
        "--set classifier.negatives=5": _planned(
            graph, pairs, config.changed(classifier=fewer), learned, held, budget
        ).total,
        "--set embeddings.elementwise=false": _planned(
            graph, pairs, config.changed(embeddings=plain), learned, held, budget
        ).total,
    }
    return plan.check(f"repurposing on {graph.name}", remedies)


def _planned(
    graph: Graph, pairs: Pairs, config: RepurposeConfig, learned: Learned, held: int, budget: Budget
) -> Plan:
    edges = sum(graph.info.num_triples.values())
    matrix = 4 * len(pairs.rows) * len(pairs.columns)
    features = _COUNTED + (2 * learned.dim if config.embeddings.elementwise else 0)
    classifier = config.classifier
    examples = len(pairs.known) * (1 + classifier.negatives) + len(pairs.negatives)
    answers = len(pairs.rows) * min(config.top, len(pairs.columns))
    learning = {
        "features of a draw's examples": _EXAMPLE_BYTES * features * examples,
        "curves": 9 * len(pairs.rows) * len(pairs.columns),
        "features of a row": _ROW_BYTES * features * len(pairs.columns),
        "trees": _TREES_BYTES,
    }
    phases: list[dict[str, int]] = [
        {"reading the file of vectors": _READ_BYTES * learned.numbers_read},
        {"training of a learner": max((_training(graph, recipe) for recipe in learned.recipes), default=0)},
        learning,
        {"figures and normalised ranks": 5 * matrix},
        {"normalised ranks": 2 * matrix, "lines of the lists": _LINE_BYTES * answers},
    ]
    largest = max(phases, key=lambda phase: sum(phase.values()))
    return Plan(
        parts={"this process": held + LATER_BYTES, "edges": _EDGE_BYTES * edges, **largest},
        block_rows=1,
        evaluation_chunk=1,
        budget=budget,
    )


def _training(graph: Graph, recipe: Recipe) -> int:
    """What a learner takes beside this process."""
    device = choose_device(recipe.options.device, silent)
    options = recipe.options.changed(memory_limit=None)  # the whole is held against the limit, not its parts
    return kind_of(recipe.kind).plan(graph, options, device=device, loaded=0).total
