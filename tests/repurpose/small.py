"""A graph of drugs, diseases, genes and classes, small enough to be counted by hand, with signal in it."""

from pathlib import Path

import numpy as np

from corollary.graph.folder import Graph, write_graph

RELATIONS = [
    "treats",
    "contraindicated",
    "binds",
    "associates",
    "resembles",
    "drug_like",
    "in_class",
    "interacts",
]
DRUGS, DISEASES, GENES, CLASSES = 30, 24, 20, 4


def drug_graph(path: Path, *, swap: int | None = None, seed: int = 0) -> Graph:
    """Drugs of a class bind like genes; diseases of a kind are associated with them and treated by the class.

    Args:
        swap: a disease whose treatments and contraindications are others; everything else stays.
    """
    rng = np.random.default_rng(seed)
    drugs, diseases = np.arange(DRUGS), DRUGS + np.arange(DISEASES)
    genes = DRUGS + DISEASES + np.arange(GENES)
    classes = DRUGS + DISEASES + GENES + np.arange(CLASSES)
    found = []
    for drug in drugs:
        found += [(drug, 6, classes[drug % CLASSES])]
        found += [
            (drug, 2, genes[(drug % CLASSES) + CLASSES * step]) for step in rng.choice(5, 2, replace=False)
        ]
    for disease in diseases:
        kind = disease % CLASSES
        found += [(disease, 3, genes[kind + CLASSES * step]) for step in rng.choice(5, 2, replace=False)]
        mates = drugs[drugs % CLASSES == kind]
        others = drugs[drugs % CLASSES != kind]
        treated, refuted = rng.choice(mates, 3, replace=False), rng.choice(others, 2, replace=False)
        if swap is not None and disease == DRUGS + swap:
            treated, refuted = others[:4], mates[:3]
        found += [(drug, 0, disease) for drug in treated] + [(drug, 1, disease) for drug in refuted]
    found += [(a, 4, a + CLASSES) for a in diseases[:-CLASSES]]
    found += [(a, 5, a + CLASSES) for a in drugs[:-CLASSES:2]]
    found += [(genes[a], 7, genes[a + 1]) for a in range(GENES - 1)]
    types = ["Drug"] * DRUGS + ["Disease"] * DISEASES + ["Gene"] * GENES + ["Class"] * CLASSES
    return write_graph(
        path,
        name="drugs",
        labels=[f"n{row}" for row in range(len(types))],
        relations=RELATIONS,
        triples={"train": np.array(found)},
        names=[f"{kind} {row}" for row, kind in enumerate(types)],
        types=types,
    )
