"""What a long task says on the way, in words: a function that takes one line."""

from collections.abc import Callable

Say = Callable[[str], None]


def silent(message: str) -> None:
    """Say nothing."""
