"""Trading the columns of two edges, with a set for what is taken."""


def rewired(edges, barred, draws):
    """Edges after the trades that pairs of random numbers ask for, and how many were made."""
    found = [tuple(edge) for edge in edges]
    taken, done = set(found) | {tuple(pair) for pair in barred}, 0
    for a, b in draws:
        one, other = a % len(found), b % len(found)
        (row, first), (other_row, second) = found[one], found[other]
        new = {(row, second), (other_row, first)}
        if row == other_row or first == second or new & taken:
            continue
        taken = taken - {found[one], found[other]} | new
        found[one], found[other] = (row, second), (other_row, first)
        done += 1
    return found, done
