"""Taxonomies in hyperbolic space as a run."""
