"""neural-compressor 3.10: its PyTorch flow (export, prepare, calibrate, convert), then PyTorch's ONNX export.

The release has no ONNX half of its own. Weights come out in float32 behind QuantizeLinear; that is left as it is, for it
is what a user of the flow gets.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import onnx  # noqa: TID253 - this child is about nothing else
import torch  # noqa: TID253
from neural_compressor.torch.export import export  # noqa: TID253
from neural_compressor.torch.quantization import (  # noqa: TID253
    convert,
    get_default_static_config,
    prepare,
)
from peer_common import main, tensors


def pt2e(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Its default static configuration."""
    if job["weights"] is None:
        msg = "neural-compressor 3.10 quantizes PyTorch networks only, and this model comes as an .onnx file"
        raise SystemExit(msg)
    _, rows = tensors(job["calibration"])
    example = (torch.from_numpy(rows[:1].copy()),)
    prepared = prepare(export(model=_module(job), example_inputs=example), get_default_static_config())
    with torch.no_grad():
        for index in range(len(rows)):
            prepared(torch.from_numpy(rows[index : index + 1].copy()))
    converted = convert(prepared)
    target = Path(job["out"], "pt2e.onnx")
    float_ = onnx.load(job["float"])
    names = [value.name for value in float_.graph.output]
    torch.onnx.export(
        converted,
        example,
        str(target),
        dynamo=True,
        external_data=False,
        input_names=[float_.graph.input[0].name],
        output_names=names,
    )
    if not any(node.op_type == "QuantizeLinear" for node in onnx.load(str(target)).graph.node):
        msg = "its flow ran to the end and left everything in float: no operator was quantized"
        raise SystemExit(msg)
    return [{"file": str(target), "label": "pt2e"}]


def _module(job: dict[str, Any]) -> torch.nn.Module:
    """The network from its factory: a saved program has lost the module names that its configuration goes by."""
    sys.path.extend(job["roots"])
    module, _, name = job["model"].partition(":")
    made: torch.nn.Module = getattr(importlib.import_module(module), name)(weights=Path(job["weights"])).module
    return made.eval()


if __name__ == "__main__":
    sys.exit(main({"neural-compressor": pt2e}, ("neural-compressor", "torch", "torchao", "onnx", "numpy")))
