"""The plan counts what grows, and a limit decides the way and never the result."""

import pytest

from corollary.budget import MIB, Budget
from corollary.errors import PlanDoesNotFit
from corollary.graph.folder import GraphSize
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.planning import Needs

SIZE = GraphSize(
    num_entities=200_000, num_relations=237, num_train=272_115, num_queries=149_689, max_answers=4_000
)
TABLE = 4 * 200_000 * 201


def plan(limit: int | None = None, needs: Needs = Needs(moments=2, held=300 * MIB), **values):
    return ConvE.plan(ConvEConfig(**values), SIZE, Budget(limit=limit), needs)


def test_each_part_follows_what_it_is_made_of():
    """Table and network, as many times as the optimiser and the average keep them."""
    base = plan()
    network = base.parts["parameters"] - TABLE
    assert 0 < network < TABLE / 10
    assert base.parts["optimiser"] == 2 * base.parts["parameters"]
    assert base.parts["gradient"] < network + TABLE / 10, "the table has no gradient of its own"
    assert "optimiser" not in plan(needs=Needs(moments=0)).parts
    assert "averaged weights" not in base.parts
    assert plan(needs=Needs(moments=2, average=True)).parts["averaged weights"] == base.parts["parameters"]
    assert plan(needs=Needs(moments=2, whole_gradient=True)).parts["gradient"] == base.parts["parameters"]
    assert plan(needs=Needs(moments=2, held=7 * MIB)).total == base.total - 293 * MIB
    assert plan(batch_size=1024).parts["score tile"] == base.parts["score tile"], "strips of 512 queries"


def test_a_smaller_limit_takes_the_next_way():
    """Maps kept; made again; then the table on disk, whose window does not grow with the table."""
    kept = plan()
    assert (kept.recompute, kept.table, kept.disk_bytes) == (False, "device", 0)
    again = plan(kept.total - 1)
    assert (again.recompute, again.table) == (True, "device")
    disk = plan(again.total - 1)
    assert (disk.recompute, disk.table, disk.disk_bytes) == (True, "disk", 3 * TABLE)
    assert disk.total < again.total - 2 * TABLE
    assert kept.total > again.total > disk.total
    for plans in (again, disk):
        assert (plans.block_rows, plans.evaluation_chunk) == (kept.block_rows, kept.evaluation_chunk)


def test_recompute_can_be_asked_for():
    """Whatever the limit."""
    assert plan(needs=Needs(moments=2, recompute=True)).recompute


def test_an_accelerator_counts_its_own_memory_and_uses_the_hosts():
    """No interpreter there; a table that does not fit lives in host memory."""
    needs = Needs(moments=2, held=300 * MIB, accelerator=True)
    device = plan(needs=needs)
    assert "interpreter" not in device.parts
    host = plan(200 * MIB, needs=needs)
    assert (host.table, host.disk_bytes) == ("host", 0)
    assert host.total < 200 * MIB


def test_what_does_not_fit_is_told_part_by_part():
    """The smallest way, and what would make it smaller."""
    small = plan(64 * MIB)
    with pytest.raises(PlanDoesNotFit, match=r"interpreter \d+\.\d, .*rows from elsewhere \d+\.\d") as caught:
        small.check("conve", {"--batch-size 64": 60 * MIB, "--embedding-dim 100": 65 * MIB})
    assert "With --batch-size 64 it needs 60.0 MiB." in str(caught.value)
    assert "--embedding-dim" not in str(caught.value), "it would not fit either"


def test_small_tables_stay_in_memory():
    """Where the window of mapped pages is larger than the table, the smallest way keeps it."""
    size = SIZE.model_copy(update={"num_entities": 1_000})
    small = ConvE.plan(ConvEConfig(), size, Budget(limit=MIB), Needs(moments=2))
    assert small.table == "device"
