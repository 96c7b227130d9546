"""Given features are read for the right nodes, and their maps learn exactly."""

import numpy as np
import pytest
import torch

from corollary.graph.typed_links import TypedLinks
from corollary.learners.hgt.config import HgtConfig, LinksConfig, SamplingConfig
from corollary.learners.hgt.model import Hgt
from corollary.training.optimizers import OptimizerConfig
from corollary.training.steps import GradientSteps
from tests.learners.hgt.small import WAYS
from tests.learners.hgt.test_model import doubled, plain_loss


def given(links):
    """Five numbers for every node of the second type."""
    count = int(links.nodes.starts[2] - links.nodes.starts[1])
    return np.random.default_rng(0).standard_normal((count, 5))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("way", [None, "neighbors"])
def test_gradients_with_features_equal_the_plain_version(typed, way, alone):
    """Of the map and of the embeddings beside it; where features stand alone, embeddings of that type have none."""
    links = TypedLinks.of(typed)
    features = given(links)
    config = HgtConfig(hidden_dim=12, embedding_dim=8, attn=3, dropout=0.0, features_alone=alone)
    model = Hgt(config, links, num_relations=typed.num_relations, seed=0, features={1: features})
    sampling = None if way is None else SamplingConfig.build(WAYS[way])
    model = doubled(model.asks(typed, LinksConfig(folds=4), sampling)).train()
    steps = GradientSteps(model, OptimizerConfig(), device=model.device)
    model.entities.prepare_training(steps.table_rule)
    batch = model.batches(typed, seed=0, epoch=0)[0]
    ours = model.loss(batch).item()
    ((_, rows, table),) = model.entities._touched.merged()
    weight = model.features.maps["1"]
    found, weight.grad = weight.grad, None

    x = model.entities.parts["weight"].clone().requires_grad_()
    first, last = (int(links.nodes.starts[kind]) for kind in (1, 2))
    mapped = torch.from_numpy(features) @ weight.T
    middle = mapped if alone else x[first:last] + mapped
    whole = torch.cat([x[:first], middle, x[last:]])
    theirs = plain_loss(model, batch, whole if batch.rows is None else whole[batch.rows])
    theirs.backward()
    assert ours == pytest.approx(theirs.item(), abs=1e-10)
    torch.testing.assert_close(found, weight.grad, rtol=0, atol=1e-10)
    torch.testing.assert_close(table, x.grad[rows], rtol=0, atol=1e-10)
