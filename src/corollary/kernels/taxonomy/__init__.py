"""Taxonomies: their index, pairs and negatives of an epoch, and one pass of learning in each geometry.

tree.py        the arrays of an index, its pairs in the order of an epoch
negatives.py   rows that are no ancestor of a row, by tiers of nearness
levels.py      rows of one depth that are no relative of a row
rows.py        a row of a table in hyperbolic space: distance, gradient, step
softmax.py, hinge.py, ball.py, euclidean.py      a pass of learning
caps.py        a place for every node by the tree alone
index.py       building the index
"""
