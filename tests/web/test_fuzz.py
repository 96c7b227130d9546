"""Whatever is asked, the server answers: with data, or with a reason; never with a fault of its own."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.hostile import LABELS, RELATIONS

TEXT = st.one_of(
    st.text(max_size=60),
    st.text(string.punctuation, max_size=12),
    st.sampled_from(
        [*LABELS, *RELATIONS, "one", "two", "tree", "-1", "0", "1e9", "NaN", "true", "\x00", "¯", "%"]
    ),
)
NAMES = [
    "q",
    "id",
    "head",
    "relation",
    "tail",
    "side",
    "run",
    "runs",
    "k",
    "new",
    "limit",
    "offset",
    "left",
    "right",
    "as",
    "fact",
    "rule",
    "which",
]
VALUES = st.dictionaries(st.sampled_from(NAMES), TEXT, max_size=7)
PAGES = [
    "/",
    "/search",
    "/entity",
    "/predict",
    "/prediction",
    "/model",
    "/compare",
    "/prediction/report",
    "/what-if",
    "/rule",
]
DATA = [
    f"/{name}{ending}"
    for name in ("index", "search", "entity", "predict", "prediction", "model", "compare", "what-if", "rule")
    for ending in (".json", ".csv")
]
LIKELY = {
    "q": "a", "id": LABELS[0], "head": LABELS[0], "relation": "treats", "tail": LABELS[1], "run": "one", "left": "one",
    "right": "two", "fact": "1", "rule": "r(X, Y) <- p(X, Y)",
}  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        ["If-None-Match", "Last-Event-ID", "Sec-Fetch-Site", "Sec-Fetch-Dest", "Accept", "Range"]
    ),
    st.text(string.printable.strip(), max_size=30),
    max_size=3,
)


@pytest.fixture
def told(client):
    """A client that asserts what every answer has to be."""

    def ask(method, path, **given):
        response = getattr(client, method)(path, **given)
        assert response.status_code < 500 or response.status_code == 503, response.text
        assert "content-security-policy" in response.headers
        assert "Traceback" not in response.text
        return response

    return ask


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(PAGES + DATA),
    values=VALUES,
    likely=st.sets(st.sampled_from(sorted(LIKELY))),
    headers=HEADERS,
)
def test_any_question_is_answered(told, path, values, likely, headers):
    """Any values, among them many that make sense, and any headers."""
    told("get", path, params={name: LIKELY[name] for name in likely} | values, headers=headers)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wish=st.one_of(
        st.dictionaries(st.sampled_from([*NAMES, "more"]), st.one_of(TEXT, st.none(), st.integers(), st.lists(TEXT, max_size=3))),
        st.lists(TEXT, max_size=2), TEXT,
    )
)  # fmt: skip
def test_any_wish_is_answered(told, wish):
    """JSON of any shape."""
    told("post", "/api/explanations", json=wish)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=TEXT,
    ending=st.sampled_from(["", "/events", "/cancel"]),
    method=st.sampled_from(["get", "post", "delete"]),
    body=st.binary(max_size=50),
)
def test_any_key_is_answered(told, key, ending, method, body):
    """Keys that are none, methods that do not go with them, bodies of bytes."""
    from urllib.parse import quote

    given = {"content": body} if method == "post" else {}
    told(method, f"/api/explanations/{quote(key, safe='')}{ending}", **given)
