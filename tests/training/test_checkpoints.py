"""A checkpoint is whole or refused by the name of the file, and what was saved comes back to the byte."""

import json
import re
import resource

import pytest
import torch
from safetensors.torch import load_file

from corollary.errors import RunDamaged, StorageError
from corollary.learners import entity_table
from corollary.learners.conve import ConvE
from corollary.training import checkpoints
from corollary.training.averaging import Average, tensors
from corollary.training.optimizers import OptimizerConfig
from corollary.training.steps import GradientSteps
from tests.learners.small_conve import config
from tests.training.test_loop import damage

POSITION = {
    "epoch": 3,
    "step": 2,
    "updates": 17,
    "learning_rate": 0.1 + 0.2,
    "averaged": False,
    "loop": {"x": 1 / 3},
}


def learner(seed=0, entities=30, **model):
    return ConvE(config(**model), num_entities=entities, num_relations=3, seed=seed)


def trained(seed=0, **model):
    """A learner with optimiser states and an average that are not what they start as."""
    made = learner(seed, **model)
    steps = GradientSteps(made, OptimizerConfig(), device=torch.device("cpu"))
    average = Average(made, 0.9)
    rng = torch.Generator().manual_seed(seed)
    for value in made.entities.moments.values():
        value.copy_(torch.rand(value.shape, generator=rng))
    for value in (*(m for state in steps.moments.values() for m in state.values()), *average.values.values()):
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=rng))
    return made, steps, average


def everything(made, steps, average):
    """Every tensor of a training by name."""
    found = dict(tensors(made))
    found |= {
        f"state {name}.{moment}": v for name, state in steps.moments.items() for moment, v in state.items()
    }
    found |= {f"average {name}": value for name, value in average.values.items()}
    return found | {f"table {name}": value for name, value in made.entities.moments.items()}


@pytest.mark.parametrize("block_rows", [1, 7, 30])
def test_what_was_saved_comes_back(tmp_path, block_rows):
    """Weights, buffers, moments, average, and numbers of the position to the last bit."""
    parts = trained(1, block_rows=block_rows)
    checkpoints.save(tmp_path / "c", *parts, position=POSITION)
    other = trained(2, block_rows=block_rows)
    manifest = checkpoints.load(tmp_path / "c", *other)
    saved, loaded = everything(*parts), everything(*other)
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)
    assert {name: getattr(manifest, name) for name in POSITION} == POSITION


def test_rows_lie_in_files_of_whole_blocks(tmp_path, monkeypatch):
    """Named by their first row; nothing in them depends on who wrote them."""
    monkeypatch.setattr(entity_table, "ROW_FILE_BLOCKS", 16)
    made = learner(block_rows=1)
    checkpoints.save(tmp_path / "c", made, position=POSITION)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "entities-0000000.safetensors",
        "entities-0000016.safetensors",
        "manifest.json",
        "weights.safetensors",
    ]
    second = load_file(tmp_path / "c" / "entities-0000016.safetensors")
    assert torch.equal(second["weight"], made.entities.parts["weight"][16:])
    checkpoints.save(tmp_path / "d", made, position=POSITION)
    for name in ("manifest.json", "weights.safetensors", "entities-0000016.safetensors"):
        assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "d" / name).read_bytes()


@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
@pytest.mark.parametrize("name", ["weights.safetensors", "entities-0000000.safetensors"])
def test_a_damaged_file_is_named_and_nothing_is_loaded(tmp_path, name, how):
    """One bit is enough."""
    checkpoints.save(tmp_path / "c", learner(1), position=POSITION)
    damage(tmp_path / "c" / name, how)
    other = learner(2)
    before = {key: value.clone() for key, value in tensors(other).items()}
    with pytest.raises(RunDamaged) as caught:
        checkpoints.load(tmp_path / "c", other)
    assert str(caught.value) == (
        f"{tmp_path / 'c' / name} is missing or has changed since it was written: use another checkpoint"
    )
    assert all(torch.equal(value, before[key]) for key, value in tensors(other).items())


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"format": "one"}', "\x80"])
def test_a_damaged_manifest_is_named(tmp_path, content):
    """Absent, cut off, or not what it should be."""
    checkpoints.save(tmp_path / "c", learner(), position=POSITION)
    manifest = tmp_path / "c" / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_bytes(content.encode("latin-1"))
    with pytest.raises(
        RunDamaged, match=re.escape(f"{manifest} is missing or damaged: use another checkpoint")
    ):
        checkpoints.load(tmp_path / "c", learner())


