"""A layer gives what its plain version gives, in value and gradient, however its edges are walked over."""

import numpy as np
import pytest
import torch

from corollary.graph.typed_links import TypedLinks, TypedRows
from corollary.learners.hgt import tensor_edges
from corollary.learners.hgt.config import HgtConfig
from corollary.learners.hgt.edges import CompiledEdges
from corollary.learners.hgt.layer import Layer, gelu_slope
from corollary.learners.hgt.tensor_edges import TensorEdges
from corollary.learners.protocol import Place
from tests.reference import hgt as plain

CPU = torch.device("cpu")
CLOSE = {"rtol": 0, "atol": 1e-10}  # sums of some hundred float64 products of about one


def small_links(block_rows=5):
    """23 nodes of 3 types, 4 relations, 90 edges with loops and duplicates; type 2 has a node without edges."""
    rng = np.random.default_rng(0)
    nodes = TypedRows.sorted_by(rng.integers(0, 3, 23), ["drug", "gene", "disease"])
    head, tail = rng.integers(0, 22, 90), rng.integers(0, 22, 90)
    return TypedLinks.build(nodes, head, rng.integers(0, 4, 90), tail, 4, block_rows=block_rows)


def small_layer(links, convolution, dropout=0.0):
    config = HgtConfig(hidden_dim=12, attn=3, convolution=convolution, dropout=dropout)
    module = Layer(config, links, 8, 0, 1).double()
    generator = torch.Generator().manual_seed(1)
    for _, parameter in module.named_parameters():  # no weight is left at a value that hides a mistake
        parameter.data.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    return module


def one_pass(module, links, edges, x, weight, place=None):
    """Output, gradient of the input, gradients of the weights."""
    for parameter in module.parameters():
        parameter.grad = None
    out, saved = module(x, links, edges, place)
    back = module.backward(weight.clone(), saved, links, edges, place)
    return [out.clone(), back, *(p.grad for _, p in sorted(module.named_parameters()))]


def inputs(links):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(len(links.nodes), 12, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("way", ["compiled", "tensor"])
@pytest.mark.parametrize("removing", [False, True])
@pytest.mark.parametrize("convolution", ["hgt", "gat", "rgcn"])
def test_a_layer_equals_its_plain_version(convolution, removing, way, monkeypatch):
    """Value and every gradient, to 1e-10 in float64; also where some triples carry no message."""
    monkeypatch.setattr(tensor_edges, "EDGES_PER_CHUNK", 7)
    links = small_links()
    removed = (np.random.default_rng(2).random(90) < 0.3).astype(np.uint8) if removing else None
    edges = CompiledEdges(links, removed) if way == "compiled" else TensorEdges(links, removed, CPU)
    module, (x, weight) = small_layer(links, convolution), inputs(links)
    ours = one_pass(module, links, edges, x, weight)

    for parameter in module.parameters():
        parameter.grad = None
    given = x.clone().requires_grad_()
    out = plain.layer(module, given, links, removed)
    (out * weight).sum().backward()
    theirs = [out.detach(), given.grad, *(p.grad for _, p in sorted(module.named_parameters()))]
    names = ["out", "x", *sorted(dict(module.named_parameters()))]
    for name, one, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("convolution", ["hgt", "gat", "rgcn"])
def test_blocks_change_no_number(convolution):
    """How rows are cut decides the order of sums alone."""
    small, whole = small_links(block_rows=2), small_links(block_rows=4096)
    module, (x, weight) = small_layer(small, convolution), inputs(small)
    place = Place(0, 1, 2)
    for one, other in zip(
        one_pass(module, small, CompiledEdges(small, None), x, weight, place),
        one_pass(module, whole, CompiledEdges(whole, None), x, weight, place),
        strict=True,
    ):
        torch.testing.assert_close(one, other, **CLOSE)


def test_dropout_is_the_same_forward_and_backward():
    """The gradient is that of the very mask that the value was made with."""
    links = small_links()
    module, (x, weight) = small_layer(links, "hgt", dropout=0.5), inputs(links)
    place, edges = Place(0, 3, 4), CompiledEdges(links, None)
    ours = one_pass(module, links, edges, x, weight, place)
    mask = module.dropout.scaled_rows(slice(0, len(x)), 12, place, like=x)
    given = x.clone().requires_grad_()
    out = plain.layer(module, given, links, mask=mask)
    (out * weight).sum().backward()
    torch.testing.assert_close(ours[0], out.detach(), **CLOSE)
    torch.testing.assert_close(ours[1], given.grad, **CLOSE)


def test_a_node_without_messages_gets_none():
    """Its softmax goes over nothing: the message is zero, not a number that is none."""
    links = small_links()
    module, (x, _) = small_layer(links, "hgt"), inputs(links)
    _, saved = module(x, links, CompiledEdges(links, np.ones(90, np.uint8)))
    assert torch.equal(saved.messages, torch.zeros_like(x))
    assert saved.log_mass.isfinite().all()


def test_gelu_slope_is_its_derivative():
    x = torch.linspace(-6, 6, 101, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.gelu(x).sum().backward()
    torch.testing.assert_close(gelu_slope(x.detach()), x.grad, rtol=0, atol=1e-14)
