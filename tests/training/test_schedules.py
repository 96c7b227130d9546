"""Learning rates by value, and what validation makes of them."""

import pytest

from corollary.training.schedules import Progress, ScheduleConfig


def rates(steps=range(1, 11), total=10, epoch=0, drops=0, **values):
    schedule = ScheduleConfig(**values)
    return [schedule.rate(step=step, total=total, epoch=epoch, drops=drops) for step in steps]


def test_constant_is_one():
    """At every step and epoch."""
    assert rates() == rates(epoch=7) == [1.0] * 10


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_warm_up_rises_in_even_steps(name):
    """To the full rate at the end of its share."""
    assert rates(name=name, warmup=0.4) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1])


def test_warm_up_shorter_than_a_step_is_none():
    """The first step has the full rate already."""
    assert rates(warmup=0.05) == [1.0] * 10


def test_cosine_falls_to_zero_at_the_last_step():
    """Half way down in the middle."""
    found = rates(name="cosine")
    assert found[4] == pytest.approx(0.5)
    assert found[9] == 0
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(0.9755282581475768)


def test_cosine_after_a_warm_up_starts_at_one():
    """And still ends at zero."""
    found = rates(name="cosine", warmup=0.2)
    assert found[:2] == [0.5, 1.0]
    assert found[5] == pytest.approx(0.5)
    assert found[9] == 0


def test_exponential_multiplies_every_epoch():
    """The same within an epoch; times the warm-up."""
    assert [rates([5], epoch=epoch, name="exponential", factor=0.5)[0] for epoch in range(4)] == [
        1,
        0.5,
        0.25,
        0.125,
    ]
    assert rates([1], epoch=1, name="exponential", factor=0.5, warmup=0.5) == pytest.approx([0.1])


def test_plateau_multiplies_with_every_drop():
    """Drops are counted by `Progress`."""
    assert rates([5], drops=3, name="plateau", factor=0.1) == pytest.approx([1e-3])


def test_plateau_drops_after_its_patience_and_waits_again():
    """Counted from the best validation or from the last drop."""
    schedule = ScheduleConfig(name="plateau", patience=2)
    progress, drops = Progress(), []
    for epoch, value in enumerate([0.1, 0.3, 0.3, 0.2, 0.1, 0.4, 0.2, 0.2, 0.2, 0.2], 1):
        progress.note(value, epoch, schedule)
        drops.append(progress.drops)
    assert drops == [0, 0, 0, 1, 1, 1, 1, 2, 2, 3]


def test_progress_knows_the_best():
    """Higher is better; a tie is no improvement; others never drop."""
    progress, schedule = Progress(), ScheduleConfig()
    values = [0.2, 0.5, 0.5, 0.1]
    assert [progress.note(value, epoch, schedule) for epoch, value in enumerate(values, 1)] == [
        True,
        True,
        False,
        False,
    ]
    assert progress.model_dump() == {
        "best": 0.5,
        "best_epoch": 2,
        "since_best": 2,
        "since_drop": 2,
        "drops": 0,
    }
