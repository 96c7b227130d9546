"""Search finds names by the beginnings of their words, the best known first, and nothing that is typed breaks it."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.graph.folder import Graph
from corollary.web.search import SearchIndex
from tests.web.hostile import EMOJI, LABELS, LONG


def labels(graph: Graph, found: list[int]) -> list[str]:
    return [graph.entities.label(one) for one in found]


def test_beginnings_of_words_are_found_best_known_first(graph, index):
    """Both kinds of diabetes, the one with more facts first; the second word alone finds one."""
    assert labels(graph, index.find("diab")) == ["diabetes mellitus", "diabetes insipidus"]
    assert labels(graph, index.find("insip")) == ["diabetes insipidus"]
    assert labels(graph, index.find("MEL diab")) == ["diabetes mellitus"]
    assert index.find("iabetes") == []


def test_accents_and_capitals_do_not_matter(graph, index):
    """`arztin` and `ARZTIN` find Ärztin; an exact name comes before better known ones."""
    assert labels(graph, index.find("ARZTIN")) == ["Ärztin"]
    assert labels(graph, index.find("arzt"))[0] == "arzt"
    assert set(labels(graph, index.find("arzt"))) == {"arzt", "Ärztin"}


def test_label_and_name_are_both_found(graph, index):
    """An identifier and what people call the thing."""
    assert labels(graph, index.find("acetyl")) == ["aspirin"]
    assert labels(graph, index.find("aspir")) == ["aspirin"]


@pytest.mark.parametrize("label", LABELS)
def test_every_name_is_found_by_itself(graph, index, label):
    """Hostile ones, emoji and one of 5,000 letters too."""
    assert label in labels(graph, index.find(label))


def test_names_without_a_letter_are_found_by_a_part(graph, index):
    """Emoji, and a sign that folds to nothing."""
    assert labels(graph, index.find("🧪")) == [EMOJI]
    assert labels(graph, index.find("¯")) == ["¯"]


def test_pages_of_results_do_not_overlap(graph, index):
    """All names that begin alike, two at a time."""
    every = index.find("a", limit=100)
    parts = [index.find("a", limit=2, offset=offset) for offset in range(0, len(every), 2)]
    assert [one for part in parts for one in part] == every
    assert index.count("a") == len(every)
    assert index.count("nothing of the kind") == 0


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_nothing_that_is_typed_breaks_it(index, text):
    """Any text gives ids of entities, at most as many as were wanted."""
    found = index.find(text, limit=5)
    assert len(found) <= 5
    assert all(0 <= one < len(LABELS) for one in found)
    assert index.count(text) >= 0


@pytest.mark.parametrize(
    "text", ['"', "*", "a AND", "NEAR(a b)", "a OR b", "^a", "-a", "label:a", "()", LONG, "\x00", "a*b"]
)
def test_the_language_of_the_index_is_text(index, text):
    """Words of its own query language mean nothing."""
    index.find(text)


def test_an_index_is_made_once(graph, tmp_path):
    """The second start reads what the first one wrote; degrees are those of the training triples."""
    SearchIndex.of(graph, tmp_path).close()
    written = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    time.sleep(0.01)
    index = SearchIndex.of(graph, tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()} == written
    train = np.asarray(graph.triples("train"))
    assert index.degrees.tolist() == np.bincount(train[:, [0, 2]].ravel(), minlength=len(LABELS)).tolist()
    index.close()
