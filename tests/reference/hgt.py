"""A layer of HGT, GAT or R-GCN written as in the papers: keys and values for every edge, torch's own autograd."""

import math

import numpy as np
import torch
from torch.nn.functional import gelu, leaky_relu


def edges_of(links, removed=None):
    """(source row, edge type, target row) of every message, by a plain walk over the segments."""
    found = []
    for number, (_, rows) in enumerate(links.nodes.blocks(links.block_rows)):
        for segment in links.segments(number):
            for place, row in enumerate(segment.rows.tolist()):
                for edge in range(int(segment.bounds[place]), int(segment.bounds[place + 1])):
                    if removed is None or not removed[links.edges[edge]]:
                        found.append((int(links.sources[edge]), segment.kind, rows.start + row))
    return found


def softmax_over_targets(logits, target, rows):
    """Each column's softmax over the edges into the same row."""
    weights = torch.zeros_like(logits)
    for row in range(rows):
        chosen = target == row
        if chosen.any():
            weights[chosen] = torch.softmax(logits[chosen], 0)
    return weights


def typed(linear, x, kinds):
    """A linear map by node type, row by row."""
    return torch.einsum("nod,nd->no", linear.weight[kinds], x) + linear.bias[kinds]


def layer(module, x, links, removed=None, mask=None):
    """The output of `module`, a `learners.hgt.layer.Layer`, from its weights alone."""
    kinds = torch.tensor(links.nodes.types_of(np.arange(len(x))))
    source, edge_type, target = torch.tensor(edges_of(links, removed)).reshape(-1, 3).T
    relation = torch.tensor([kind.relation for kind in links.edge_types])[edge_type]
    convolution = module.convolution
    attn, name = convolution.attn, type(convolution).__name__
    depth = x.shape[1] // attn

    def heads(values):
        return values.reshape(len(values), attn, depth)

    if name == "HgtConvolution":
        query, key, value = (
            heads(typed(linear, x, kinds))
            for linear in (convolution.query, convolution.key, convolution.value)
        )
        key_of_edge = torch.einsum("ehj,ehji->ehi", key[source], convolution.attention[relation])
        logits = (query[target] * key_of_edge).sum(-1) * convolution.prior[edge_type] / math.sqrt(depth)
        made = torch.einsum("ehj,ehji->ehi", value[source], convolution.message[relation])
        weights = softmax_over_targets(logits, target, len(x))
        messages = torch.zeros_like(value).index_add(0, target, weights[..., None] * made).flatten(1)
    elif name == "GatConvolution":
        value = heads(typed(convolution.value, x, kinds))
        own = (value * heads(convolution.own[kinds])).sum(-1)
        other = (value * heads(convolution.other[kinds])).sum(-1)
        logits = leaky_relu(own[target] + convolution.offset[edge_type] + other[source], 0.2)
        weights = softmax_over_targets(logits, target, len(x))
        messages = torch.zeros_like(value).index_add(0, target, weights[..., None] * value[source]).flatten(1)
    else:
        messages = typed(convolution.own, x, kinds)
        for number in range(len(links.edge_types)):
            for row in range(len(x)):
                chosen = (edge_type == number) & (target == row)
                if chosen.any():
                    mean = heads(x[source[chosen]]).mean(0)
                    matrix = convolution.message[links.edge_types[number].relation]
                    made = torch.einsum("hj,hji->hi", mean, matrix).flatten()
                    messages = messages.index_add(0, torch.tensor([row]), made[None])
    added = typed(module.update, gelu(messages), kinds)
    gate = module.gate[kinds].sigmoid()[:, None]
    return gate * (added if mask is None else added * mask) + (1 - gate) * x
