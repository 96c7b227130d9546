"""Every page is whole HTML, shows names as text, works without a script, and is data too."""

import csv
import io
import re
from urllib.parse import urlencode

import pytest

from corollary.records.explanation import Explanation
from tests.web.hostile import EMOJI, FORMULA, HEBREW, LABELS, LINES, LONG, OVERRIDE, RELATIONS, SCRIPT
from tests.web.markup import Page

QUESTION = {"head": SCRIPT, "relation": "treats"}
TRIPLE = {**QUESTION, "tail": OVERRIDE}


def address(path: str, **values: object) -> str:
    return f"{path}?{urlencode(values)}"


FOLLOWED: set[str] = set()
PAGES = [
    "/",
    "/search",
    address("/search", q="dia"),
    address("/search", q=SCRIPT),
    address("/search", q="nothing of the kind"),
    *[address("/entity", id=label) for label in LABELS],
    address("/entity", id=SCRIPT, relation=RELATIONS[1]),
    address("/entity", id="diabetes mellitus", relation="treats", side="head", offset=3),
    "/predict",
    address("/predict", **QUESTION),
    address("/predict", relation=RELATIONS[1], tail=LONG, new=1, k=10, run="one"),
    address("/prediction", **TRIPLE),
    address("/prediction", **TRIPLE, side="head", runs="one"),
    address("/what-if", **TRIPLE, fact=1),
    address("/rule", run="two", rule=SCRIPT),
    address("/rule", run="two", rule="r(X, Y) <- p(X, Y)", which="fails", offset=5),
    address("/model", run="one"),
    address("/model/embeddings", run="one"),
    address("/model/embeddings", run="tree"),
    "/compare",
    address("/compare", left="one", right="two"),
    "/api",
    "/help/reading",
    "/nothing/here",
    address("/entity", id="<script>not there</script>"),
    address("/search", q="x", offset="many"),
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path[:60])
def test_pages_are_whole_and_run_nothing(reader, path):
    """Elements closed in order, no handler or inline style, names as text, labels and headers where they belong."""
    response = reader.get(path)
    assert response.status_code in (200, 400, 404, 422)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(response.text)
    page.runs_nothing()
    page.is_reachable()
    assert "\u202e" not in page.text
    assert {one.get("src") for one in page.all("script")} <= {
        "/static/theme.js", "/static/completion.js", "/static/explanation.js", "/static/progress.js",
    }  # fmt: skip


@pytest.mark.parametrize("path", PAGES[:-3], ids=lambda path: path[:60])
def test_links_within_the_page_lead_somewhere(reader, path):
    """Addresses answer, anchors have their element."""
    page = Page(reader.get(path).text)
    ids = {attributes.get("id") for _, attributes in page.tags}
    for link in dict.fromkeys(page.links()):
        if link.startswith("#"):
            assert link[1:] in ids, link
        elif link not in FOLLOWED:
            assert reader.get(link).status_code == 200, link
            FOLLOWED.add(link)


def test_names_are_shown_as_they_are_but_for_what_cannot_be_seen(client):
    """Right-to-left text is isolated; an override, a line's end and a tab are marks; emoji keep their joiners."""
    assert f"<bdi>{HEBREW}</bdi>" in client.get(address("/entity", id=HEBREW)).text
    assert "safe‹U+202E›gnp.exe" in Page(client.get(address("/entity", id=OVERRIDE)).text).text
    assert EMOJI in client.get(address("/entity", id=EMOJI)).text
    assert "two‹U+000A›lines‹U+0009›and a tab" in Page(client.get(address("/entity", id=LINES)).text).text
    assert SCRIPT in Page(client.get(address("/entity", id=SCRIPT)).text).text


def test_search_leads_to_an_entity_to_answers_to_reasons(client):
    """By links and forms alone."""
    found = Page(client.get(address("/search", q="diab")).text)
    entity = next(link for link in found.links() if link.startswith("/entity?"))
    asked = next(link for link in Page(client.get(entity).text).links() if link.startswith("/predict?"))
    why = next(link for link in Page(client.get(asked).text).links() if link.startswith("/prediction?"))
    page = Page(client.get(why).text)
    assert "The models suggest" in page.text
    for part in (
        "trust",
        "strongest",
        "for",
        "against",
        "paths",
        "agreement",
        "picture",
        "standing",
        "what-if",
        "facts",
    ):
        assert page.tags_with("id", part), part


def test_an_entity_page_lists_its_facts_with_their_splits(client, graph):
    """All facts of the graph with it, both ways; held-out ones say so; one relation alone has pages."""
    label = "diabetes mellitus"
    row = graph.entities.find(label)
    found = client.get(address("/entity.json", id=label)).json()
    expected = {
        (relation, "tail" if head == row else "head", other, split)
        for split in graph.splits
        for head, relation, tail in graph.triples(split).tolist()
        for other in [tail if head == row else head]
        if row in (head, tail)
    }
    shown = {
        (graph.relations.find(group["relation"]), group["side"], one["id"], one["split"])
        for group in found["groups"]
        for one in group["shown"]
    }
    assert shown == expected
    assert found["facts"] == len(expected)
    part = client.get(address("/entity.json", id=label, relation="treats", side="head", offset=2)).json()
    assert [one["id"] for one in part["groups"][0]["shown"]] == [
        one["id"] for group in found["groups"] if (group["relation"], group["side"]) == ("treats", "head")
        for one in group["shown"]
    ][2:]  # fmt: skip


