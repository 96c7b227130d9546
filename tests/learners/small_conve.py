"""Small ConvE models in float64 and batches for them."""

import torch
from torch import Tensor

from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.protocol import Batch, Place, Queries
from tests.reference.conve import PlainConvE

ENTITIES, RELATIONS = 23, 3


class Recorder:
    """An update rule that only notes the gradients of the table, block after block."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def state(self, weight):
        return {}

    def update(self, weight, gradient, state, *, step, lr):
        self.seen.append(gradient.clone())


def config(**values) -> ConvEConfig:
    """Images of 3 x 4, everything random on."""
    return ConvEConfig(**{"embedding_dim": 12, "channels": 4, "block_rows": 7} | values)


def pair(settings: ConvEConfig) -> tuple[ConvE, PlainConvE]:
    """The learner and its plain twin, with the same weights, none of them zero or one."""
    learner = ConvE(settings, num_entities=ENTITIES, num_relations=RELATIONS, seed=1).double()
    learner.entities.parts = {name: part.double() for name, part in learner.entities.parts.items()}
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in (*learner.parameters(), *learner.entities.parts.values()):
            value.copy_(torch.randn(value.shape, generator=rng, dtype=torch.float64) / 2)
    return learner, PlainConvE(settings, ENTITIES, RELATIONS).copy(learner)


def batch(counts: tuple[int, ...] = (1, 2, 5, 0, 1, 20)) -> Batch:
    """Six queries with so many answers each. Entity 4 is asked about three times and is an answer too."""
    rng = torch.Generator().manual_seed(2)
    answers = [torch.randperm(ENTITIES, generator=rng)[:count] for count in counts]
    answers[1][0] = 4 if 4 not in answers[1] else answers[1][0]
    heads, relations = torch.tensor([4, 0, 4, 22, 4, 9]), torch.tensor([0, 5, 3, 1, 0, 2])
    offsets = torch.tensor([0, *counts]).cumsum(0)
    return Batch(Queries(heads, relations), offsets, torch.cat(answers), Place(seed=3, epoch=1, step=4))


def gradients(learner: ConvE) -> dict[str, Tensor]:
    """All gradients of a learner whose `loss` was made and walked back; uses up those of the table."""
    found = {name: parameter.grad for name, parameter in learner.named_parameters()}
    recorder, parts = Recorder(), list(learner.entities.parts)
    learner.entities.update(recorder, step=1, lr=0.0)
    for i, name in enumerate(parts):
        found[f"entities.{name}"] = torch.cat(recorder.seen[i :: len(parts)])
    return found
