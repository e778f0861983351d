"""`edgewright optimize`: a float model becomes a judged INT8 bundle with its report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode, MissingExtraError
from edgewright.cli.optimize_request import RECIPE_KEYS, build_request, merge_values

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edgewright.optimize.request import OptimizeRequest, OptimizeResult

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG = """\
examples:
  edgewright optimize person.onnx --spec spec.toml -o person.edge \\
      --calibrate 'street.avi#1::8' --select 'street.avi#5::8' --agree 'street.avi#3::4' \\
      --min-agreement 93 --min-speedup 1.5 --max-size 4MB
  edgewright optimize mobilenet.onnx --task classify --calibrate photos/ -o mobilenet.edge
  edgewright optimize --recipe crossing.toml --plan
  edgewright optimize --recipe crossing.toml --effort best --time-budget 20m
  edgewright optimize person.onnx --spec spec.toml --recipe qat-int8 --train 'street.avi#1::4' \\
      --calibrate 'street.avi#3::8' --min-agreement 90 -o person.edge

Recipes by name: distil-int8, prune-int8, distil-prune-int8, qat-int8, sparse-int8. They train on --train, and what is
judged is always held against the model as it was given.

SOURCE is a folder of pictures, one picture, a video or an .npz, optionally with a slice: clip.avi#start:stop:step.
Calibration pictures set the integers, selection pictures choose among candidates, agreement and labelled pictures judge
the result; no picture serves twice. What is not given for selection and agreement is held out of the calibration
pictures.
Exit code 0: every promise kept (or none made), 3: one broken, 4: too little data to tell. The bundle is written all the
same and carries the verdict. The report's folder holds a recipe.toml that makes the same file again.
"""


_MODEL = (
    "an .onnx file, package.module:factory or a .pt2 file of PyTorch, a .keras file, a SavedModel's folder, a TensorFlow "
    "frozen graph .pb, or a float .tflite file"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments; defaults live in one table, for a recipe may set them too."""
    parser.add_argument("model", nargs="?", help=_MODEL)
    parser.add_argument("-o", "--output", metavar="OUT.edge", help="the bundle to write")
    parser.add_argument(
        "--recipe", metavar="RECIPE", help="flags from a .toml file, or a recipe by name; flags given here win"
    )
    _add_model(parser.add_argument_group("model"))
    _add_data(parser.add_argument_group("pictures and labels"))
    _add_training(parser.add_argument_group("training, for recipes that distil, prune or tune (PyTorch)"))
    _add_search(parser.add_argument_group("how the integer model is looked for"))
    _add_contract(parser.add_argument_group("contract"))
    result = parser.add_argument_group("result")
    result.add_argument("--report", metavar="DIR", help="folder of the report (default: OUT-report)")
    result.add_argument(
        "--formats", metavar="LIST", help="file formats of the bundle: onnx (default), tflite, or onnx,tflite for both"
    )
    result.add_argument("--keep-float", action="store_true", default=None, help="put the float model in, too")
    result.add_argument("--name", help="name of the bundle (default: the model's)")
    result.add_argument("--version", help="version of the bundle (default: 1)")
    result.add_argument("--json", action="store_true", help="print the report as JSON, and nothing else")


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--weights", metavar="FILE", help="given to the factory")
    group.add_argument("--graph-inputs", metavar="NODE:0", help="frozen graph: the tensor that takes the picture")
    group.add_argument("--graph-outputs", metavar="NODE:0,...", help="frozen graph: the tensors to read")
    group.add_argument("--spec", metavar="FILE.toml", help="how the file of a detector is fed and read")
    group.add_argument("--task", choices=["classify"], help="the file is a plain classifier")
    group.add_argument("--class-names", metavar="FILE", help="classifier: names, one a line")
    group.add_argument("--size", metavar="WxH", help="classifier: input size, if the file leaves it open")
    group.add_argument("--resize", choices=["stretch", "letterbox", "crop"], help="classifier: default crop")
    group.add_argument("--color", choices=["RGB", "BGR"], help="classifier: default RGB")
    group.add_argument("--scale", type=float, help="classifier: factor on the pixel (default 1/255)")
    group.add_argument("--mean", type=float, nargs=3, metavar="X", help="classifier: default ImageNet's")
    group.add_argument("--std", type=float, nargs=3, metavar="X", help="classifier: default ImageNet's")
    group.add_argument("--crop-from", type=int, metavar="PIXELS", help="classifier: shorter side before the crop")
    group.add_argument("--activation", choices=["none", "sigmoid", "softmax"], help="classifier: default by the graph")
    group.add_argument("--top-k", type=int, metavar="K", help="classifier: classes in a result (default 5)")


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--calibrate", metavar="SOURCE", help="pictures that set the integer ranges")
    group.add_argument("--calibrate-every", type=int, metavar="N", help="take every Nth (default for videos: 10)")
    group.add_argument("--calibrate-limit", type=int, metavar="N", help="draw N of them at random")
    group.add_argument("--seed", type=int, metavar="N", help="of that draw (default 0)")
    group.add_argument("--select", metavar="SOURCE", help="pictures that choose among candidates (default: a share)")
    group.add_argument("--labels", metavar="LABELS", help="COCO .json; for classifiers a .csv or a folder of classes")
    group.add_argument("--images", metavar="SOURCE", help="the pictures that were labelled")
    group.add_argument("--agree", metavar="SOURCE", help="unlabelled pictures to compare INT8 with float on")


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--train", metavar="SOURCE", help="pictures to train on, or package.module:factory of a data set"
    )
    group.add_argument(
        "--train-labels",
        metavar="LABELS",
        help="their labels: COCO .json, .csv or a folder of classes; for detectors also the word teacher",
    )
    group.add_argument("--student", metavar="FACTORY", help="package.module:factory of the network to distil into")
    group.add_argument("--student-weights", metavar="FILE", help="given to that factory")
    group.add_argument("--teacher", metavar="FACTORY", help="package.module:factory to learn from (default: the model)")
    group.add_argument("--teacher-weights", metavar="FILE", help="given to that factory")
    group.add_argument(
        "--qat", choices=["never", "needed", "always"], help="quantization-aware training (default: never)"
    )
    group.add_argument(
        "--checkpoints",
        metavar="DIR",
        help="where a killed training goes on from (default: the cache; none with --no-cache)",
    )


