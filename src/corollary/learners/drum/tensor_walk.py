"""DRUM's step in tensors, for devices where compiled loops do not run: states of all examples at once, edges in chunks.

A step of the walk is one autograd function that keeps its input and its attention and nothing of the edges; backward
goes over the chunks again. Edges lie by owner, and each is there both ways, so that sums over edges into an entity
(forward) and out of it (backward) are sums over neighbouring rows: no two threads add to one number, and the same
bytes come out every time. Equal to `kernels.drum` (tests/learners/test_drum_tensors.py).

Memory: 4 * entities * examples * components bytes a step and one more, and three times as much of a chunk's edges.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt
from torch import Tensor

from corollary.budget import MIB
from corollary.kernels.paths import Links
from corollary.kernels.splitmix import FIRST, GOLDEN, SECOND

CHUNK_BYTES = 64 * MIB
"""Of one product of a chunk's edges with all examples."""

_STEP, _FIRST, _SECOND = (value.astype(np.int64).item() for value in (GOLDEN, FIRST, SECOND))


@dataclass(frozen=True)
class Chunk:
    """Neighbouring edges: a walk over `steps` leads from the owner to the target, over `backs` from target to owner."""

    owners: Int[Tensor, " edges"]
    targets: Int[Tensor, " edges"]
    steps: Int[Tensor, " edges"]
    backs: Int[Tensor, " edges"]
    held: Bool[Tensor, " edges"]
    """False for an edge that no example may use."""
    owner_runs: tuple[Int[Tensor, " runs"], Int[Tensor, " runs"]]
    """Owners once each, and how many edges each has here."""
    by_back: Int[Tensor, " edges"]
    """The edges in the order of `backs`."""
    back_runs: tuple[Int[Tensor, " back_runs"], Int[Tensor, " back_runs"]]


@dataclass(frozen=True)
class Own:
    """The examples' own edges, which each passes over: from start over `forward` to answer, and back."""

    starts: Int[Tensor, " examples"]
    answers: Int[Tensor, " examples"]
    forward: Int[Tensor, " examples"]
    backward: Int[Tensor, " examples"]


def chunks_of(
    links: Links,
    removed: UInt[np.ndarray, " edges_or_none"],
    num_relations: int,
    *,
    edges_per_chunk: int,
    device: torch.device,
) -> list[Chunk]:
    """All edges on the device, 50 bytes each."""
    owners = np.repeat(np.arange(len(links.segments) - 1), np.diff(links.segments))
    sizes = np.diff(links.starts)
    columns = [np.repeat(owners, sizes), links.targets.astype(np.int64), np.repeat(links.steps, sizes)]
    held = np.ones(len(links.targets), bool) if not len(removed) else removed == 0
    owner, target, step, kept = (torch.from_numpy(np.ascontiguousarray(c)) for c in (*columns, held))
    back = torch.where(step < num_relations, step + num_relations, step - num_relations)
    found = []
    for first in range(0, len(owner), edges_per_chunk):
        some = slice(first, first + edges_per_chunk)
        order = torch.argsort(back[some], stable=True)
        owner_runs = owner[some].unique_consecutive(return_counts=True)
        back_runs = back[some][order].unique_consecutive(return_counts=True)
        found.append(
            Chunk(
                owner[some].to(device),
                target[some].to(device),
                step[some].to(device),
                back[some].to(device),
                kept[some].to(device),
                (owner_runs[0].to(device), owner_runs[1].to(device)),
                order.to(device),
                (back_runs[0].to(device), back_runs[1].to(device)),
            )
        )
    return found


