import pytest

from tests.learners.hgt.small import typed_graph


@pytest.fixture(scope="session")
def typed(tmp_path_factory):
    """A small typed graph."""
    return typed_graph(tmp_path_factory.mktemp("graphs") / "typed")
