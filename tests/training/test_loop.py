"""The loop: steps that equal torch's own, the same bytes however it is run, and nothing lost when it stops."""

import json
import signal
from collections import Counter

import pytest
import torch
from torch.testing import assert_close

from corollary.budget import MIB
from corollary.errors import GraphError, RunError, TrainingDiverged, TrainingInterrupted
from corollary.graph.folder import write_graph
from corollary.learners.conve import ConvE
from corollary.records.run_folder import RunFolder
from corollary.training import checkpoints
from corollary.training.averaging import tensors
from tests.learners.small_conve import Recorder, gradients
from tests.training.lives import record, small_loop

SGD = {"optimizer": {"name": "sgd"}, "lr": 1.0}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # float32: a weight minus a gradient is rounded at the weight's last bit


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", {})


def copies(learner):
    return {name: value.clone() for name, value in tensors(learner).items()}


def batch_gradients(loop, number):
    """Gradients of one batch of the first epoch at the loop's first weights, by a learner of their own."""
    learner = ConvE(loop.learner.config, num_entities=30, num_relations=3, seed=1)
    learner.entities.prepare_training(Recorder())
    learner.loss(learner.batches(loop.graph, seed=loop.seed, epoch=0)[number]).backward()
    return gradients(learner)


def test_one_step_goes_against_the_gradient(tiny, run):
    """SGD with rate one takes the gradient of the whole batch away."""
    loop = small_loop(tiny, run, {"epochs": 1, **SGD}, validated=False, batch_size=10_000)
    gradient, before = batch_gradients(loop, 0), copies(loop.learner)
    assert loop.train().updates == 1
    for name, value in gradient.items():
        assert_close(tensors(loop.learner)[name], before[name] - value, **CLOSE)


@pytest.mark.parametrize("longest", [0.01, 1e6])
def test_clipping_equals_torchs_over_everything(tiny, run, longest):
    """One norm over parameters and table; a gradient that is short enough is left alone."""
    loop = small_loop(
        tiny, run, {"epochs": 1, "clip_norm": longest, **SGD}, validated=False, batch_size=10_000
    )
    before, clipped = copies(loop.learner), []
    for value in batch_gradients(loop, 0).values():
        clipped.append(torch.zeros_like(value).requires_grad_())
        clipped[-1].grad = value.clone()
    names = list(batch_gradients(loop, 0))
    torch.nn.utils.clip_grad_norm_(clipped, longest)
    loop.train()
    for name, value in zip(names, clipped, strict=True):
        assert_close(tensors(loop.learner)[name], before[name] - value.grad, **CLOSE)
    if longest < 1:
        change = sum((tensors(loop.learner)[name] - before[name]).double().square().sum() for name in names)
        assert change.sqrt().item() == pytest.approx(longest, rel=1e-4)


def test_accumulated_batches_make_one_mean_gradient(tiny, run):
    """Each with its own batch-norm statistics; the rest of an epoch is a step too."""
    steps = []
    loop = small_loop(
        tiny, run, {"epochs": 1, "accumulation": 3, **SGD}, validated=False, batch_size=40,
        told=lambda state: steps.append((state.step, copies(loop.learner))),
    )  # fmt: skip
    count = len(loop.learner.batches(tiny, seed=loop.seed, epoch=0))
    mean = {}
    for number in range(3):
        for name, value in batch_gradients(loop, number).items():
            mean[name] = mean.get(name, 0) + value / 3
    before = copies(loop.learner)
    loop.train()
    assert count % 3 != 0
    assert [step for step, _ in steps] == [*range(3, count, 3), count]
    for name, value in mean.items():
        assert_close(steps[0][1][name], before[name] - value, **CLOSE)


