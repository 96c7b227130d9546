"""DRUM as a run."""
