"""Influence of training triples over a whole run: asked, planned, summed block by block, listed, indexed."""