def test_a_last_group_of_fewer_batches_is_a_mean_too(tiny, run):
    """The loss of a step is the mean over the batches it has, as its gradient is."""
    found = []
    loop = small_loop(
        tiny, run, {"epochs": 1, "accumulation": 3, "lr": 1e-30}, validated=False, batch_size=40
    )
    loop.observer.stepped = lambda *, state, examples, loss, lr: found.append((examples, loss))
    loop.train()
    learner = ConvE(loop.learner.config, num_entities=30, num_relations=3, seed=1)
    batches = list(learner.batches(tiny, seed=loop.seed, epoch=0))
    losses = [learner.loss(batch).item() for batch in batches]
    assert len(batches) % 3 == 1
    assert found == [
        (sum(map(len, batches[:3])), pytest.approx(sum(losses[:3]) / 3)),
        (len(batches[3]), pytest.approx(losses[3])),
    ]


def test_the_average_is_taken_after_every_step_and_saved_last(tiny, run):
    """`final/` holds it; the steps themselves are those of a run without it."""
    seen = []
    loop = small_loop(
        tiny, run, {"epochs": 2, "average_decay": 0.3}, told=lambda state: seen.append(copies(loop.learner))
    )
    expected = copies(loop.learner)
    loop.train()
    for step, weights in enumerate(seen, 1):
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in weights.items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    manifest = checkpoints.load(run.checkpoint("final"), loop.learner)
    assert manifest.averaged
    for name, value in tensors(loop.learner).items():
        if value.is_floating_point():
            assert_close(value, expected[name], rtol=1e-5, atol=1e-6)  # float32, some forty steps
    alone = small_loop(tiny, RunFolder.create(run.path.parent / "alone", {}), {"epochs": 2})
    alone.train()
    assert all(torch.equal(value, seen[-1][name]) for name, value in tensors(alone.learner).items())


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "constant"}, [0.1] * 6),
        ({"name": "constant", "warmup": 0.5}, [0.1 / 3, 0.2 / 3, 0.1, 0.1, 0.1, 0.1]),
        ({"name": "exponential", "factor": 0.5}, [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]),
        ({"name": "cosine"}, [0.0933012701, 0.075, 0.05, 0.025, 0.0066987298, 0.0]),
    ],
)
def test_rates_follow_the_schedule_over_all_epochs(tiny, run, schedule, expected):
    """Two steps in each of three epochs; the last one of an epoch is in its line and its checkpoint."""
    rates, options = [], {"epochs": 3, "lr": 0.1, "schedule": schedule, "accumulation": 2}
    loop = small_loop(tiny, run, options, batch_size=60)
    loop.observer.stepped = lambda *, state, examples, loss, lr: rates.append(lr)
    loop.train()
    assert len(loop.learner.batches(tiny, seed=0, epoch=0)) in (3, 4)
    assert rates == pytest.approx(expected)
    assert [line["learning_rate"] for line in run.metrics()] == rates[1::2]
    assert checkpoints.read_manifest(run.checkpoint("epoch-0002")).learning_rate == rates[3]


def falling(loop, values):
    """Have the loop find these validation figures, one after another."""
    found = iter(values)
    loop.validate = lambda: {"mrr": next(found)}


def test_early_stopping_and_the_best_checkpoint(tiny, run):
    """It stops after so many validations without improvement; `best/` holds the weights of the best."""
    weights = {}
    loop = small_loop(tiny, run, {"epochs": 50, "validate_every": 2, "early_stopping": 3})
    falling(loop, [0.1, 0.3, 0.3, 0.2, 0.1])
    loop.observer.finished_epoch = lambda line: weights.update({line["epoch"]: copies(loop.learner)})
    result = loop.train()
    assert (result.epochs, result.stopped_early, result.best, result.best_epoch) == (10, True, 0.3, 4)
    assert [line["epoch"] for line in run.metrics() if "valid" in line] == [2, 4, 6, 8, 10]
    for name, epoch in (("best", 4), ("final", 10)):
        manifest = checkpoints.load(run.checkpoint(name), loop.learner)
        assert (manifest.epoch, manifest.averaged) == (epoch, False)
        assert all(torch.equal(value, weights[epoch][key]) for key, value in tensors(loop.learner).items())


