"""A classifier that plain INT8 hurts, its pictures, and the workbench that chains run on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewright.bundle.manifest import ClassifyDecode, Preprocess, ResizeMode, Task
from edgewright.optimize.chain.workbench import PictureSet, Workbench
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.spec import ModelSpec
from edgewright.optimize.steps import Deadline, StepCache, StepInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgewright.optimize.types import Feeds

SIDE = 32
CLASSES = 6


def depthwise_classifier(seed: int = 1) -> bytes:
    """Conv, Clip, depthwise Conv whose taps cancel, Relu, 1x1 Conv, Relu, pooling, Gemm; ``scores`` (1, 6).

    The last layer is fitted to the spread of what it meets, so that small errors before it change the best class.
    """
    import onnxruntime as ort

    random = np.random.default_rng(seed)
    taps = random.normal(0, 1, (8, 1, 3, 3)).astype(np.float32)
    taps[:, 0, 0, 1] += 6
    taps -= taps.mean(axis=(2, 3), keepdims=True)  # so that rounding errors do not drown
    constants = {
        "stem": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "stem_b": random.uniform(1.5, 2.5, 8).astype(np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "taps": taps,
        "taps_b": random.uniform(0, 0.3, 8).astype(np.float32),
        "point": random.normal(0, 0.4, (12, 8, 1, 1)).astype(np.float32),
        "point_b": random.uniform(0, 0.5, 12).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "stem", "stem_b"], ["stemmed"], name="stem", pads=[1] * 4),
        helper.make_node("Clip", ["stemmed", "low", "high"], ["clipped"], name="clip"),
        helper.make_node("Conv", ["clipped", "taps", "taps_b"], ["deep"], name="deep", pads=[1] * 4, group=8),
        helper.make_node("Relu", ["deep"], ["active"], name="relu"),
        helper.make_node("Conv", ["active", "point", "point_b"], ["wide"], name="point"),
        helper.make_node("Relu", ["wide"], ["wide_active"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["wide_active"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"),
    ]
    session = ort.InferenceSession(_written(nodes, constants, "flat", 12), providers=["CPUExecutionProvider"])
    seen = np.concatenate([session.run(None, feeds)[0] for feeds in smooth(24, 900)])
    head = random.normal(0, 1, (12, CLASSES)) / (seen.std(axis=0)[:, None] + 1e-6)
    constants["head"] = head.astype(np.float32)
    constants["head_b"] = (-seen.mean(axis=0) @ head).astype(np.float32)
    nodes.append(helper.make_node("Gemm", ["flat", "head", "head_b"], ["scores"], name="head"))
    return _written(nodes, constants, "scores", CLASSES)


def _written(nodes: list[Any], constants: dict[str, Any], output: str, width: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, width])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def smooth(count: int, start: int = 0) -> Iterator[Feeds]:
    """Soft patches of light, always positive, for an input called ``image``."""
    for number in range(start, start + count):
        random = np.random.default_rng(number)
        coarse = random.uniform(0.1, 1, (1, 3, 4, 4)).repeat(SIDE // 4, axis=2).repeat(SIDE // 4, axis=3)
        yield {"image": (coarse + random.uniform(0, 0.1, coarse.shape)).astype(np.float32)}


CLASSIFIER = ModelSpec(
    "classes",
    Task.CLASSIFY,
    Preprocess(ResizeMode.STRETCH, SIDE, SIDE),
    ClassifyDecode("scores"),
    tuple(f"class {k}" for k in range(CLASSES)),
)


def workbench(
    model: bytes,
    cache: Path | None = None,
    *,
    spec: Any = CLASSIFIER,
    pictures: Callable[[int, int], Iterator[Feeds]] = smooth,
    seconds: float | None = None,
) -> Workbench:
    """A workbench with 12 calibration pictures and 16 others to select by."""
    return Workbench(
        spec=spec,
        float_model=model,
        calibration=PictureSet(lambda: pictures(12, 0), StepInput("a" * 64, "first"), 12),
        selection=PictureSet(lambda: pictures(16, 500), StepInput("b" * 64, "second"), 16),
        scheme=Scheme(),
        threads=1,
        cache=StepCache(cache),
        deadline=Deadline(seconds),
        progress=SilentProgress(),
    )


def write_classes(folder: Path, count: int = 36) -> Path:
    """``depthwise.onnx`` and ``soft/``, pictures for it, in a folder."""
    import cv2

    place = folder / "soft"
    place.mkdir(parents=True, exist_ok=True)
    (folder / "depthwise.onnx").write_bytes(depthwise_classifier())
    for number, feeds in enumerate(smooth(count)):
        image = np.clip(feeds["image"][0].transpose(1, 2, 0)[..., ::-1] * 230, 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(place / f"{number**2}.png"), image)
    return folder


def classes_command(folder: Path, output: Path, *more: str) -> list[str]:
    """The command line for it; the forms are few and timing is short, for none of that is what tests look at."""
    words = ["optimize", str(folder / "depthwise.onnx"), "--task", "classify", "--resize", "stretch"]
    words += ["--mean", "0", "0", "0", "--std", "1", "1", "1", "--calibrate", str(folder / "soft"), "-o", str(output)]
    return [*words, "--runs", "20", *more]