class _Step(torch.autograd.Function):
    """One step of all walks, unnormalised."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, attention: Tensor, chunks: list[Chunk], own: Own | None) -> Tensor:
        ctx.save_for_backward(state, attention)
        ctx.edges = (chunks, own)
        result = state * attention[-1]
        for chunk in chunks:
            carried = state[chunk.targets] * attention[chunk.backs] * _usable(chunk, own)
            _add_runs(result, carried, chunk.owner_runs)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        state, attention = ctx.saved_tensors
        chunks, own = ctx.edges
        to_state, to_attention = gradient * attention[-1], torch.zeros_like(attention)
        to_attention[-1] = (gradient * state).sum(0)
        for chunk in chunks:
            usable = _usable(chunk, own)
            _add_runs(to_state, gradient[chunk.targets] * attention[chunk.steps] * usable, chunk.owner_runs)
            products = gradient[chunk.owners] * state[chunk.targets] * usable
            _add_runs(to_attention, products[chunk.by_back], chunk.back_runs)
        return to_state, to_attention, None, None


def _usable(chunk: Chunk, own: Own | None) -> Tensor:
    """[edges, examples or 1, 1]: whether an example may use an edge."""
    held = chunk.held[:, None]
    if own is not None:
        owner, target, step = (part[:, None] for part in (chunk.owners, chunk.targets, chunk.steps))
        ahead = (owner == own.starts) & (step == own.forward) & (target == own.answers)
        behind = (owner == own.answers) & (step == own.backward) & (target == own.starts)
        held = held & ~(ahead | behind)
    return held[..., None]


def _add_runs(total: Tensor, rows: Tensor, runs: tuple[Tensor, Tensor]) -> None:
    """Add the sum of each run of rows to its place in `total`."""
    places, counts = runs
    flat = torch.segment_reduce(rows.flatten(1), "sum", lengths=counts, axis=0, unsafe=True)
    total[places] += flat.view(len(places), *rows.shape[1:])


def walked(
    attention: Float[Tensor, "examples steps operators components"],
    starts: Int[Tensor, " examples"],
    num_entities: int,
    chunks: list[Chunk],
    *,
    own: Own | None = None,
    keys: Int[Tensor, " examples"] | None = None,
    keep: float = 1.0,
) -> Float[Tensor, "entities examples components"]:
    """The unnormalised states after the last step. With `keys`, dropout on all states before it."""
    examples, steps, _, components = attention.shape
    state = attention.new_zeros(num_entities, examples, components)
    state[starts, torch.arange(examples, device=state.device)] = 1.0
    for step in range(steps):
        state = _Step.apply(state, attention[:, step].permute(1, 0, 2).contiguous(), chunks, own)
        if keys is not None and step + 1 < steps:
            entities = torch.arange(num_entities, device=state.device)[:, None]
            state = state * kept(keys, step + 1, entities, components, keep) / keep
    return state


def losses(
    attention: Float[Tensor, "examples steps operators components"],
    starts: Int[Tensor, " examples"],
    answers: Int[Tensor, " examples"],
    num_entities: int,
    chunks: list[Chunk],
    *,
    own: Own | None,
    normalise: bool,
    floor: float,
    keys: Int[Tensor, " examples"] | None = None,
    keep: float = 1.0,
) -> Float[Tensor, " examples"]:
    """-log of each answer's score; below the floor constant."""
    state = walked(attention, starts, num_entities, chunks, own=own, keys=keys, keep=keep)
    steps, components = attention.shape[1], attention.shape[3]
    there = state[answers, torch.arange(len(answers), device=state.device)]
    everywhere = torch.maximum(state.sum(0), there) if normalise else torch.ones_like(there)
    arrived = torch.where(there > 0, there / everywhere.clamp(min=torch.finfo(there.dtype).tiny), 0.0)
    if keys is not None:
        arrived = arrived * kept(keys, steps, answers, components, keep) / keep
    score = arrived.sum(1)
    return -torch.where(score > floor, score, floor).log()


def scores(
    attention: Float[Tensor, "rows steps operators components"],
    starts: Int[Tensor, " rows"],
    num_entities: int,
    chunks: list[Chunk],
    *,
    normalise: bool,
) -> Float[Tensor, "rows entities"]:
    """The score of every entity as the answer of each row."""
    state = walked(attention, starts, num_entities, chunks)
    if normalise:
        total = state.sum(0)
        state = state * torch.where(total > 0, 1 / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0)
    return state.sum(2).T


def kept(
    keys: Int[Tensor, " examples"], step: int, entities: Int[Tensor, "*where"], components: int, keep: float
) -> Bool[Tensor, "*all components"]:
    """Which entries of a state dropout keeps, as `kernels.drum.states.dropout_scale` decides.

    Unsigned numbers are told apart in int64 by turning their highest bit.
    """
    place = entities[..., None] * 64 + torch.arange(components, device=keys.device)
    stream = ((step + 1) * _STEP + 2**63) % 2**64 - 2**63  # wrapped, as the compiled loop wraps it
    mixed = _mixed(_mixed(keys + stream)[:, None] + place * _STEP)
    threshold = int(keep * 18446744073709551615.0) - 2**63
    return (mixed ^ -(2**63)) < threshold


def _mixed(numbers: Int[Tensor, "*all"]) -> Int[Tensor, "*all"]:
    """The output function of SplitMix64, in wrapping int64."""
    numbers = (numbers ^ _shifted(numbers, 30)) * _FIRST
    numbers = (numbers ^ _shifted(numbers, 27)) * _SECOND
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Int[Tensor, "*all"], by: int) -> Int[Tensor, "*all"]:
    """Unsigned shift to the right."""
    return (numbers >> by) & ((1 << (64 - by)) - 1)


def edges_per_chunk(examples: int, components: int) -> int:
    """Edges whose product with all examples takes `CHUNK_BYTES`; part of the order of sums."""
    return max(256, CHUNK_BYTES // (4 * max(1, examples) * components))


def rows_at_once(num_entities: int, components: int) -> int:
    """Queries whose states take about 256 MiB."""
    return max(1, 256 * MIB // (12 * num_entities * components))
