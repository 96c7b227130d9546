"""How fast is an epoch over a taxonomy, beside gensim's, and how long does exact evaluation take?

`python bench/poincare.py` reads the NCBI cut and WordNet's nouns below COROLLARY_DATA. It times 975,896 pairs of the
cut (the first of one epoch's order, so a seeded sample of its closure) with 50 negatives in 10 dimensions on one and
two threads; WordNet's nouns at 10 negatives, beside gensim 4.4 where it is installed; and the ranks of all nouns'
ancestors, and of a fixed sample of 1,000 nodes. gensim's vectors are scored by our evaluator: its own counts the node
itself as a wrong answer. Prints a table, appends one line to results/poincare.jsonl.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from corollary.budget import peak_bytes
from corollary.cli.output import print_table, say
from corollary.evaluation.reconstruction import Space, reconstruct, sample_rows
from corollary.geometry.hyperbolic import from_ball
from corollary.graph.taxonomy import Taxonomy
from corollary.graph.taxonomy_import import TaxonomyImportConfig, import_taxonomy
from corollary.learners.poincare import Poincare, PoincareConfig
from corollary.training.poincare_steps import PoincareSteps
from record import machine_line, write_line

REFERENCE_PAIRS = 975_896
UNIFORM = {"degree": 0.0, "structural": 0.0}


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gensim-epochs", type=int, default=1)
    options = parser.parse_args()
    if "OMP_WAIT_POLICY" not in os.environ:  # as the command line sets it: a thread that waits sleeps
        passive = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        os.execve(sys.executable, [sys.executable, *sys.argv], passive)
    data = Path(os.environ["COROLLARY_DATA"]) / "taxonomy"
    cut, nouns = read(data / "ncbi-cut111k.tsv.gz"), read(data / "wordnet30-nouns.tsv.gz")
    line: dict[str, Any] = {**machine_line(), "load": os.getloadavg()[0], "repeats": options.repeats}
    rows = []
    for name, shares in (("uniform", UNIFORM), ("default", {})):
        for threads in (1, 2):
            model = {"dim": 10, "threads": threads, "negatives": {"count": 50, **shares}, "off_chain": 1}
            found = pass_seconds(cut, model, REFERENCE_PAIRS, options.repeats)
            line[f"epoch_{name}_{threads}"] = found
            rows.append([f"975,896 pairs of the cut, 50 {name} negatives, {threads} threads", found, "s"])
    model = {"dim": 10, "negatives": {"count": 10, **UNIFORM}, "off_chain": 1}
    ours = nouns.num_pairs / pass_seconds(nouns, model, nouns.num_pairs, options.repeats)
    line["positives_a_second"] = ours
    rows.append(["nouns, 10 uniform negatives", ours, "positives/s"])
    if find_spec("gensim") is None:
        say("gensim is not installed, so it is left out: pip install gensim==4.4.0")
    else:
        line |= gensim(nouns, options.gensim_epochs)
        line["ratio"] = ours / line["gensim_positives_a_second"]
        rows += [
            ["gensim, nouns, 10 negatives", line["gensim_positives_a_second"], "positives/s"],
            ["ratio", line["ratio"], "x"],
            [f"gensim after {options.gensim_epochs} epochs, scored by us", line["gensim_map"], "MAP"],
            ["", line["gensim_mean_rank"], "mean rank"],
        ]
    rows += evaluation(nouns, line)
    line["peak_bytes"] = peak_bytes()
    print_table(["what", "figure", ""], rows)
    write_line("poincare", line)


def read(path: Path) -> Taxonomy:
    """Its index."""
    with tempfile.TemporaryDirectory() as folder:
        return Taxonomy.of(import_taxonomy(Path(folder) / "graph", TaxonomyImportConfig(files=(path,))))


def pass_seconds(taxonomy: Taxonomy, model: dict[str, Any], pairs: int, repeats: int) -> float:
    """Median seconds for the first pairs of an epoch; one untimed pass before."""
    learner = Poincare(PoincareConfig.build(model), taxonomy, seed=0)
    steps, seconds = PoincareSteps(learner), []
    for epoch in range(repeats + 1):
        whole = learner.batches(None, seed=0, epoch=epoch)[0]  # type: ignore[arg-type]
        batch = type(whole)(0, pairs, whole.key)
        seconds.append(timed(lambda: steps.update([batch], lr=0.1, update=1)))  # noqa: B023
    return statistics.median(seconds[1:])


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def gensim(taxonomy: Taxonomy, epochs: int) -> dict[str, Any]:
    """Its speed after its vocabulary is built and without burn-in, and its vectors in our evaluator."""
    from gensim.models.poincare import PoincareModel

    pairs = [(str(child), str(parent)) for child, parent in taxonomy.pairs(np.arange(taxonomy.num_pairs))]
    model = PoincareModel(pairs, size=10, negative=10, burn_in=0, seed=0)
    seconds = timed(lambda: model.train(epochs=epochs, batch_size=10, print_every=10**9))
    points = np.stack([model.kv[str(row)] for row in range(len(taxonomy))]).astype(np.float64)
    found = reconstruct(Space.hyperbolic(from_ball(points)), taxonomy, sample_rows(taxonomy, None))
    return {
        "gensim": metadata.version("gensim"),
        "gensim_epochs": epochs,
        "gensim_positives_a_second": epochs * len(pairs) / seconds,
        "gensim_map": found.map,
        "gensim_mean_rank": found.mean_rank,
    }


def evaluation(taxonomy: Taxonomy, line: dict[str, Any]) -> list[list[Any]]:
    """Seconds of exact ranks in 10 dimensions, of all nodes and of a sample, with one thread."""
    learner = Poincare(PoincareConfig(), taxonomy, seed=0)
    space, rows = Space.hyperbolic(learner.embeddings), []
    for name, count in (("sample of 1,000", 1000), ("all nouns", None)):
        nodes = sample_rows(taxonomy, count)
        reconstruct(space, taxonomy, nodes[:10])
        line[f"evaluation of {name}"] = timed(lambda: reconstruct(space, taxonomy, nodes))  # noqa: B023
        rows.append([f"exact ranks, {name}", line[f"evaluation of {name}"], "s"])
    return rows


if __name__ == "__main__":
    main()