def test_stopped_early_it_stays_stopped(tiny, run):
    """Resuming a run that has ended trains no further."""
    loop = small_loop(tiny, run, {"epochs": 50, "validate_every": 1, "early_stopping": 2})
    falling(loop, [0.3, 0.2, 0.1])
    first, before = loop.train(), record(run.path)
    again = small_loop(tiny, run, {"epochs": 50, "validate_every": 1, "early_stopping": 2})
    again.resume()
    second = again.train()
    assert (second.epochs, second.updates, second.best) == (3, first.updates, 0.3)
    assert record(run.path) == before


def test_plateau_lowers_the_rate(tiny, run):
    """From the epoch after the drop on."""
    schedule = {"name": "plateau", "patience": 2, "factor": 0.1}
    loop = small_loop(tiny, run, {"epochs": 6, "lr": 0.1, "validate_every": 1, "schedule": schedule})
    falling(loop, [0.3, 0.2, 0.1, 0.1, 0.1, 0.1])
    loop.train()
    assert [line["learning_rate"] for line in run.metrics()] == pytest.approx(
        [0.1, 0.1, 0.1, 0.01, 0.01, 0.001]
    )


def test_the_better_of_weights_and_average_becomes_the_best(tiny, run):
    """Both are validated, and both figures are in the line."""
    loop = small_loop(tiny, run, {"epochs": 2, "validate_every": 1, "average_decay": 0.9})
    falling(loop, [0.1, 0.2, 0.4, 0.3])
    best = []
    loop.observer.finished_epoch = lambda line: best.append(
        checkpoints.read_manifest(run.checkpoint("best")).averaged
    )
    loop.train()
    assert best == [True, False]
    assert [(line["valid"]["mrr"], line["valid_average"]["mrr"]) for line in run.metrics()] == [
        (0.1, 0.2),
        (0.4, 0.3),
    ]


def test_a_line_of_metrics_says_what_an_epoch_was(tiny, run):
    """Mean loss of its updates, rate, time, bytes planned and measured."""
    losses = []
    loop = small_loop(tiny, run, {"epochs": 2, "validate_every": 2})
    loop.observer.stepped = lambda *, state, examples, loss, lr: losses.append(loss)
    loop.train()
    first, second = run.metrics()
    half = len(losses) // 2
    assert first["loss"] == pytest.approx(sum(losses[:half]) / half)
    assert (first["epoch"], first["updates"], second["updates"]) == (1, half, 2 * half)
    assert "valid" not in first
    assert second["valid"].keys() == {"mrr"}
    assert second["validation_seconds"] >= 0 <= second["seconds"]
    assert first["planned_bytes"] == 0 < first["resident_bytes"]
    assert (
        first["peak_bytes"] <= second["peak_bytes"] + MIB
    )  # Linux counts pages in batches, thread by thread


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_that_make_batches_change_no_byte(tiny, tmp_path, workers):
    """The same loss at every step, the same weights."""
    runs, losses = [], []
    for number in (0, workers):
        folder, seen = RunFolder.create(tmp_path / str(number), {}), []
        loop = small_loop(tiny, folder, {"epochs": 2, "num_workers": number})
        loop.observer.stepped = lambda *, state, examples, loss, lr, seen=seen: seen.append(loss)
        loop.train()
        runs.append(record(folder.path))
        losses.append(seen)
    assert runs[0] == runs[1]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("where", ["epoch-0002-step-000002", "epoch-0003"])
def test_interrupted_it_saves_and_says_how_to_go_on(tiny, tmp_path, where):
    """Ctrl-C or a polite kill, within an epoch or at its end; resumed, it ends with the bytes of an unbroken run."""
    options = {"epochs": 4, "validate_every": 1, "average_decay": 0.9}
    unbroken = RunFolder.create(tmp_path / "unbroken", {})
    small_loop(tiny, unbroken, options, batch_size=40).train()

    run = RunFolder.create(tmp_path / "run", {})
    last = len(small_loop(tiny, run, options, batch_size=40).learner.batches(tiny, seed=0, epoch=0))
    moment = (2, 2) if "step" in where else (2, last)
    number = signal.SIGINT if "step" in where else signal.SIGTERM

    def interrupt(state):
        if (state.epoch, state.step) == moment:
            signal.raise_signal(number)

    with pytest.raises(TrainingInterrupted) as caught:
        small_loop(tiny, run, options, batch_size=40, told=interrupt).train()
    assert str(caught.value) == (
        f"stopped in epoch {3 if 'step' in where else 4}; the state is saved. Go on with: "
        f"corollary train --resume {run.path}"
    )
    assert run.epoch_checkpoints()[-1].name == where
    loop = small_loop(tiny, run, options, batch_size=40)
    loop.resume()
    loop.train()
    assert record(run.path) == record(unbroken.path)


