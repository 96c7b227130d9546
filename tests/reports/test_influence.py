"""The distribution of influences as a drawing: readable ticks, both signs, the same every time."""

import re
from xml.etree import ElementTree

from corollary.reports.influence import influence_distribution, influence_file

EDGES, SUPPORT, OPPOSITION = [1e-6, 1e-4, 1e-2, 1.0], [3, 2000, 40], [0, 1500, 0]


def texts(svg):
    """All that is written in a drawing."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_ticks_are_numbers_that_people_read():
    """Powers of ten with raised digits, whole counts; no formula language."""
    found = texts(influence_distribution(EDGES, SUPPORT, OPPOSITION))
    assert {"10⁻⁶", "10⁻⁴", "10⁻²", "1,000", "100", "0", "support", "opposition"} <= set(found)
    assert not [text for text in found if "$" in text or "\\" in text]


def test_a_file_has_its_own_colours():
    """Well-formed, with a value for every colour it uses, and the same bytes again."""
    svg = influence_file(EDGES, SUPPORT, OPPOSITION)
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    used = set(re.findall(r"var\((--\w+)\)", svg))
    assert used <= set(re.findall(r"(--\w+):#", root.attrib["style"]))
    assert {"--c0", "--c1"} <= used
    assert svg == influence_file(EDGES, SUPPORT, OPPOSITION)
