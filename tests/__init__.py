"""The tests mirror `src/corollary`. `checked` is what `--jaxtyping-packages` in pyproject.toml names."""

from tests.shapes import checked as checked
