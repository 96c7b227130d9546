"""Every exception derives from one root, and unknown names suggest the nearest."""

import inspect

from corollary import errors
from corollary.errors import CorollaryError, unknown


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    """Every class stands in the drawing, under its parent, and no other."""
    drawn, parents = {}, {}
    for line in (errors.__doc__ or "").splitlines():
        words = [word for word in line.replace("│", " ").split() if word not in ("├──", "└──")]
        name = words[0] if words else ""
        if inspect.isclass(getattr(errors, name, None)):
            depth = line.index(name) // 4
            parents[depth] = name
            drawn[name] = parents.get(depth - 1)
    classes = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls)}
    assert drawn == {
        name: cls.__base__.__name__ if cls is not CorollaryError else None for name, cls in classes.items()
    }


def test_every_error_says_in_its_docstring_what_it_means():
    """A class without a docstring is unfinished."""
    assert all(cls.__doc__ for cls in vars(errors).values() if inspect.isclass(cls))


def test_an_unknown_name_suggests_the_nearest():
    """The message names kind, value, place and the nearest known name."""
    message = unknown("relation", "treatz", ["treats", "causes"], where="facts.tsv:1042")
    assert message == "facts.tsv:1042: relation 'treatz' is not known. Did you mean 'treats'?"


def test_without_a_near_name_some_known_ones_are_listed():
    """At most twelve, in order."""
    assert unknown("split", "xyz", ["valid", "test", "train"]) == (
        "split 'xyz' is not known. Known: test, train, valid."
    )
    assert unknown("split", "###", [f"s{i:02d}" for i in range(40)]).endswith("s10, s11.")