def _add_search(group: argparse._ArgumentGroup) -> None:
    efforts = "fast, balanced (default) or best: how many passes are tried"
    group.add_argument("--effort", choices=["fast", "balanced", "best"], help=efforts)
    group.add_argument("--passes", metavar="A,B,...", help="apply these passes instead, without trying")
    group.add_argument("--leave-float", metavar="NODE,...", help="nodes that stay in float whatever is tried")
    group.add_argument("--profile", metavar="NAME", help="the board it is for (edgewright profiles list)")
    group.add_argument(
        "--engine", choices=["edgewright", "neural-compressor"], help="who drives the search (default: edgewright)"
    )
    group.add_argument(
        "--ship", metavar="FORM", help="int8, uint8-input, dynamic, weight-only or float16 (default: choose)"
    )
    group.add_argument(
        "--time-budget", metavar="TIME", help="the search tries nothing new after 90s, 20m or 1h; training is not cut"
    )
    group.add_argument("--no-cache", action="store_true", default=None, help="neither use nor keep finished steps")
    group.add_argument("--plan", action="store_true", help="say what would run, for how long, and stop")
    group.add_argument("--explain", action="store_true", help="say of every step why it ran again")


def _add_contract(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--max-drop", type=float, metavar="POINTS", help="points of the metric that may be lost")
    group.add_argument("--metric", choices=["ap50", "ap"], help="which AP --max-drop is about (default ap50)")
    group.add_argument("--min-agreement", type=float, metavar="PERCENT", help="of float's answers to be kept")
    group.add_argument("--min-speedup", type=float, metavar="RATIO", help="float time over INT8 time")
    group.add_argument("--max-size", metavar="SIZE", help="of the INT8 model file, such as 4MB or 3.5MiB")
    group.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default 1)")
    group.add_argument("--runs", type=int, metavar="N", help="timed frames of each model (default 240)")


def run(args: argparse.Namespace) -> int:
    """Optimizes, prints a summary, and returns the verdict's exit code."""
    _need_extra()
    from edgewright.optimize.pipeline import run_optimize
    from edgewright.optimize.progress import open_progress

    # Tables can be written in a recipe only.
    given = {key: value for key in RECIPE_KEYS if (value := getattr(args, key, None)) is not None}
    request = build_request(merge_values(given, args.recipe))
    if args.plan:
        return _plan(request, as_json=args.json)
    with open_progress(silent=args.json) as progress:
        result = run_optimize(request, progress)
    if args.json:
        files = [str(path) for path in result.report_files]
        told = {"bundle": str(result.bundle), "files": files, "report": result.report}
        if args.explain:
            told["steps"] = [str(explanation) for explanation in result.explanations]
        print(json.dumps(told))
    else:
        print("\n".join(_summary(result)))
        if args.explain:
            print("\n".join(str(explanation) for explanation in result.explanations))
    return result.verdict.status.exit_code


def _plan(request: OptimizeRequest, *, as_json: bool) -> int:
    from edgewright.optimize.pipeline import plan_optimize
    from edgewright.optimize.progress import open_progress

    with open_progress(silent=as_json) as progress:
        plan = plan_optimize(request, progress)
    print(json.dumps(plan.values()) if as_json else "\n".join(plan.lines()))
    return ExitCode.OK


def _need_extra() -> None:
    from importlib.util import find_spec

    for package in ("onnx", "onnxruntime", "scipy", "jinja2", "rich"):
        if find_spec(package) is None:
            what = f"edgewright optimize needs {package}, which is not installed here"
            raise MissingExtraError(what, "optimize")


def _summary(result: OptimizeResult) -> Iterator[str]:
    from edgewright.optimize.report.summary import summary_lines

    yield from summary_lines(result.report)
    yield f"  bundle     {result.bundle}"
    yield f"  report     {result.report_files[0]}"