def test_an_entity_page_shows_what_a_model_treats_alike(client):
    """With their cosine, nearest first, each a link."""
    near = client.get(address("/entity.json", id=LABELS[0])).json()["near"]
    assert [one["label"] for one in near] == LABELS[1:9]
    page = Page(client.get(address("/entity", id=LABELS[0])).text)
    assert "Most like it" in page.text
    assert {one["url"] for one in near} <= set(page.links())


def test_answers_are_the_same_as_page_json_and_table(client):
    """Ten answers, in the model's order, each with a link to its reasons."""
    found = client.get(address("/predict.json", **QUESTION, k=10)).json()
    assert [one["label"] for one in found["answers"]] == LABELS[:10]
    assert found["run"] == "one"
    rows = list(
        csv.DictReader(io.StringIO(client.get(address("/predict.csv", **QUESTION, k=10)).text, newline=""))
    )
    assert [row["label"] for row in rows] == LABELS[:10]
    page = Page(client.get(address("/predict", **QUESTION, k=10)).text)
    assert [one["why"] for one in found["answers"]] == [
        link for link in page.links() if link.startswith("/prediction?")
    ]


def test_a_run_is_asked_for_the_side_that_it_knows(client):
    """A question for a head goes to the first run that can; naming another is told."""
    found = client.get(address("/predict.json", relation="treats", tail=SCRIPT, run="two"))
    assert (found.status_code, found.json()["error"]) == (
        400,
        "two was trained to be asked for the tail alone",
    )
    assert client.get(address("/predict.json", relation="treats", tail=SCRIPT)).json()["run"] == "one"
    refused = client.get(address("/predict.json", **QUESTION, run="tree")).json()["error"]
    assert refused == "tree is a run of poincare, which does not rank facts"


def test_an_explanation_is_the_same_everywhere(client):
    """JSON is the record; the table lists its facts; the page shows its sentence; the report holds its bytes."""
    client.get(address("/prediction", **TRIPLE))
    text = client.get(address("/prediction.json", **TRIPLE)).text
    record = Explanation.model_validate_json(text)
    assert record.head.label == SCRIPT
    rows = list(csv.DictReader(io.StringIO(client.get(address("/prediction.csv", **TRIPLE)).text)))
    assert len(rows) == len(record.facts)
    assert rows[0]["used_in"] == "rules paths"
    report = client.get(address("/prediction/report", **TRIPLE))
    assert "attachment" in report.headers["content-disposition"]
    data = re.search(r'<script type="application/json" id="explanation">(.*?)</script>', report.text, re.S)
    assert data is not None
    assert Explanation.model_validate_json(data[1]) == record


def test_explanations_by_some_runs_are_others(client, models):
    """Runs are named in the link; wrong ones are told; the order in which they are named changes nothing."""
    client.get(address("/prediction", **TRIPLE, runs="two,one"))
    client.get(address("/prediction", **TRIPLE, runs="one,two"))
    client.get(address("/prediction", **TRIPLE))
    assert [asked.runs for asked in models.asked] == [("one", "two"), ("one", "two", "tree")]
    assert client.get(address("/prediction.json", **TRIPLE, runs="three")).status_code == 404
    assert client.get(address("/prediction.json", **TRIPLE, runs="tree")).status_code == 400


def test_links_say_which_graph_they_were_made_for(client, graph):
    """A permanent link to another graph is refused, not answered otherwise."""
    page = Page(client.get(address("/prediction", **TRIPLE)).text)
    link = next(one for one in page.links() if one.startswith("/prediction?"))
    assert client.get(link).status_code == 200
    wrong = client.get(link.replace(graph.fingerprint[:12], "0" * 12))
    assert wrong.status_code == 409
    assert "made for another graph" in Page(wrong.text).text


def test_tables_are_files_with_graph_and_date_and_run_no_formula(client):
    """Names of files are plain; a cell that a spreadsheet would run begins with an apostrophe."""
    response = client.get(address("/search.csv", q=FORMULA))
    assert re.search(
        r'filename="hostile-graph-search-\d{4}-\d\d-\d\d\.csv"', response.headers["content-disposition"]
    )
    assert f"'{FORMULA}" in response.text
    for path in (
        address("/entity.csv", id=SCRIPT), address("/model.csv", run="one"),
        address("/compare.csv", left="one", right="two"), address("/prediction.csv", **TRIPLE),
    ):  # fmt: skip
        client.get(address("/prediction", **TRIPLE))
        response = client.get(path)
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        assert len(list(csv.reader(io.StringIO(response.text)))) > 1


