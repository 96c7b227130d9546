"""Corollary: learn from a knowledge graph, predict what is missing, and say why, inside a memory limit."""
