"""How good a matrix of scores is: ranks within rows, curves over all pairs, probabilities, frequent columns, intervals."""
