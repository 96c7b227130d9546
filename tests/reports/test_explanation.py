"""An explanation as HTML: one whole file that runs nothing foreign, and a picture that is always the same and small."""

import base64
import hashlib
import re

import pytest

from corollary.graph.folder import Graph
from corollary.records.explanation import Explanation, Fact, InfluenceReasons, InfluentialFact, Name, wilson
from corollary.reports.evidence import MOST_EDGES, MOST_NODES, cited, picture
from corollary.reports.explanation import as_html, explanation_json, standing, strongest, warnings
from corollary.reports.markup import hundred, named, place, share, shortened, visible, without_styles
from tests.web.hostile import CLOSING, OVERRIDE, SCRIPT, bare, explained, hostile_graph
from tests.web.markup import Page


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Graph:
    return hostile_graph(tmp_path_factory.mktemp("hostile") / "graph")


@pytest.fixture(scope="module")
def found(graph) -> Explanation:
    return explained(graph)


def crowded(found: Explanation, number: int) -> Explanation:
    """The same with many influential facts, each with an entity of its own."""
    first = max(found.entities) + 1
    entities = {
        first + one: Name(id=first + one, label=f"x{one}", name=f"x{one}", degree=one)
        for one in range(number)
    }
    facts = [
        Fact(
            id=100 + one,
            head=found.head.id if one % 2 else found.tail.id,
            relation=0,
            tail=first + one,
            split="train",
        )
        for one in range(number)
    ]
    assert isinstance(found.influence, InfluenceReasons)
    more = found.influence.model_copy(
        update={"proponents": [InfluentialFact(fact=fact.id, value=0.1) for fact in facts]}
    )
    return found.model_copy(
        update={"entities": found.entities | entities, "facts": [*found.facts, *facts], "influence": more}
    )


def test_the_file_is_whole_and_runs_only_its_own(found):
    """One style and one script, both named by their digest; no address leads out; names are text."""
    text = as_html(found)
    page = Page(text)
    page.runs_nothing()
    page.is_reachable()
    policy = page.tags_with("http-equiv", "Content-Security-Policy")[0]["content"]
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert all(link.startswith("#") for link in page.links())
    assert SCRIPT in page.text
    assert "safe‹U+202E›gnp.exe" in page.text
    assert len(text) < 1 << 20


def test_the_file_holds_the_record(graph):
    """JSON that reads back as the same explanation, though names close scripts."""
    found = explained(graph, CLOSING, "<b>binds</b>", OVERRIDE)
    data = re.search(r'<script type="application/json" id="explanation">(.*?)</script>', as_html(found), re.S)
    assert data is not None
    assert "<" not in data[1]
    assert Explanation.model_validate_json(data[1]) == found
    assert Explanation.model_validate_json(explanation_json(found)) == found


def test_the_same_explanation_gives_the_same_bytes(found):
    assert as_html(found) == as_html(found)


def test_missing_parts_say_why(graph):
    """Nothing disappears: for and against stand at equal weight also where both are empty."""
    page = Page(as_html(bare(graph)))
    page.runs_nothing()
    assert page.text.count("no run was given for it <b>") >= 8
    for part in ("for", "against", "paths", "standing", "what-if", "facts", "made"):
        assert page.tags_with("id", part)


def test_every_cited_fact_is_in_the_list(found):
    """Links to facts have their row; the list says what cites each."""
    page = Page(as_html(found))
    rows = {str(one["id"]) for one in page.all("tr") if one.get("id")}
    assert {link[1:] for link in page.links() if link.startswith("#fact-")} <= rows
    assert len(rows) == len(found.facts)
    assert cited(found)[1] == ["rules", "paths"]
    assert cited(found)[12] == ["influence"]