def test_a_changed_number_of_the_manifest_is_named(tmp_path):
    """A learning rate that is another number is no less wrong than a weight that is."""
    checkpoints.save(tmp_path / "c", learner(), position=POSITION)
    manifest = tmp_path / "c" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"updates": 17', '"updates": 19'))
    with pytest.raises(
        RunDamaged, match=re.escape(f"{manifest} is missing or damaged: use another checkpoint")
    ):
        checkpoints.load(tmp_path / "c", learner())


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    """A training chooses a new best/ while it is evaluated: one whole checkpoint is loaded, never parts of two."""
    checkpoints.save(tmp_path / "c", learner(1), position=POSITION)
    fill, replaced = checkpoints._fill, []

    def meanwhile(path, targets):
        if not replaced:
            replaced.append(path)
            checkpoints.save(tmp_path / "c", learner(2), position=POSITION, replace=True)
        fill(path, targets)

    monkeypatch.setattr(checkpoints, "_fill", meanwhile)
    other = learner(3)
    checkpoints.load(tmp_path / "c", other)
    expected = tensors(learner(2))
    assert all(torch.equal(value, expected[name]) for name, value in tensors(other).items())


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system limits no file sizes")
def test_a_disk_that_refuses_a_checkpoint_is_told_with_both_sizes(tmp_path):
    """Which checkpoint, its bytes, the bytes that are free; the one that stood there is whole."""
    checkpoints.save(tmp_path / "c", learner(1), position=POSITION)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError) as caught:
            checkpoints.save(tmp_path / "c", learner(2), position=POSITION, replace=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert re.fullmatch(
        re.escape(
            f"{tmp_path / 'c'} was not written: files on this disk or of this process (ulimit -f) may not be "
        )
        + r"that large: choose another place \(the checkpoint takes [\d,]+ bytes, and [\d,]+ are free\)",
        str(caught.value),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    other = learner(3)
    checkpoints.load(tmp_path / "c", other)
    assert torch.equal(tensors(other)["relations"], tensors(learner(1))["relations"])


def test_a_later_format_is_refused(tmp_path):
    """With both numbers."""
    checkpoints.save(tmp_path / "c", learner(), position=POSITION)
    manifest = tmp_path / "c" / "manifest.json"
    values = json.loads(manifest.read_text())
    del values["seal"]
    manifest.write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(RunDamaged, match="c has checkpoint format 99; this version reads 1"):
        checkpoints.load(tmp_path / "c", learner())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"entities": 29}, r"entities-0000028\.safetensors does not fit this model: '(bias|weight)' is \(2"),
        ({"entity_bias": False}, r"does not fit this model: 'bias' is in one of them only"),
        (
            {"conv_bias": False},
            r"weights\.safetensors does not fit this model: 'filter_bias' is in one of them only",
        ),
        ({"embedding_dim": 20}, r"weights\.safetensors does not fit this model: '\w+' is \(.*\), not \("),
    ],
)
def test_another_models_checkpoint_is_refused(tmp_path, model, message):
    """By the first thing that does not fit."""
    checkpoints.save(tmp_path / "c", learner(), position=POSITION)
    with pytest.raises(RunDamaged, match=message):
        checkpoints.load(tmp_path / "c", learner(**model))


def test_without_moments_it_cannot_be_resumed_from(tmp_path):
    """What is kept for influence analysis alone says what it lacks."""
    checkpoints.save(tmp_path / "c", learner(), position=POSITION)
    made, steps, _ = trained(2)
    with pytest.raises(RunDamaged, match=r"optimizer\.safetensors cannot be read"):
        checkpoints.load(tmp_path / "c", made, steps)


def test_an_older_checkpoint_is_replaced_as_a_whole(tmp_path):
    """Only when that is asked for."""
    for seed in (1, 2):
        checkpoints.save(tmp_path / "c", learner(seed), position=POSITION, replace=True)
    other = learner(3)
    checkpoints.load(tmp_path / "c", other)
    assert torch.equal(tensors(other)["relations"], tensors(learner(2))["relations"])
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
