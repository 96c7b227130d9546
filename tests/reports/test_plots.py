"""Plots are drawn for the inside of a page: in its colours, with nothing from outside, the same every time."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import pytest

from corollary.reports import plots

EPOCHS = [1, 2, 3, 4]
MIB = 1 << 20

DRAWINGS = {
    "loss": lambda: plots.loss_curve(EPOCHS, [4.0, 3.0, 2.5, 2.25], unit="nats"),
    "validation": lambda: plots.validation_curve(
        {"weights": ([2, 4], [0.2, 0.4]), "their average": ([2, 4], [0.1, 0.3])}, metric="MRR"
    ),
    "rate": lambda: plots.learning_rate_curve(EPOCHS, [0.003, 0.002, 0.001, 0.0]),
    "memory": lambda: plots.memory_bars(
        {"interpreter": 400 * MIB, "weights": 90 * MIB}, peak=450 * MIB, limit=600 * MIB
    ),
}


def texts(svg: str) -> list[str]:
    """All that is written in a drawing."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def parsed(svg: str) -> ElementTree.Element:
    """As XML; the namespace that HTML presumes is put back."""
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1))


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_one_element_that_needs_nothing_from_outside(name):
    """Well-formed, scalable, described for those who cannot see it, without address or date."""
    svg = DRAWINGS[name]()
    root = parsed(svg)
    assert root.tag == "svg"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    assert "width" not in root.attrib
    assert "http" not in svg
    assert "date" not in svg.lower()


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_numbers_give_the_same_bytes(name):
    assert DRAWINGS[name]() == DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_colour_is_the_pages(name):
    """No colour is fixed, so that light, dark and print each set their own."""
    svg = DRAWINGS[name]()
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", svg)
    assert set(re.findall(r"var\((--[a-z0-9]+)\)", svg)) <= {
        "--ink",
        "--muted",
        "--line",
        "--page",
        *plots.SERIES,
    }


def test_ids_of_two_drawings_never_meet_on_one_page():
    """Each id is used once on a page, and every reference finds its own."""
    page = "".join(draw() for draw in DRAWINGS.values())
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(ids)


def test_drawing_leaves_matplotlib_as_it_was():
    """A notebook's own style is neither used nor changed."""
    plain = DRAWINGS["loss"]()
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        assert DRAWINGS["loss"]() == plain
        assert dict(matplotlib.rcParams) == before


def test_pyplot_and_torch_are_not_needed():
    """Importing either would cost time and global state."""
    code = (
        "import sys; from corollary.reports import html, plots; plots.loss_curve([1], [2.0]);"
        "print([name for name in ('torch', 'matplotlib.pyplot') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_axes_say_what_they_show_and_in_what_unit():
    assert {"epoch", "training loss (nats)"} <= set(texts(DRAWINGS["loss"]()))
    assert {"epoch", "validation MRR", "weights", "their average"} <= set(texts(DRAWINGS["validation"]()))
    assert {"epoch", "learning rate", "0.001"} <= set(texts(DRAWINGS["rate"]()))
    assert {"resident memory (MiB)", "planned", "measured", "limit"} <= set(texts(DRAWINGS["memory"]()))


def test_the_best_epoch_is_marked_over_all_curves_the_earliest_of_equals():
    curves = {"weights": ([5, 10, 15], [0.2, 0.5, 0.4]), "their average": ([5, 10, 15], [0.5, 0.3, 0.1])}
    assert "best 0.500, epoch 5" in texts(plots.validation_curve(curves, metric="MRR"))
    assert plots.best_point([5, 10, 15], [0.2, 0.5, 0.5]) == (10, 0.5)


def test_a_single_epoch_and_a_constant_curve_can_be_drawn():
    """The smallest training has a picture too, without warnings."""
    assert "<use" in plots.loss_curve([1], [0.7])
    assert "best 0.000, epoch 1" in texts(
        plots.validation_curve({"weights": ([1, 2], [0.0, 0.0])}, metric="MRR")
    )


def test_text_from_data_is_neither_markup_nor_mathematics():
    svg = plots.loss_curve([1, 2], [2.0, 1.0], unit="<script>$\\frac{")
    assert "<script" not in svg
    assert "training loss (&lt;script&gt;$\\frac{)" in texts(svg)
    parsed(svg)
    assert "<script" not in plots.validation_curve({"weights": ([1], [0.5])}, metric="<script>")


def test_the_planned_bar_ends_where_the_parts_add_up():
    """Widths of the parts stand in the ratio of their bytes, and the peak is drawn on the same scale."""
    svg = plots.memory_bars({"a": 300 * MIB, "b": 100 * MIB}, peak=200 * MIB)
    widths = []
    for colour in ("--c0", "--c1", "--muted"):
        path = re.search(rf'<path d="([^"]+)"[^>]*style="fill: var\({colour}\)', svg)
        assert path is not None
        xs = [float(x) for x in re.findall(r"[ML] ([\d.]+)", path[1])]
        widths.append(max(xs) - min(xs))
    assert widths[0] / widths[1] == pytest.approx(3, rel=1e-4)
    assert widths[2] / widths[1] == pytest.approx(2, rel=1e-4)


def test_a_limit_far_beyond_the_bars_is_left_to_the_text():
    """Otherwise the bars would be too short to read."""
    parts = {"interpreter": 400 * MIB}
    assert "limit" in texts(plots.memory_bars(parts, limit=700 * MIB))
    assert "limit" not in texts(plots.memory_bars(parts, limit=64 << 30))


def test_large_plans_are_drawn_in_gibibytes():
    assert "resident memory (GiB)" in texts(plots.memory_bars({"table": 40 << 30}))