def test_a_model_page_shows_its_files_without_inline_styles(client):
    """Figures, curves, memory against the plan, every relation; drawings keep their colours as attributes."""
    text = client.get(address("/model", run="one")).text
    page = Page(text)
    for words in ("Learning", "Plan and measured memory", "spoken_language", "Every option"):
        assert words in page.text
    assert 'stroke="var(--c0)"' in text
    found = client.get(address("/model.json", run="one")).json()
    assert found["config"]["learner"] == "conve"
    assert len(found["metrics"]) == 120


def test_embeddings_are_judged_or_drawn(client):
    """A table by type and its verdict, a disk as a picture; other runs have none."""
    page = Page(client.get(address("/model/embeddings", run="one")).text)
    assert "Verdict:" in page.text
    assert "<b>Drug</b>" in page.text
    assert client.get(address("/model/embeddings.json", run="one")).json()["health"]["rows"] == 60
    (picture,) = Page(client.get(address("/model/embeddings", run="tree")).text).all("img")
    assert client.get(picture["src"]).headers["content-type"] == "image/png"
    for path in ("/model/embeddings", "/model/disk.png"):
        assert client.get(address(path, run="two")).status_code == 404


def test_two_runs_are_compared_relation_by_relation(client):
    """The same run beside itself differs in nothing; what differs in its options is listed."""
    found = client.get(address("/compare.json", left="one", right="two")).json()
    assert found["comparable"]
    assert {row["difference"] for row in found["relations"]} == {0.0}
    assert found["options"] == []


def test_unknown_names_are_404_with_what_is_near(client):
    """As a page and as data; an unknown run says which there are."""
    wrong = client.get(address("/entity", id="diab"))
    assert wrong.status_code == 404
    assert "'diabetes mellitus'" in Page(wrong.text).text
    assert client.get(address("/predict.json", head=SCRIPT, relation="cures")).status_code == 404
    assert "there are one, two, tree" in client.get(address("/model.json", run="x")).json()["error"]
    assert client.get("/nothing.json").json() == {"error": "there is no such page"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (address("/search.json", q="a", limit=1000), 422),
        (address("/search.json", q="a" * 9000), 422),
        (address("/predict.json", relation="treats"), 400),
        (address("/predict.json", relation="treats", head=SCRIPT, tail=SCRIPT), 400),
        (address("/predict.json", head=SCRIPT), 422),
        (address("/prediction.json", **TRIPLE, side="both"), 422),
        (address("/entity.json", id=""), 404),
        ("/api/explanations/xyz", 422),
        (f"/api/explanations/{'0' * 64}", 404),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_told(client, path, status):
    """With a reason, never a fault of the server."""
    response = client.get(path)
    assert response.status_code == status
    assert response.json()["error"]


def test_what_a_browser_has_is_not_sent_again(client):
    """304 before any work, to who has the page of this graph and these runs."""
    for path in (
        "/",
        address("/entity", id=SCRIPT),
        address("/predict.json", **QUESTION),
        "/static/page.css",
    ):
        first = client.get(path)
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_the_api_describes_itself(client):
    """Every address of data in OpenAPI, none of pages; the page about it lists the same."""
    described = client.get("/api/openapi.json").json()
    page = Page(client.get("/api").text)
    assert len(described["paths"]) >= 15
    for path, methods in described["paths"].items():
        assert path in page.text
        for what in methods.values():
            assert {"404", "422", "503"} <= set(what["responses"])
            kinds = set(what["responses"]["200"].get("content", {}))
            expected = {".csv": "text/csv", ".png": "image/png", "ents": "text/event-stream"}
            assert kinds == {expected.get(path[-4:], "application/json")}


def test_methods_that_are_not_there_are_told(client):
    """With those that are."""
    response = client.delete("/search.json")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET"


def test_ticked_facts_are_taken_away(client):
    """The page of a prediction offers every training fact; what is ticked is left out, nothing ticked is refused."""
    page = Page(client.get(address("/prediction", **TRIPLE)).text)
    ticks = [one.get("value") for one in page.all("input") if one.get("name") == "fact"]
    assert ticks
    found = client.get(
        address("/what-if.json", **TRIPLE) + "".join(f"&fact={number}" for number in ticks)
    ).json()
    assert found["ranks"] == [
        {"tie": "measured", "removed": [int(one) for one in ticks], "run": "two", "rank_before": 1.0, "rank": 1.0 + len(ticks)}
    ]  # fmt: skip
    assert client.get(address("/what-if", **TRIPLE)).status_code == 400
    refused = client.get(address("/what-if", **TRIPLE, fact=999))
    assert refused.status_code == 400
    assert "fact 999" in refused.text


def test_a_rule_goes_on_behind_the_pairs_shown(reader):
    """Each page of pairs links the next; the table and the data hold the same."""
    first = reader.get(address("/rule.json", run="two", rule="r(X, Y) <- p(X, Y)", limit=5)).json()
    assert (len(first["pairs"]), first["more"]) == (5, True)
    rows = list(csv.reader(io.StringIO(reader.get(address("/rule.csv", run="two", rule="r", limit=5)).text)))
    assert rows[0] == ["head", "relation", "tail", "split"]
    assert len(rows) == 6
    assert reader.get(address("/rule", run="two", rule="nonsense")).status_code == 400
    assert reader.get(address("/rule", run="nobody", rule="r")).status_code == 404
