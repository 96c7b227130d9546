"""PyG's HGTConv with our weights gives our layer's output and gradients, where PyG is installed."""

import pytest
import torch

from corollary.learners.hgt.edges import CompiledEdges
from corollary.learners.hgt.typed_batch import TypedBatch, messages_by_type, typed_batch
from tests.learners.hgt.small import small_hgt
from tests.learners.hgt.test_layer import inputs, one_pass, small_layer, small_links

pytest.importorskip("torch_geometric", reason="PyG is not installed: pip install torch-geometric")


def with_our_weights(convolution, layer, links, data):
    """The same weights in PyG's places: its linear maps hold key, query and value of a type together."""
    own = layer.convolution
    names, kinds = links.nodes.names, {kind: number for number, kind in enumerate(links.edge_types)}
    with torch.no_grad():
        for number, name in enumerate(names):
            together = convolution.kqv_lin.lins[name]
            parts = (own.key, own.query, own.value)
            together.weight.copy_(torch.cat([part.weight[number] for part in parts]))
            together.bias.copy_(torch.cat([part.bias[number] for part in parts]))
            convolution.out_lin.lins[name].weight.copy_(layer.update.weight[number])
            convolution.out_lin.lins[name].bias.copy_(layer.update.bias[number])
            convolution.skip[name].copy_(layer.gate[number])
        for number, (source, relation, target) in enumerate(data.edge_types):
            directed = int(relation.removeprefix("rev_").removeprefix("r")) + 4 * relation.startswith("rev_")
            kind = kinds[names.index(source), directed, names.index(target)]
            convolution.p_rel["__".join((source, relation, target))].copy_(own.prior[kind][None])
            for head in range(own.attn):
                place = head * len(data.edge_types) + number
                convolution.k_rel.weight[place].copy_(own.attention[directed, head])
                convolution.v_rel.weight[place].copy_(own.message[directed, head])
    return convolution


def test_hgtconv_with_the_same_weights_gives_the_same():
    """Output and gradient of the input; float64, 1e-10."""
    from torch_geometric.nn import HGTConv

    links = small_links()
    layer, (x, weight) = small_layer(links, "hgt"), inputs(links)
    out, back, *_ = one_pass(layer, links, CompiledEdges(links, None), x, weight)

    data = TypedBatch({}, messages_by_type(links, [f"r{number}" for number in range(4)]), {}).to_pyg()
    given = x.clone().requires_grad_()
    bounds = links.nodes.starts.tolist()
    by_type = {name: given[bounds[i] : bounds[i + 1]] for i, name in enumerate(links.nodes.names)}
    convolution = HGTConv(12, 12, (list(by_type), data.edge_types), heads=3).double()
    made = with_our_weights(convolution, layer, links, data)(by_type, data.edge_index_dict)
    theirs = torch.cat([made[name] for name in links.nodes.names])
    (theirs * weight).sum().backward()
    torch.testing.assert_close(out, theirs.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(back, given.grad, rtol=0, atol=1e-10)


def test_a_batch_becomes_heterodata(typed):
    """Entity ids, messages and what is asked, where PyG's models look for them."""
    model = small_hgt(typed)
    batch = typed_batch(model.batches(typed, seed=0, epoch=0)[1], model.asking)
    data = batch.to_pyg()
    data.validate()
    assert data.node_types == list(batch.nodes)
    assert all(torch.equal(data[name].n_id, entity_ids) for name, entity_ids in batch.nodes.items())
    assert all(torch.equal(data[edge].edge_index, index) for edge, index in batch.edges.items())
    assert all(torch.equal(data[edge].edge_label_index, index) for edge, index in batch.asked.items())
