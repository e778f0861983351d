"""The frozen-graph reader: what was written comes back, and no bytes whatever do more than raise ``ModelError``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from examples.person.frozen_graph import MAX_VALUES, read_float_constants
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def varint(value: int) -> bytes:
    """Protobuf's variable-length integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: bytes | int) -> bytes:
    """One field: bytes, or a varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def constant(name: str, shape: tuple[int, ...], *, content: bytes = b"", floats: bytes = b"", dtype: int = 1) -> bytes:
    """One ``Const`` node of a graph."""
    dims = b"".join(field(2, field(1, size)) for size in shape)
    tensor = field(1, dtype) + field(2, dims)
    tensor += field(4, content) if content else b""
    tensor += field(5, floats) if floats else b""
    attribute = field(1, b"value") + field(2, field(8, tensor))
    return field(1, field(1, name.encode()) + field(2, b"Const") + field(5, attribute))


@given(
    arrays=st.dictionaries(
        st.text(min_size=1, max_size=12),
        hnp.arrays(
            np.float32, hnp.array_shapes(min_dims=0, max_dims=4, max_side=5), elements=st.floats(-9, 9, width=32)
        ),
        max_size=4,
    )
)
def test_arrays_come_back(arrays: dict[str, NDArray[np.float32]]) -> None:
    data = b"".join(constant(name, array.shape, content=array.tobytes()) for name, array in arrays.items())
    found = read_float_constants(data)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_single_value_fills_the_tensor() -> None:
    data = constant("c", (2, 3), floats=np.float32(0.5).tobytes())
    np.testing.assert_array_equal(read_float_constants(data)["c"], np.full((2, 3), 0.5, np.float32))


def test_other_types_and_operators_are_passed_over() -> None:
    data = constant("integers", (2,), content=bytes(8), dtype=3) + field(1, field(1, b"n") + field(2, b"Add"))
    assert read_float_constants(data) == {}


@given(st.binary(max_size=400))
@settings(max_examples=400)
def test_any_bytes_end_in_an_answer_or_model_error(data: bytes) -> None:
    try:
        read_float_constants(data)
    except ModelError as error:
        assert "frozen graph" in str(error)  # noqa: PT017 - success is an answer too


@given(st.data())
@settings(max_examples=300)
def test_any_damage_to_a_graph_ends_in_an_answer_or_model_error(data: st.DataObject) -> None:
    graph = bytearray(constant("weights", (3, 4), content=bytes(48)) + constant("c", (2,), floats=bytes(4)))
    for _ in range(data.draw(st.integers(1, 4))):
        graph[data.draw(st.integers(0, len(graph) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(graph)))
    try:
        read_float_constants(bytes(graph[:cut]))
    except ModelError as error:
        assert "frozen graph" in str(error)  # noqa: PT017 - success is an answer too


BOMB = constant("bomb", (2**20, 2**20), floats=bytes(4))
HALVES = constant("a", (MAX_VALUES // 2,), floats=bytes(4)) + constant("b", (MAX_VALUES // 2 + 1,), floats=bytes(4))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(BOMB, "limit", id="one value for a huge tensor"),
        pytest.param(HALVES, "limit", id="two tensors that are too large together"),
        pytest.param(constant("n", (2**64 - 1,), floats=bytes(4)), "limit", id="negative size"),
        pytest.param(constant("s", (3,), content=bytes(8)), "needs 12 bytes, has 8", id="too little content"),
        pytest.param(constant("d", (1,) * 9, content=bytes(4)), "dimensions", id="nine axes"),
        pytest.param(field(1, bytes(5))[:-2], "claims 5 bytes where 3 are left", id="cut short"),
        pytest.param(b"\x0b", "wire type 3", id="group"),
        pytest.param(b"\xff" * 20, "unfinished number", id="endless number"),
        pytest.param(field(1, field(1, b"\xff\xfe")), "UTF-8", id="name that is no text"),
    ],
)
def test_refused(data: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_float_constants(data)


def test_real_graph(samples: Path) -> None:
    constants = read_float_constants((samples / "frozen_inference_graph.pb").read_bytes())
    assert len([array for array in constants.values() if array.ndim]) >= 400
    assert constants["BoxPredictor_0/BoxEncodingPredictor/weights"].shape == (1, 1, 576, 12)
