"""Counted rules as a run."""
