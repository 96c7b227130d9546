"""Sizes are read and shown as people write them; a plan that does not fit says why, part by part."""

import re

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corollary.budget import GIB, KIB, MIB, Budget, Plan, parse_bytes, peak_bytes, resident_bytes, show_bytes
from corollary.errors import ConfigError, PlanDoesNotFit


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        (" 4096 ", 4096),
        (4096, 4096),
        ("1B", 1),
        ("500 MB", 500_000_000),
        ("500m", 500_000_000),
        ("1.5GiB", 3 * GIB // 2),
        ("4GiB", 4 * GIB),
        ("4 gib", 4 * GIB),
        ("4gi", 4 * GIB),
        (".5 KiB", KIB // 2),
        ("2T", 2 * 1000**4),
        ("2TiB", 2 << 40),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    """Decimal and binary units, any case, with or without a space; a plain number is bytes."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "GiB", "4 GiBs", "-1", "1e9", "four", "0", "0.0001", "1,5GB", "4 G iB", 0]
)
def test_a_size_that_is_not_understood_is_refused(text):
    """The message repeats the value and shows how to write one."""
    with pytest.raises(ConfigError, match=re.escape(f"memory size {text!r} is not understood; write 4GiB")):
        parse_bytes(text)


@given(st.integers(1, 8000), st.sampled_from(["", "k", "Mi", "GiB", "TB"]))
def test_a_whole_number_of_units_is_exact(number, unit):
    """What is shown in whole units is read back as the same number of bytes."""
    factor = {"": 1, "k": 1000, "Mi": MIB, "GiB": GIB, "TB": 1000**4}[unit]
    assert parse_bytes(f"{number}{unit}") == number * factor


def test_bytes_are_shown_in_mib_and_gib():
    """One decimal below a gibibyte, two from there on."""
    assert [show_bytes(size) for size in (96 * MIB, GIB - 1, GIB, 1.5 * GIB)] == [
        "96.0 MiB",
        "1024.0 MiB",
        "1.00 GiB",
        "1.50 GiB",
    ]


def test_a_budget_without_a_limit_is_the_machine():
    """None means the memory that the machine has."""
    assert Budget.parse("64MiB").bytes == 64 * MIB
    assert Budget.parse(None) == Budget()
    assert Budget().bytes == psutil.virtual_memory().total


def test_what_is_used_is_measured():
    """Memory that is written to is counted, now and in the high-water mark."""
    before = psutil.Process().memory_info().rss
    block = np.ones(64 * MIB, dtype=np.uint8)
    assert resident_bytes() - before > 48 * MIB
    assert peak_bytes() >= before + 48 * MIB
    assert block[-1] == 1


PLAN = Plan(
    parts={"entity table": 44 * MIB, "network": 30 * MIB, "smallest step": 22 * MIB},
    block_rows=4096,
    evaluation_chunk=128,
    budget=Budget(limit=64 * MIB),
)


def test_a_plan_that_does_not_fit_is_refused_part_by_part():
    """The message has what, total, budget, every part, and only the remedies that would fit."""
    remedies = {"--set training.optimizer.name=sgd": 59 * MIB, "--batch-size 64": 80 * MIB}
    with pytest.raises(PlanDoesNotFit) as caught:
        PLAN.check("conve on fb15k-237", remedies)
    assert str(caught.value) == (
        "conve on fb15k-237 needs at least 96.0 MiB and the budget is 64.0 MiB: "
        "entity table 44.0, network 30.0, smallest step 22.0 (MiB). "
        "With --set training.optimizer.name=sgd it needs 59.0 MiB."
    )


def test_a_plan_without_a_remedy_says_so_by_offering_none():
    """No advice is given that would not help."""
    with pytest.raises(PlanDoesNotFit, match=r"\(MiB\)\.$"):
        PLAN.check("conve")


def test_a_plan_that_just_fits_is_kept():
    """The limit itself is allowed."""
    plan = PLAN.model_copy(update={"budget": Budget(limit=PLAN.total)})
    assert plan.check("conve") is plan
