"""How far an influence run has come, noted in one file, so that it goes on there after a kill."""

import time
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from corollary.messages import Say
from corollary.storage import new_file


class Note:
    """A file that is replaced as a whole; of another run, or damaged, it is not used."""

    def __init__(self, path: Path | None, every: float, fingerprint: str) -> None:
        """Nothing is written without a path.

        Args:
            every: seconds between two notes.
            fingerprint: of everything that decides the bytes of the result.
        """
        self.path, self.every, self.fingerprint = path, every, fingerprint
        self._last = time.monotonic()

    def load(self, say: Say) -> tuple[int, dict[str, np.ndarray]] | None:
        """Blocks that are finished, and what was kept of them."""
        if self.path is None or not self.path.exists():
            return None
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            say(f"{self.path} cannot be read ({error}): starting over")
            return None
        if str(arrays.pop("fingerprint", "")) != self.fingerprint:
            say(f"{self.path} is of another model, graph or question: starting over")
            return None
        blocks = int(arrays.pop("blocks"))
        say(f"going on after {blocks} blocks noted in {self.path}")
        return blocks, arrays

    def write(self, blocks: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Where enough time has passed."""
        if self.path is None or time.monotonic() - self._last < self.every:
            return
        with new_file(self.path) as partial, partial.open("wb") as out:
            about = {"blocks": np.array(blocks), "fingerprint": np.array(self.fingerprint)}
            np.savez(out, allow_pickle=False, **about, **arrays)
        self._last = time.monotonic()

    def remove(self) -> None:
        """The work is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
