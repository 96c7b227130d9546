"""Hyperbolic maths on plain arrays: points, distances, places for the nodes of a taxonomy."""