def test_a_second_ctrl_c_stops_at_once(tiny, run):
    """Nobody has to wait for the step to end."""
    calls = []

    def interrupt(state):
        calls.append(signal.raise_signal(signal.SIGINT))
        calls.append(signal.raise_signal(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        small_loop(tiny, run, {"epochs": 1}, told=interrupt).train()
    assert len(calls) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_loss_that_is_not_finite_stops_the_run(tiny, run):
    """The message names the step and the last good checkpoint, and what helps; nothing of that step is kept."""
    loop = small_loop(tiny, run, {"epochs": 3, "validate_every": 3})
    steps = len(loop.learner.batches(tiny, seed=loop.seed, epoch=0))
    loss, calls = loop.learner.loss, Counter()

    def broken(batch, *, share=1.0):
        calls["loss"] += 1
        return loss(batch, share=share) * (float("nan") if calls["loss"] == steps + 3 else 1.0)

    loop.learner.loss = broken
    with pytest.raises(TrainingDiverged) as caught:
        loop.train()
    assert str(caught.value) == (
        f"epoch 2, step 3: the loss is nan; the last good checkpoint is {run.checkpoint('epoch-0001')}. A smaller "
        "learning rate (now 0.001), --set training.clip_norm=1 or a warm-up usually helps."
    )
    assert [path.name for path in run.epoch_checkpoints()] == ["epoch-0001"]


def test_an_enormous_rate_is_noticed_before_a_checkpoint(tiny, run):
    """Within the first steps."""
    with pytest.raises(
        TrainingDiverged, match=r"epoch 1, step \d+: the loss is (nan|inf); no checkpoint was made yet"
    ):
        small_loop(tiny, run, {"epochs": 1, "lr": 1e38}).train()


def test_a_graph_without_training_triples_is_refused(tmp_path, run):
    """By its folder."""
    empty = torch.zeros(0, 3, dtype=torch.long).numpy()
    graph = write_graph(
        tmp_path / "empty",
        name="empty",
        labels=["a", "b"],
        relations=["r"],
        triples={"train": empty, "valid": empty},
    )
    with pytest.raises((RunError, GraphError), match="empty has no training triples"):
        small_loop(graph, run, {"epochs": 1}, validated=False).train()


def damage(file, how):
    """Flip one bit in the middle, cut the second half off, or take the file away."""
    content = bytearray(file.read_bytes())
    if how == "flip":
        content[len(content) // 2] ^= 4
    file.write_bytes(content[: len(content) // 2 if how == "cut" else None])
    if how == "remove":
        file.unlink()


FILES = (
    "weights.safetensors",
    "optimizer.safetensors",
    "optimizer-entities-0000000.safetensors",
    "average.safetensors",
    "average-entities-0000000.safetensors",
)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "flip") for name in FILES),
        *(
            (name, how)
            for name in ("entities-0000000.safetensors", "manifest.json")
            for how in ("cut", "remove")
        ),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(tiny, tmp_path, name, how):
    """Resuming takes the one before, and ends with the same bytes; the damaged one does not come in the way."""
    options = {"epochs": 4, "average_decay": 0.9, "validate_every": 2}
    run = RunFolder.create(tmp_path / "run", {})
    small_loop(tiny, run, options, batch_size=150).train()
    expected = record(run.path)
    for path in run.epoch_checkpoints()[-2:]:
        damage(path / name, how)
    loop = small_loop(tiny, run, options, batch_size=150)
    loop.resume()
    assert loop.state.epoch == 2
    assert [line["epoch"] for line in run.metrics()] == [1, 2]
    loop.train()
    assert record(run.path) == expected


def test_where_every_checkpoint_is_damaged_that_is_said(tiny, run):
    """Better than to start again from nothing in silence."""
    small_loop(tiny, run, {"epochs": 2}, batch_size=150).train()
    for path in run.epoch_checkpoints():
        damage(path / "weights.safetensors", "flip")
    with pytest.raises(RunError, match=r"epoch-0002/weights\.safetensors is missing or has changed"):
        small_loop(tiny, run, {"epochs": 2}, batch_size=150).resume()


def test_a_damaged_checkpoint_between_good_ones_is_cleared_away(tiny, run):
    """Training goes on past it."""
    options = {"epochs": 8, "checkpoint_frequency": 1}
    small_loop(tiny, run, {**options, "epochs": 3}, batch_size=150).train()
    damage(run.checkpoint("epoch-0002") / "manifest.json", "cut")
    loop = small_loop(tiny, run, options, batch_size=150)
    loop.resume()
    loop.train()
    assert loop.state.epoch == 8
    assert [path.name for path in run.epoch_checkpoints()] == [
        f"epoch-{n:04d}" for n in (1, 3, 4, 5, 6, 7, 8)
    ]


@pytest.mark.parametrize(("every", "kept"), [(None, []), (2, [2]), (1, [1, 2])])
@pytest.mark.parametrize("keep_optimizer", [False, True])
def test_five_checkpoints_stay_and_every_nth_for_good(tiny, run, every, kept, keep_optimizer):
    """Those kept for good lack the average, and the moments unless asked for; they still load."""
    options = {
        "epochs": 7,
        "checkpoint_frequency": every,
        "keep_optimizer": keep_optimizer,
        "average_decay": 0.9,
    }
    loop = small_loop(tiny, run, options, batch_size=150)
    loop.train()
    names = [path.name for path in run.epoch_checkpoints()]
    assert names == [f"epoch-{epoch:04d}" for epoch in [*kept, 3, 4, 5, 6, 7]]
    for path in run.epoch_checkpoints():
        beginnings = {file.name.split("-")[0].split(".")[0] for file in path.iterdir()}
        extra = (
            {"optimizer", "average"}
            if int(path.name[-4:]) > 2
            else {"optimizer"}
            if keep_optimizer
            else set()
        )
        assert beginnings == {"weights", "entities", "manifest"} | extra
        assert checkpoints.load(path, loop.learner).epoch == int(path.name[-4:])


def test_checkpoints_within_an_epoch_count_among_the_five(tiny, run):
    """When the last one is old enough. The end of an epoch is always saved, and it alone may stay for good."""
    loop = small_loop(tiny, run, {"epochs": 2, "checkpoint_minutes": 1e-9, "checkpoint_frequency": 1})
    loop.train()
    steps = len(loop.learner.batches(tiny, seed=loop.seed, epoch=0))
    names = [path.name for path in run.epoch_checkpoints()]
    within = [f"epoch-0001-step-{steps - back:06d}" for back in (4, 3, 2, 1)]
    assert names == ["epoch-0001", *within, "epoch-0002"]
    manifest = checkpoints.read_manifest(run.checkpoint(within[0]))
    assert (manifest.epoch, manifest.step, manifest.updates) == (1, steps - 4, 2 * steps - 4)


def test_resuming_forgets_metrics_that_will_be_made_again(tiny, run):
    """And a line that a kill cut short."""
    options = {"epochs": 2}
    small_loop(tiny, run, options, batch_size=150).train()
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 3, "loss": 9}) + '\n{"epoch": 4, "lo')
    loop = small_loop(tiny, run, {"epochs": 3}, batch_size=150)
    loop.resume()
    assert [line["epoch"] for line in run.metrics()] == [1, 2]
    loop.train()
    assert [line["epoch"] for line in run.metrics()] == [1, 2, 3]
