"""The page of ranked answers: one file, every part there, everything from a graph as text, honest in its first lines."""

import copy
import re
from typing import Any

import pytest

from corollary.reports import repurposing_plots as plots
from corollary.reports.repurposing import render

EVIL = "<script>alert(1)</script>\u202eevil"


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def judgement(mrr: float, calibration: dict[str, Any] | None = None) -> dict[str, Any]:
    names = (
        "mrr",
        "hits@1",
        "hits@10",
        "average_precision",
        "auroc",
        "matched_mrr",
        "matched_auroc",
        "recall@100",
    )
    flyers = {"share": 0.4, "columns": [1], "counts": [9], "distinct": 3}
    return {
        "pairs": 40, "rows": 20, "candidates": 5000,
        "figures": {name: estimate(mrr) for name in names},
        "strata": [{"degrees": "0", "pairs": 4, "mrr": mrr / 2, "hits": {}}, {"degrees": "1", "pairs": 9, "mrr": mrr, "hits": {}}],
        "flyers": flyers, "normalised_flyers": {**flyers, "share": 0.2},
        "normalised_mrr": estimate(mrr), "calibration": calibration,
    }  # fmt: skip


CALIBRATION = {
    "prevalence": 0.008, "brier": 0.007, "brier_skill": 0.1, "expected_calibration_error": 0.001,
    "slope": 0.9, "intercept": None, "expected": 44.0, "observed": 40, "top_expected": 30.0, "top_observed": 25.0,
    "top": 1000,
    "bins": [{"low": 1e-4, "high": 3e-4, "count": 900, "mean": 2e-4, "true": 0}, {"low": 0.1, "high": 0.3, "count": 60, "mean": 0.2, "true": 14}],
}  # fmt: skip
NULL = {"times": 5, "mrr": 0.1, "auroc": 0.6, "average_precision": 0.1, "moved": 0.9}
EVIDENCE = {
    "paths": [{"text": "Aspirin > binds > PTGS2 < associates < Headache"}],
    "similar_column": {"column": "Ibuprofen", "by": "binds"},
    "similar_row": {"row": "Fever", "by": "resembles"},
    "rules": [{"sentence": "if X binds A, then X treats Y", "right": 12, "of": 40}],
}
ANSWER = {
    "rank": 1, "label": "DB1", "name": "Aspirin", "probability": 0.123, "low": 0.1, "high": 0.2,
    "normalised_rank": 4, "untrained_rank": 7, "says": ["in_trials"], "evidence": EVIDENCE,
}  # fmt: skip
PAGE: dict[str, Any] = {
    "title": "Drugs for diseases", "row_type": "Disease", "column_type": "Drug", "counts": {"known pairs": "40"},
    "schemes": {
        "rows": {
            "scheme": "rows", "folds": ["rows-0", "rows-1"],
            "scores": {"classifier": judgement(0.5, CALIBRATION), "all three": judgement(0.4)},
            "comparison": {"baseline": "all three", "sentence": "The classifier beats the best single baseline."},
            "precision": {"baseline": "all three", "sentence": "It is not shown to beat it in precision."},
            "null": {"classifier": NULL, "all three": NULL}, "counted_null": judgement(0.2),
        }
    },
    "faithfulness": {"summary": {"pairs": 9, "fell": 8, "median_fall": 0.25, "median_control": 0.01}, "pairs": []},
    "lists": [{"label": "D1", "name": "Headache", "answers": [ANSWER]}], "list_count": 1,
    "embeddings": {
        "name": "hgt", "verdict": "healthy", "reasons": [],
        "spectra": {"Disease": [3.0, 1.0, 0.0], "Drug": [2.0, 1.5]},
        "points": {"Disease": [(0.0, 1.0)], "Drug": [(1.0, 0.0), (2.0, 1.0)]},
    },
    "options": {"relation": "treats", "classifier": {"depth": 4}}, "made": {"graph": "tiny"},
    "checksums": {"predictions.csv": "abc"},
}  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    return render(PAGE)


def test_the_first_lines_say_whether_the_model_beats_counting(page):
    head = page[page.index("<header") : page.index("</header>")]
    assert "The classifier beats the best single baseline." in head
    assert "Nothing here says that an answer is right" in head


@pytest.mark.parametrize(
    "text",
    [
        "0.500<br>", "0.450 to 0.550", "all three", "recall@100", "skill over the constant", "1.10", "1.20 of 1,000",
        "5 rewirings, 90 % of the pairs moved", "40 %", "20 %", "Aspirin &gt; binds &gt; PTGS2",
        "like <bdi>Ibuprofen</bdi>, a known answer (binds)", "a known answer of <bdi>Fever</bdi>", "(12 of 40)",
        "in_trials", "fell for 8 of them, in the median by 25.0 %", "cost 1.0 %", "classifier.depth", "abc", "–",
    ],
)  # fmt: skip
def test_everything_that_was_measured_is_on_the_page(page, text):
    assert text in page


def test_it_is_one_file_without_script_or_address(page):
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    assert page.count("<svg") == 5


def test_ids_of_drawings_are_not_used_twice(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_names_of_a_graph_are_text():
    """Nothing that a node is called becomes markup or turns the direction of the page."""
    hostile = copy.deepcopy(PAGE)
    hostile["title"] = hostile["row_type"] = hostile["lists"][0]["name"] = EVIL
    answer = hostile["lists"][0]["answers"][0]
    answer["name"] = answer["evidence"]["similar_row"]["row"] = answer["evidence"]["paths"][0]["text"] = EVIL
    hostile["embeddings"]["points"] = hostile["embeddings"]["spectra"] = {EVIL: [(1.0, 2.0)]}
    hostile["embeddings"]["spectra"] = {EVIL: [1.0]}
    text = render(hostile)
    assert "<script" not in text


def test_what_is_missing_is_left_out_or_said():
    """No embeddings, no path that could be taken away, scores without probabilities or draws."""
    bare = copy.deepcopy(PAGE)
    bare["embeddings"], bare["faithfulness"] = None, {"summary": None, "pairs": []}
    scores = bare["schemes"]["rows"]["scores"]
    scores["classifier"]["figures"]["mrr"] = {"value": 0.5, "low": None, "high": None}
    text = render(bare)
    assert "No first answer has a path that could be taken away." in text
    assert 'id="embeddings"' not in text


def test_the_same_values_give_the_same_bytes(page):
    assert render(copy.deepcopy(PAGE)) == page


def test_a_bin_without_a_true_pair_shows_how_high_it_could_be():
    """It stands at the bottom; its interval reaches up."""
    svg = plots.reliability(CALIBRATION["bins"], name="one")
    assert svg.startswith('<svg role="img" aria-label="Reliability')
