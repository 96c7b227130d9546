"""Arrays written and read piece by piece are the arrays that numpy writes and reads whole."""

import numpy as np
import pytest

from corollary.graph import arrays
from corollary.graph.arrays import ArrayWriter, array_shape, pieces


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("cuts", [(), (0, 3), (1, 2, 0, 7), (4000, 1, 999)])
@pytest.mark.parametrize("columns", [None, 3])
def test_pieces_make_the_file_that_numpy_makes(tmp_path, dtype, cuts, columns):
    """Byte for byte, whatever the pieces, the type and the number of digits in the length."""
    shape = (sum(cuts),) if columns is None else (sum(cuts), columns)
    whole = np.random.default_rng(0).integers(1 << 30, size=shape).astype(dtype)
    with ArrayWriter(tmp_path / "ours.npy", dtype, columns) as writer:
        start = 0
        for cut in cuts:
            writer.append(whole[start : start + cut].astype(np.int64))
            start += cut
    np.save(tmp_path / "theirs.npy", whole)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
    assert writer.rows == len(whole)


def test_pieces_of_a_file_are_its_rows(tmp_path, monkeypatch):
    """In order, none left out; an empty file has none."""
    monkeypatch.setattr(arrays, "PIECE", 4)
    whole = np.arange(33, dtype=np.int32).reshape(11, 3)
    np.save(tmp_path / "a.npy", whole)
    np.save(tmp_path / "b.npy", whole[:0])
    found = list(pieces(tmp_path / "a.npy"))
    assert [len(piece) for piece in found] == [4, 4, 3]
    assert np.array_equal(np.concatenate(found), whole)
    assert list(pieces(tmp_path / "b.npy")) == []
    assert array_shape(tmp_path / "a.npy") == ((11, 3), np.dtype(np.int32))
