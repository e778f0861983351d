"""`edgewright optimize`: a float model becomes a judged INT8 bundle with its report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import EdgewrightError, MissingExtraError
from edgewright.cli.arguments import threads_argument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.optimize.pipeline import OptimizeRequest, OptimizeResult
    from edgewright.optimize.spec import ClassifierOptions, ModelSpec

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG = """\
examples:
  edgewright optimize person.onnx --spec person.toml -o person.edge \\
      --calibrate 'street.avi#1::8' --agree 'street.avi#3::4' --min-agreement 93 --min-speedup 1.7 --max-size 4MB
  edgewright optimize mobilenet.onnx --task classify --calibrate photos/ -o mobilenet.edge
  edgewright optimize --recipe person-recipe.toml

SOURCE is a folder of pictures, one picture or a video, optionally with a slice: clip.avi#start:stop:step.
Exit code 0: every promise kept (or none made), 3: one broken, 4: too little data to tell. The bundle is written all the
same and carries the verdict.
"""

_NUMBER = (int, float)
_SHOWN = 80
#: Everything a recipe may hold, by flag with underscores, and the type of its value there.
RECIPE_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "model": str,
    "output": str,
    "weights": str,
    "spec": str,
    "task": str,
    "class_names": str,
    "size": str,
    "resize": str,
    "color": str,
    "scale": _NUMBER,
    "mean": list,
    "std": list,
    "crop_from": int,
    "activation": str,
    "top_k": int,
    "calibrate": str,
    "calibrate_every": int,
    "method": str,
    "labels": str,
    "images": str,
    "agree": str,
    "metric": str,
    "max_drop": _NUMBER,
    "min_agreement": _NUMBER,
    "min_speedup": _NUMBER,
    "max_size": (str, int),
    "threads": int,
    "runs": int,
    "report": str,
    "keep_float": bool,
    "name": str,
    "version": str,
}
# Where a result goes does not determine what it is.
_NOT_RECORDED = frozenset({"output", "report"})
# A bundle travels: of these only the last part of the path goes into its provenance.
_PATHS = frozenset({"model", "weights", "spec", "class_names", "calibrate", "labels", "images", "agree"})
_DEFAULTS: Mapping[str, Any] = {"method": "minmax", "metric": "ap50", "threads": 1, "runs": 240, "version": "1"}
_CLASSIFIER_KEYS = frozenset(
    {"class_names", "size", "resize", "color", "scale", "mean", "std", "crop_from", "activation", "top_k"}
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments; defaults live in one table, for a recipe may set them too."""
    parser.add_argument("model", nargs="?", help="an .onnx file, or package.module:factory for PyTorch")
    parser.add_argument("-o", "--output", metavar="OUT.edge", help="the bundle to write")
    parser.add_argument("--recipe", type=Path, metavar="FILE.toml", help="flags from a file; those given here win")
    _add_model(parser.add_argument_group("model"))
    _add_data(parser.add_argument_group("pictures and labels"))
    _add_contract(parser.add_argument_group("contract"))
    result = parser.add_argument_group("result")
    result.add_argument("--report", metavar="DIR", help="folder of the report (default: OUT-report)")
    result.add_argument("--keep-float", action="store_true", default=None, help="put the float model in, too")
    result.add_argument("--name", help="name of the bundle (default: the model's)")
    result.add_argument("--version", help="version of the bundle (default: 1)")
    result.add_argument("--json", action="store_true", help="print the report as JSON, and nothing else")


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--weights", metavar="FILE", help="given to the factory")
    group.add_argument("--spec", metavar="FILE.toml", help="how an .onnx detector is fed and read")
    group.add_argument("--task", choices=["classify"], help="the .onnx file is a plain classifier")
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
    group.add_argument("--method", choices=["minmax", "mean-minmax"], help="how ranges are set (default minmax)")
    group.add_argument("--labels", metavar="LABELS", help="COCO .json; for classifiers a .csv or a folder of classes")
    group.add_argument("--images", metavar="SOURCE", help="the pictures that were labelled")
    group.add_argument("--agree", metavar="SOURCE", help="unlabelled pictures to compare INT8 with float on")


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

    request = _request(_values(args))
    with open_progress(silent=args.json) as progress:
        result = run_optimize(request, progress)
    if args.json:
        files = [str(path) for path in result.report_files]
        print(json.dumps({"bundle": str(result.bundle), "files": files, "report": result.report}))
    else:
        print("\n".join(_summary(result)))
    return result.verdict.status.exit_code


def _need_extra() -> None:
    from importlib.util import find_spec

    for package in ("onnx", "onnxruntime", "scipy", "jinja2", "rich"):
        if find_spec(package) is None:
            what = f"edgewright optimize needs {package}, which is not installed here"
            raise MissingExtraError(what, "optimize")


def _values(args: argparse.Namespace) -> dict[str, Any]:
    from edgewright.optimize.recipe import load_recipe

    given = {key: getattr(args, key) for key in RECIPE_KEYS if getattr(args, key) is not None}
    recipe = load_recipe(args.recipe, RECIPE_KEYS) if args.recipe is not None else {}
    values = {**_DEFAULTS, **recipe, **given}
    for key, flag in (("model", "MODEL"), ("output", "-o OUT.edge"), ("calibrate", "--calibrate SOURCE")):
        if key not in values:
            msg = f"{flag} is missing; see edgewright optimize --help for an example"
            raise EdgewrightError(msg)
    return values


