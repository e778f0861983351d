"""Small graphs and pictures for calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


def graph_of(
    nodes: Sequence[Any], shapes: Mapping[str, Sequence[int]], outputs: Sequence[str], **constants: Any
) -> bytes:
    """A model whose first tensor in ``shapes`` is its input."""
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    first = next(iter(values))
    graph = helper.make_graph(
        nodes,
        "g",
        [values[first]],
        [values[name] for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        value_info=[value for name, value in values.items() if name != first and name not in outputs],
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )


def rows(name: str, *pictures: Any) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    """A feed source."""
    return lambda: ({name: np.asarray(picture, np.float32)} for picture in pictures)
