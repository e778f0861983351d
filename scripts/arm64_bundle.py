"""The bundle that ``scripts/arm64`` carries over: made and kept, or altered so that it has to be refused."""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from arm64_root import REPOSITORY, Failed, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["altered", "make_bundle", "operator_models", "sampled"]

MODEL, WEIGHTS, CLIP = "examples.person.model:factory", "frozen_inference_graph.pb", "vtest.avi"
OPTIMIZE_TIMEOUT_S = 1800
BEYOND = 3.0
INTEGER_KINDS = ("QLinearConv", "QLinearAdd")


def make_bundle(samples: Path, cache: Path, *, fresh: bool, say: Callable[[str], None]) -> Path:
    """The person detector as ONNX and TFLite, INT8 and float; made once for the same samples and settings.

    Raises:
        Failed: The samples are not there, or optimizing fails.
    """
    clip, weights = samples / CLIP, samples / WEIGHTS
    for path in (clip, weights):
        if not path.is_file():
            raise Failed(f"there is no {path}; run scripts/samples person first")
    slices = ("--calibrate", "#1::16", "--select", "#5::8", "--agree", "#3::4")
    words = [f"{clip}{word}" if word.startswith("#") else word for word in slices]
    settings = ("--formats", "onnx,tflite", "--keep-float", "--effort", "fast")
    hashed = hashlib.sha256()
    for part in (clip.read_bytes(), weights.read_bytes(), " ".join((MODEL, *slices, *settings)).encode()):
        hashed.update(part)
    hashed.update(importlib.metadata.version("edgewright").encode())
    target = cache / "bundles" / f"person-{hashed.hexdigest()[:12]}.edge"
    if target.is_file() and not fresh:
        return target
    say("optimizing the person detector for both formats (some minutes, kept for the next run)")
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "edgewright.cli.main", "optimize", MODEL, "--weights", str(weights)]
    done = run([*command, *words, *settings, "-o", target], timeout_s=OPTIMIZE_TIMEOUT_S, cwd=REPOSITORY)
    # 3 and 4 tell of a contract, and none was asked for; a bundle is what counts.
    if not target.is_file():
        raise Failed(f"edgewright optimize ended with {done.code}: {done.words}")
    return target


def altered(bundle_path: Path, target: Path) -> tuple[str, float]:
    """Writes the INT8 variants of a bundle with one golden number beyond its tolerance; every digest is right.

    Returns:
        ``VARIANT/OUTPUT`` that is now wrong, and by how much.
    """
    import dataclasses

    from edgewright.bundle.golden import read_golden, write_golden
    from edgewright.bundle.reader import open_bundle
    from edgewright.bundle.writer import write_bundle

    with open_bundle(bundle_path) as bundle:
        manifest = bundle.manifest
        if manifest.golden is None:
            raise Failed(f"{bundle_path} carries no golden answers")
        kept = tuple(variant for variant in manifest.variants if variant.precision.value == "int8")
        dropped = {variant.file for variant in manifest.variants} - {variant.file for variant in kept}
        payload = {row.path: bundle.read(row.path) for row in manifest.files if row.path not in dropped}
        golden = read_golden(payload[manifest.golden.file])
        outputs = {
            variant.name: [{name: value.copy() for name, value in row.items()} for row in golden.outputs[variant.name]]
            for variant in kept
        }
        wrong = f"{kept[0].name}/{kept[0].outputs[0].name}"
        by = BEYOND * manifest.golden.tolerance[wrong]
        array = outputs[kept[0].name][0][kept[0].outputs[0].name]
        array.flat[array.size // 2] += by
        payload[manifest.golden.file] = write_golden(golden.frames, outputs)
        names = {variant.name for variant in kept}
        tolerance = {key: value for key, value in manifest.golden.tolerance.items() if key.split("/")[0] in names}
        metrics = tuple(row for row in manifest.metrics if row.variant in names)
        changed = dataclasses.replace(
            manifest,
            variants=kept,
            metrics=metrics,
            golden=dataclasses.replace(manifest.golden, tolerance=tolerance),
        )
        write_bundle(target, changed, payload)
    return wrong, by


def sampled(clip: Path, pictures: int, first: int, size: tuple[int, int], work: Path) -> int:
    """Takes what both sides look at out of a clip.

    ``frames.npz`` are evenly spread frames, ``fitted.npz`` the same at the size of the model's input, and the folder
    ``fitted`` holds the first frames at that size. Fitting is done here and once, for OpenCV resizes differently elsewhere.

    Args:
        clip: The video.
        pictures: How many are spread over it.
        first: How many of the first go into the folder.
        size: Width and height of the model's input.
        work: Where all this is put.

    Returns:
        How many pictures there are.

    Raises:
        Failed: The clip cannot be read.
    """
    import cv2

    capture = cv2.VideoCapture(str(clip))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.unique(np.linspace(0, max(total - 1, 0), pictures).round().astype(int)).tolist())
    frames: dict[str, Any] = {}
    fitted: dict[str, Any] = {}
    (work / "fitted").mkdir()
    for index in range(total):
        there, frame = capture.read()
        if not there:
            break
        small = (
            cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR_EXACT) if index in wanted or index < first else None
        )
        if index in wanted:
            frames[f"{index:06d}"], fitted[f"{index:06d}"] = frame, small
        if index < first and small is not None:
            cv2.imwrite(str(work / "fitted" / f"{index:06d}.png"), small)
    capture.release()
    if not frames:
        raise Failed(f"{clip} holds no pictures that can be read")
    np.savez(work / "frames.npz", **frames)
    np.savez(work / "fitted.npz", **fitted)
    return len(frames)


