"""What a training shows while it runs."""

import io

import pytest
from rich.console import Console

from corollary.cli import output
from corollary.training.loop import LoopState


@pytest.mark.parametrize("terminal", [True, False])
def test_memory_in_use_and_its_peak_are_shown(monkeypatch, terminal):
    """In the bar of a terminal, and in the line of a validation."""
    text = io.StringIO()
    monkeypatch.setattr(output, "errors", Console(file=text, force_terminal=terminal, width=200))
    monkeypatch.setattr(output, "resident_bytes", lambda: 300 << 20)
    monkeypatch.setattr(output, "peak_bytes", lambda: 512 << 20)
    display, state = output.TrainingDisplay(), LoopState()
    display.started(epochs=2, steps=3, state=state)
    display.stepped(state=state, examples=10, loss=0.5, lr=0.1)
    if not terminal:
        display.finished_epoch({"epoch": 1, "loss": 0.5, "valid": {"mrr": 0.25}})
    display.close()
    assert "300.0 MiB, peak 512.0 MiB" in text.getvalue()


def test_the_peak_is_not_below_what_is_in_use(monkeypatch):
    """The peak is of this process; what is in use counts its children too."""
    monkeypatch.setattr(output, "resident_bytes", lambda: 300 << 20)
    monkeypatch.setattr(output, "peak_bytes", lambda: 200 << 20)
    assert output.show_memory() == "300.0 MiB, peak 300.0 MiB"
