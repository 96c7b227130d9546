"""Target relations in groups that are trained one after the other, several times round, with shared weights.

A turn is one group in one rotation. Groups are drawn anew for every rotation, or put together by relatedness (relations
whose facts have much the same entities), and balanced by facts.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int, UInt
from pydantic import PositiveInt

from corollary.config import Config
from corollary.errors import ConfigError
from corollary.randomness import generator

_HASHES = 64


class GroupsConfig(Config):
    """How targets are cut into groups."""

    target_batch_size: PositiveInt | None = None
    """Targets in a group; not set: all targets are trained together."""
    epochs_per_group: PositiveInt = 5
    """Epochs before the next group's turn."""
    rotations: PositiveInt = 2
    """Times that every target has its turn. After one, shared weights still move a lot (measured: docs/drum.md)."""
    grouping: Literal["random", "related"] = "random"
    """random: drawn anew for every rotation; related: relations with the same entities together, always the same."""


@dataclass(frozen=True)
class Turn:
    """One group in one rotation; both count from 1."""

    rotation: int
    group: int
    targets: Int[np.ndarray, " targets"]

    @property
    def name(self) -> str:
        return f"rotation-{self.rotation}-group-{self.group:03d}"


def turns_of(config: GroupsConfig, triples: Int[np.ndarray, "n 3"], *, seed: int) -> list[Turn]:
    """All turns in their order. Raises `ConfigError` for a group larger than the targets."""
    assert config.target_batch_size is not None
    targets, sizes = np.unique(triples[:, 1], return_counts=True)
    if config.target_batch_size > len(targets):
        raise ConfigError(
            f"target_batch_size = {config.target_batch_size} is more than the {len(targets)} targets that have "
            f"facts: use {len(targets)} or less, or leave it out"
        )
    count = -(-len(targets) // config.target_batch_size)
    turns = []
    for rotation in range(1, config.rotations + 1):
        if config.grouping == "related":
            groups = _related(targets.astype(np.int64), triples, count)
        else:
            groups = _balanced(
                targets.astype(np.int64), sizes, count, config.target_batch_size, seed, rotation
            )
        turns += [Turn(rotation, number, np.sort(group)) for number, group in enumerate(groups, start=1)]
    return turns


def _balanced(
    targets: Int[np.ndarray, " targets"], sizes: Int[np.ndarray, " targets"], count: int, most: int, seed: int,
    rotation: int,
) -> list[np.ndarray]:  # fmt: skip
    """Groups of like sums of facts: the largest target goes where there are fewest facts, draws decide among equals."""
    draw = generator(seed, "groups", rotation).permutation(len(targets))
    order = draw[np.argsort(-sizes[draw], kind="stable")]
    groups: list[list[int]] = [[] for _ in range(count)]
    facts = np.zeros(count, np.int64)
    shuffled = generator(seed, "group order", rotation).permutation(count)
    for at in order.tolist():
        open_ = [number for number in shuffled.tolist() if len(groups[number]) < most]
        chosen = min(open_, key=lambda number: (facts[number], len(groups[number])))
        groups[chosen].append(int(targets[at]))
        facts[chosen] += sizes[at]
    return [np.array(group, np.int64) for group in groups if group]


def _related(
    targets: Int[np.ndarray, " targets"], triples: Int[np.ndarray, "n 3"], count: int
) -> list[np.ndarray]:
    """Neighbouring relations in the order of the least hash values of their entities."""
    signatures = np.stack([_signature(triples[triples[:, 1] == target]) for target in targets.tolist()])
    left = list(range(len(targets)))
    order = [left.pop(0)]
    while left:
        alike = [(signatures[order[-1]] == signatures[other]).sum() for other in left]
        order.append(left.pop(int(np.argmax(alike))))
    return [targets[np.array(part)] for part in np.array_split(np.array(order), count)]


def _signature(triples: Int[np.ndarray, "n 3"]) -> UInt[np.ndarray, " hashes"]:
    """The least hash values of its entities (Broder 1997)."""
    entities = np.unique(triples[:, [0, 2]]).astype(np.uint64)
    keys = generator(0, "relatedness").integers(1, 2**62, _HASHES, dtype=np.uint64)
    values = (entities[:, None] + keys) * np.uint64(0x9E3779B97F4A7C15)
    values ^= values >> np.uint64(32)
    return (values * np.uint64(0xD6E8FEB86659FD93)).min(0)