def _request(values: Mapping[str, Any]) -> OptimizeRequest:
    from edgewright.optimize.calibrate import RangeMethod
    from edgewright.optimize.contract import Contract
    from edgewright.optimize.data.plan import DataChoice
    from edgewright.optimize.pipeline import OptimizeRequest
    from edgewright.optimize.recipe import recipe_values
    from edgewright.optimize.sizes import parse_bytes
    from edgewright.runtime.bench import settings_for

    limits = {key: values.get(key) for key in ("max_drop", "min_agreement", "min_speedup")}
    size = parse_bytes(str(values["max_size"])) if "max_size" in values else None
    for key in (*sorted(_PATHS), *sorted(_NOT_RECORDED)):
        _path(values.get(key))
    return OptimizeRequest(
        model=values["model"],
        output=Path(values["output"]).expanduser(),
        data=DataChoice(
            calibrate=values["calibrate"],
            calibrate_every=values.get("calibrate_every"),
            labels=_path(values.get("labels")),
            images=values.get("images"),
            agree=values.get("agree"),
        ),
        weights=_path(values.get("weights")),
        spec=_spec(values),
        contract=Contract(**limits, max_size=size),
        metric=_choice(values, "metric", ("ap50", "ap")),
        method=RangeMethod(_choice(values, "method", [method.value for method in RangeMethod])),
        timing=settings_for(values["runs"], _threads(values)),
        keep_float=bool(values.get("keep_float")),
        name=values.get("name"),
        version=values["version"],
        report=_path(values.get("report")),
        recipe=recipe_values({key: _recorded(key, value) for key, value in values.items() if key not in _NOT_RECORDED}),
    )


def _spec(values: Mapping[str, Any]) -> ModelSpec | ClassifierOptions | None:
    from edgewright.optimize.errors import SpecError
    from edgewright.optimize.sources import load_spec

    extra = sorted(_CLASSIFIER_KEYS & set(values))
    if values.get("task") is None:
        if extra:
            msg = f"--{extra[0].replace('_', '-')} describes a classifier; add --task classify"
            raise SpecError(msg)
        return load_spec(Path(values["spec"])) if "spec" in values else None
    if "spec" in values:
        msg = "--task classify and --spec both say how the model is read; give one of the two"
        raise SpecError(msg)
    _choice(values, "task", ("classify",))
    return _classifier(values)


def _classifier(values: Mapping[str, Any]) -> ClassifierOptions:
    from edgewright.bundle.manifest import ColorOrder, ResizeMode, ScoreActivation
    from edgewright.optimize.sources.spec_file import load_labels
    from edgewright.optimize.spec import ClassifierOptions

    given: dict[str, Any] = {key: values[key] for key in ("scale", "crop_from", "top_k", "name") if key in values}
    given |= {key: _triple(values, key) for key in ("mean", "std") if key in values}
    for key, kind in (("resize", ResizeMode), ("color", ColorOrder), ("activation", ScoreActivation)):
        if key in values:
            given[key] = kind(_choice(values, key, [member.value for member in kind]))
    if "class_names" in values:
        given["labels"] = load_labels(Path(values["class_names"]))
    if "size" in values:
        given["size"] = _size(values["size"])
    return ClassifierOptions(**given)


def _choice(values: Mapping[str, Any], key: str, allowed: list[str] | tuple[str, ...]) -> str:
    """The value of ``key``; argparse has checked flags already, a recipe's values come here unchecked."""
    value: str = values[key]
    if value not in allowed:
        msg = f"--{key.replace('_', '-')} cannot be {value!r}; it may be {', '.join(allowed)}"
        raise EdgewrightError(msg)
    return value


def _threads(values: Mapping[str, Any]) -> int:
    try:
        return threads_argument(str(values["threads"]))
    except argparse.ArgumentTypeError as error:
        msg = f"--threads: {error}"
        raise EdgewrightError(msg) from error


def _recorded(key: str, value: Any) -> Any:
    return PurePath(value).name or value if key in _PATHS else value


def _triple(values: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    numbers = values[key]
    if len(numbers) != 3 or not all(isinstance(number, _NUMBER) for number in numbers):
        msg = f"--{key} needs three numbers, one a channel, found {numbers}"
        raise EdgewrightError(msg)
    return (float(numbers[0]), float(numbers[1]), float(numbers[2]))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        msg = f"--size cannot be {text!r}; write it as WIDTHxHEIGHT, for example 224x224"
        raise EdgewrightError(msg)
    return int(width), int(height)


def _path(text: str | None) -> Path | None:
    """A path as typed; one that no file system could hold is refused here, before any work."""
    if text is None:
        return None
    try:
        path = Path(text).expanduser()
        path.lstat()
    except FileNotFoundError:
        return path
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, (NotADirectoryError, PermissionError)):
            return path  # whoever opens it says so in its own words
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        msg = f"{shown!r} cannot be a path: {getattr(error, 'strerror', None) or error}"
        raise EdgewrightError(msg) from error
    return path


def _summary(result: OptimizeResult) -> Iterator[str]:
    from edgewright.optimize.report.summary import summary_lines

    yield from summary_lines(result.report)
    yield f"  bundle     {result.bundle}"
    yield f"  report     {result.report_files[0]}"