def operator_models(bundle_path: Path, variant: str, frames: Path, target: Path, work: Path) -> int:
    """Every integer operator of an ONNX variant as a model of its own, with its inputs and answer on this machine.

    ONNX Runtime's own fused graph is taken, so the operators are those that a device runs.

    Returns:
        How many.
    """
    import onnx
    import onnxruntime

    from edgewright.bundle.reader import open_bundle
    from edgewright.runtime.preprocess import Preprocessor

    with np.load(frames) as stored:
        frame = stored[min(stored.files)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(work / "fused.onnx")
    with open_bundle(bundle_path) as bundle:
        chosen = bundle.manifest.variant(variant)
        feed, _ = Preprocessor(bundle.manifest.preprocess, chosen.inputs[0])(frame)
        onnxruntime.InferenceSession(bundle.read(chosen.file), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(work / "fused.onnx"))
    nodes = [node for node in model.graph.node if node.op_type in INTEGER_KINDS]
    constants = {item.name: item for item in model.graph.initializer}
    computed = _all_values(onnx, onnxruntime, model, chosen.inputs[0].name, feed)
    arrays: dict[str, Any] = {}
    for index, node in enumerate(nodes):
        given = [name for name in node.input if name and name not in constants]
        graph = onnx.helper.make_graph(
            [node],
            "one",
            [_described(onnx, name, computed[name]) for name in given],
            [_described(onnx, node.output[0], computed[node.output[0]])],
            [constants[name] for name in dict.fromkeys(node.input) if name in constants],
        )
        alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        key = f"{index:04d} {node.op_type}"
        arrays[f"{key}|model"] = np.frombuffer(alone.SerializeToString(), np.uint8)
        arrays[f"{key}|out"] = computed[node.output[0]]
        arrays |= {f"{key}|in|{name}": computed[name] for name in given}
    np.savez(target, **arrays)
    return len(nodes)


def _described(onnx: Any, name: str, value: Any) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _all_values(onnx: Any, onnxruntime: Any, model: Any, entry: str, feed: Any) -> dict[str, Any]:
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    told = {item.name for item in whole.graph.output}
    wanted: Iterable[str] = [name for node in whole.graph.node for name in node.output if node.op_type in INTEGER_KINDS]
    for name in wanted:
        if name not in told:
            whole.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return {entry: feed, **dict(zip(names, session.run(names, {entry: feed}), strict=True))}
