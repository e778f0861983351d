"""Small ONNX files, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Build = Callable[..., Path]


@pytest.fixture
def classifier_file(tmp_path: Path) -> Build:
    """Writes a classifier of one convolution: ``classifier_file(shape=(1, 3, 8, 8), ...)`` gives its path."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    def build(
        shape: tuple[int | str, ...] = (1, 3, 8, 8),
        *,
        opset: int = 18,
        dtype: int = TensorProto.FLOAT,
        name: str = "model.onnx",
        **save: object,
    ) -> Path:
        random = np.random.default_rng(1)
        weights = {
            "kernel": random.normal(size=(5, 3, 3, 3)).astype(np.float32),
            "matrix": random.normal(size=(5, 4)).astype(np.float32),
        }
        nodes = [
            helper.make_node("Conv", ["input", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
        ]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("input", dtype, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (shape[0], 4))],
            [numpy_helper.from_array(array, key) for key, array in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        path = tmp_path / name
        save_model(model, str(path), **save)
        return path

    return build
