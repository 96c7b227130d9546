"""Batches of a typed graph for models that are trained elsewhere: what HGT trains on, as plain tensors or for PyG."""

from collections.abc import Iterator

from corollary.errors import RunError
from corollary.graph.folder import Graph
from corollary.graph.typed_links import TypedLinks
from corollary.learners.hgt.parts import epoch_batches
from corollary.learners.hgt.questions import Links
from corollary.learners.hgt.typed_batch import TypedBatch, typed_batch
from corollary.runs.hgt.options import HgtOptions
from corollary.runs.run import Run


def typed_batches(
    source: Graph | Run, config: HgtOptions | None = None, *, epoch: int = 0
) -> Iterator[TypedBatch]:
    """The batches of one epoch, the same that `train_hgt` takes: `nodes`, `edges` and `asked` by type, and `to_pyg()`.

    What is asked is no message of its batch, as `links` and `sampling` of the configuration say; seed and epoch decide
    what is drawn. Embedding all nodes takes the whole graph: `sampling.name` is for training alone.

    Args:
        source: a graph, or a run of HGT with its graph and configuration.
        config: for a graph; a run has its own.

    Raises `RunError` for a run of another learner. Memory: about 150 bytes a training triple, and 16 a message of a batch.
    """
    if isinstance(source, Run):
        if not isinstance(source.options, HgtOptions) or config is not None:
            raise RunError(
                f"{source.path} is a run of {source.kind.name}, whose options are its own: give its graph and the "
                "HgtOptions that say what is asked and drawn"
            )
        graph, options = source.graph, source.options
    else:
        graph, options = source, config or HgtOptions()
    links = Links(graph, options.links, TypedLinks.of(graph))
    return (
        typed_batch(batch, links)
        for batch in epoch_batches(links, options.sampling, seed=options.seed, epoch=epoch)
    )
