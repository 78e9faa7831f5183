from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmp.errors import ArtifactError
from mmp.modeling import state

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
ARRAYS = st.dictionaries(
    st.text("abcdefgh./_0123", min_size=1, max_size=8),
    st.sampled_from([np.float64, np.float32, np.int64, np.int32, np.bool_, "<U3"]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


@given(JSON)
@settings(deadline=None, max_examples=60)
def test_json_comes_back_the_same_and_canonical(value):
    data = state.to_json(value)
    assert state.from_json(data, "x") == value
    assert state.to_json(state.from_json(data, "x")) == data


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1e400]", b"\xff", b"",
        b"[" * 200_000, b'{"a":' * 50_000, b"[1", b"1 2", b"[" + b"9" * 10_000 + b"]", b'"\x00"',
    ],
)  # fmt: skip
def test_json_of_a_stranger_is_refused_in_a_sentence(text):
    with pytest.raises(ArtifactError, match=r"The model's file 'bundle\.json' cannot be read: "):
        state.from_json(text, "bundle.json")


@given(ARRAYS)
@settings(deadline=None, max_examples=60)
def test_arrays_come_back_the_same_to_the_bit_and_numpy_reads_them(tmp_path_factory, arrays):
    folder = tmp_path_factory.mktemp("arrays")
    state.write_arrays(folder / "a.npz", arrays)
    state.write_arrays(folder / "b.npz", dict(reversed(arrays.items())))
    assert (folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes()
    back = state.read_arrays(folder / "a.npz")
    assert back.keys() == arrays.keys()
    for key, array in arrays.items():
        assert back[key].dtype == array.dtype
        assert back[key].shape == array.shape
        assert back[key].tobytes() == array.tobytes()
    with np.load(folder / "a.npz", allow_pickle=False) as plain:
        assert sorted(plain.files) == sorted(arrays)


def test_every_bit_flipped_is_refused_or_changes_nothing(tmp_path):
    path = tmp_path / "state.npz"
    state.write_arrays(path, {"a": np.arange(5.0), "b": np.array([True, False])})
    good, whole = path.read_bytes(), state.read_arrays(path)
    for position in range(len(good)):
        for bit in (0, 3, 7):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            path.write_bytes(bad)
            try:
                arrays = state.read_arrays(path)
            except ArtifactError:
                continue
            if set(arrays) == set(whole):  # a flip in a date or in a member's name
                assert all(np.array_equal(arrays[key], whole[key]) for key in whole)
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(ArtifactError):
            state.read_arrays(path)


def _npz(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)


def _member(array, *, header=None):
    stream = io.BytesIO()
    if header is None:
        np.lib.format.write_array(stream, array, allow_pickle=True)
    else:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(array.tobytes())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("members", "compression"),
    [
        ([("a.npy", _member(np.zeros(10_000)))], zipfile.ZIP_DEFLATED),
        ([("a.npy", _member(np.array([{}], dtype=object)))], zipfile.ZIP_STORED),
        ([("a.npy", _member(np.zeros(3), header={"descr": "<f8", "fortran_order": False, "shape": (2**40,)}))], zipfile.ZIP_STORED),
        ([("a.npy", _member(np.zeros(3), header={"descr": "|V0", "fortran_order": False, "shape": (3,)}))], zipfile.ZIP_STORED),
        ([("a.npy", _member(np.zeros(3), header={"descr": "<f8", "fortran_order": False, "shape": (-1, -3)}))], zipfile.ZIP_STORED),
        ([("a.npy", b"nonsense")], zipfile.ZIP_STORED),
    ],
)  # fmt: skip
def test_bombs_and_pickles_are_refused(tmp_path, members, compression):
    _npz(tmp_path / "state.npz", members, compression)
    with pytest.raises(ArtifactError, match=r"state\.npz"):
        state.read_arrays(tmp_path / "state.npz")