def test_words_come_with_their_counts(found):
    """Shares with n and interval, ranks with candidates, warnings in words."""
    text = Page(as_html(found)).text
    assert "True in 34 of 41 known cases (69 to 91 %)" in text
    assert "5 of 8 new pairs (31 to 86 %) were held-out facts" in text
    assert "Rank 4 of 15 as tail (all models together)" in text
    assert (
        "Of 100 answers ranked like this, about 12 were held-out facts (9 of 60 counted at ranks 4-10)"
        in text
    )
    assert "Showing 2 of 11 rules, in 1 group" in text
    assert "1 more that say much the same" in text
    assert "Showing 2 of 7 ways in which it holds" in text
    assert "heavier than in 187 of 200 pairs with like degrees" in text
    assert "2 of 9 cited facts stand in two or more" in text
    said = " ".join(warnings(found))
    assert "38 of 100 queries of this relation: little news by itself" in said
    assert "The models disagree: they put it at ranks 2.5 and 30" in said
    assert "two has too few test facts" in said


def test_the_strongest_reason_is_a_rule_then_influence_then_a_path(graph, found):
    """What is not there makes way for the next."""
    gone = bare(graph).rules
    without = found.model_copy(update={"rules": gone})
    assert strongest(found)["of"] == "rule"
    assert strongest(without)["of"] == "influence"
    assert strongest(without.model_copy(update={"influence": gone}))["of"] == "path"
    assert strongest(bare(graph)) is None
    assert standing(bare(graph))["by"] == "one"


def test_the_picture_is_small_and_says_what_it_leaves_out(found):
    """At most 40 nodes and 80 edges of any number of facts, those of rules first; deterministic."""
    many = crowded(found, 200)
    drawn = picture(many)
    assert drawn.nodes <= MOST_NODES
    assert drawn.facts <= MOST_EDGES
    assert drawn.of == len(cited(many)) > drawn.facts
    assert drawn == picture(many)
    shown = {int(one) for one in re.findall(r'data-fact="(\d+)"', drawn.svg)}
    assert {number for number, parts in cited(found).items() if "rules" in parts} <= shown
    assert "of" in drawn.svg.split('aria-label="')[1].split('"')[0]


def test_the_picture_goes_from_head_to_tail(found):
    """The head stands left of all, the tail right of all, no two nodes in one place, all inside."""
    svg = picture(found).svg
    width, height = map(int, re.search(r'width="(\d+)" height="(\d+)"', svg).groups())
    places = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]
    assert len(set(places)) == len(places)
    assert all(0 < x < width and 0 < y < height for x, y in places)
    head, tail = places[0], places[-1]
    assert all(head[0] <= x <= tail[0] for x, _ in places)


def test_nodes_and_arrows_can_be_walked_through(found):
    """Each is a link with a name; an arrow leads to its fact."""
    page = Page(str(picture(found, lambda label: f"/entity?id={len(label)}").svg))
    arrows = [one for one in page.all("a") if "edge" in str(one["class"])]
    assert len(arrows) == picture(found).facts
    assert all(one["aria-label"] and str(one["href"]).startswith("#fact-") for one in arrows)
    assert len([one for one in page.all("a") if "node" in str(one["class"])]) == picture(found).nodes


def test_a_picture_of_one_entity_and_of_nothing(graph, found):
    """A prediction whose ends are one, and one without reasons."""
    alone = explained(graph, SCRIPT, "treats", SCRIPT)
    assert picture(alone).nodes >= 1
    assert picture(bare(graph)).facts == 0
    assert picture(bare(graph)).nodes == 2


def test_names_and_numbers():
    """Marks for what cannot be seen, joiners of emoji kept, long names cut between letters."""
    assert visible("a\u202eb\x00\n") == "a‹U+202E›b‹U+0000›‹U+000A›"
    assert visible("👩‍🔬") == "👩‍🔬"
    assert str(named("<b>")) == "<bdi>&lt;b&gt;</bdi>"
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abe\u0301f", 5) == "abe\u0301f"
    assert shortened("abe\u0301fg", 4) == "ab…"
    assert share(wilson(0, 0), "known cases") == "no known cases"
    assert share(None) == "no cases"
    assert [place(one) for one in (1.0, 2.5, 1552.0, None)] == ["1", "2.5", "1,552", "–"]
    assert [hundred(one) for one in (0.12, 0.001, None)] == ["12", "fewer than 1", "–"]
    assert (
        without_styles('<p style="fill: none; stroke: var(--c0)"/>') == '<p fill="none" stroke="var(--c0)"/>'
    )
