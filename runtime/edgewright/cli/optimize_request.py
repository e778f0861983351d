"""From flags and a recipe to the request that the optimizer understands."""

from __future__ import annotations

import argparse
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import EdgewrightError
from edgewright.cli.arguments import threads_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.bundle.manifest import Format
    from edgewright.optimize.compression.steps import Compression, ModelReference
    from edgewright.optimize.request import EngineChoice, OptimizeRequest
    from edgewright.optimize.sources.tf.names import GraphNames
    from edgewright.optimize.spec import ClassifierOptions, ModelSpec

__all__ = ["RECIPE_KEYS", "build_request", "merge_values"]

_NUMBER = (int, float)
_SHOWN = 80
#: Everything a recipe may hold, by flag with underscores, and the type of its value there.
RECIPE_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "model": str,
    "output": str,
    "weights": str,
    "graph_inputs": (str, list),
    "graph_outputs": (str, list),
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
    "calibrate_limit": int,
    "seed": int,
    "select": str,
    "train": str,
    "train_labels": str,
    "student": str,
    "student_weights": str,
    "teacher": str,
    "teacher_weights": str,
    "checkpoints": str,
    "step": list,
    "distort": dict,
    "qat": (str, dict),
    "effort": str,
    "passes": (str, list),
    "leave_float": (str, list),
    "profile": str,
    "engine": str,
    "ship": str,
    "time_budget": (str, int),
    "no_cache": bool,
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
    "formats": (str, list),
    "name": str,
    "version": str,
}
# Where a result goes does not determine what it is.
_PLACES = frozenset({"output", "report", "checkpoints"})
_NOT_RECORDED = _PLACES | {"no_cache"}
# A bundle travels: of these only the last part of the path goes into its provenance.
_PATHS = frozenset(
    {
        *("model", "weights", "spec", "class_names", "calibrate", "select", "labels", "images", "agree"),
        *("train", "train_labels", "student_weights", "teacher_weights"),
    }
)
_DEFAULTS: Mapping[str, Any] = {
    "effort": "balanced",
    "engine": "edgewright",
    "seed": 0,
    "metric": "ap50",
    "threads": 1,
    "runs": 240,
    "version": "1",
    "formats": "onnx",
}
_CLASSIFIER_KEYS = frozenset(
    {"class_names", "size", "resize", "color", "scale", "mean", "std", "crop_from", "activation", "top_k"}
)


def merge_values(given: Mapping[str, Any], recipe_file: str | None) -> dict[str, Any]:
    """Flags over the recipe over the defaults.

    Args:
        given: The flags given, by key.
        recipe_file: The recipe, a path or the name of one that comes with the tool; None without.

    Raises:
        EdgewrightError: Something that every run needs is missing.
        SpecError: The recipe cannot be used.
    """
    from edgewright.optimize.compression.shipped import recipe_path
    from edgewright.optimize.recipe import load_recipe

    recipe = load_recipe(recipe_path(recipe_file), RECIPE_KEYS) if recipe_file is not None else {}
    values = {**_DEFAULTS, **recipe, **given}
    if isinstance(recipe.get("qat"), dict) and isinstance(values["qat"], str):
        # The flag says when; how stands in the recipe.
        values["qat"] = {**recipe["qat"], "when": values["qat"]}
    for key, flag in (("model", "MODEL"), ("output", "-o OUT.edge"), ("calibrate", "--calibrate SOURCE")):
        if key not in values:
            msg = f"{flag} is missing; see edgewright optimize --help for an example"
            raise EdgewrightError(msg)
    return values


def build_request(values: Mapping[str, Any]) -> OptimizeRequest:
    """The request that values by key stand for.

    Raises:
        EdgewrightError: A value means nothing.
    """
    from edgewright.optimize.contract import Contract
    from edgewright.optimize.data.plan import DataChoice
    from edgewright.optimize.durations import parse_duration
    from edgewright.optimize.recipe import recipe_values
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.sizes import parse_bytes
    from edgewright.runtime.bench import settings_for

    limits = {key: values.get(key) for key in ("max_drop", "min_agreement", "min_speedup")}
    budget = parse_duration(str(values["time_budget"])) if "time_budget" in values else None
    size = parse_bytes(str(values["max_size"])) if "max_size" in values else None
    for key in (*sorted(_PATHS), *sorted(_PLACES)):
        _path(values.get(key))
    return OptimizeRequest(
        model=values["model"],
        output=Path(values["output"]).expanduser(),
        data=DataChoice(
            calibrate=values["calibrate"],
            calibrate_every=values.get("calibrate_every"),
            limit=values.get("calibrate_limit"),
            seed=values["seed"],
            select=values.get("select"),
            labels=_path(values.get("labels")),
            images=values.get("images"),
            agree=values.get("agree"),
        ),
        weights=_path(values.get("weights")),
        spec=_spec(values),
        contract=Contract(**limits, max_size=size, time_budget=budget),
        metric=_choice(values, "metric", ("ap50", "ap")),
        search=_search(values),
        timing=settings_for(values["runs"], _threads(values)),
        keep_float=bool(values.get("keep_float")),
        name=values.get("name"),
        version=values["version"],
        graph=_graph(values),
        formats=_formats(values),
        compression=_compression(values),
        report=_path(values.get("report")),
        recipe=recipe_values({key: _recorded(key, value) for key, value in values.items() if key not in _NOT_RECORDED}),
        typed=recipe_values(values),
    )


def _formats(values: Mapping[str, Any]) -> tuple[Format, ...]:
    from edgewright.bundle.manifest import Format

    names = tuple(dict.fromkeys(_names(values, "formats") or ()))
    unknown = next((name for name in names if name not in {kind.value for kind in Format}), None)
    if unknown is not None or not names:
        msg = f"--formats cannot be {unknown!r}; it may be {', '.join(kind.value for kind in Format)}, or both by comma"
        raise EdgewrightError(msg)
    return tuple(Format(name) for name in names)


def _graph(values: Mapping[str, Any]) -> GraphNames | None:
    """Where a frozen graph is cut; nothing for every other model."""
    from edgewright.optimize.sources.tf.names import GraphNames

    names = GraphNames(_names(values, "graph_inputs") or (), _names(values, "graph_outputs") or ())
    return names or None


_TRAINING = ("train", "train_labels", "student", "student_weights", "teacher", "teacher_weights", "checkpoints")


def _compression(values: Mapping[str, Any]) -> Compression | None:
    """What is trained before and after quantization; None where nothing is."""
    from edgewright.optimize.compression.kept import default_checkpoints
    from edgewright.optimize.compression.recipe import parse_qat, parse_steps
    from edgewright.optimize.compression.steps import Compression, QatWhen
    from edgewright.optimize.compression.tables import settings_from
    from edgewright.optimize.training.sets import Distort, TrainingData

    steps = parse_steps(values.get("step", []))
    written = values.get("qat", QatWhen.NEVER.value)
    if isinstance(written, str):
        written = {"when": _choice({"qat": written}, "qat", [when.value for when in QatWhen])}
    qat = parse_qat(written)
    if not steps and qat.when is QatWhen.NEVER:
        idle = next((key for key in _TRAINING if values.get(key) is not None), None)
        if idle is not None:
            flag = f"--{idle.replace('_', '-')}"
            msg = f"{flag} is about training, and nothing is trained; add --recipe distil-prune-int8, or --qat needed"
            raise EdgewrightError(msg)
        return None
    if values.get("train") is None:
        what = f"the recipe's step {steps[0].label}" if steps else "--qat"
        msg = f"{what} trains and has no pictures for it; add --train SOURCE, and --train-labels where there are labels"
        raise EdgewrightError(msg)
    folder = _path(values.get("checkpoints"))
    if folder is None and not values.get("no_cache"):
        folder = default_checkpoints()
    distort = settings_from(Distort, values.get("distort", {}), "[distort]")
    return Compression(
        data=TrainingData(values["train"], _path(values.get("train_labels")), distort),
        steps=steps,
        student=_reference(values, "student"),
        teacher=_reference(values, "teacher"),
        qat=qat,
        checkpoints=folder,
    )


def _reference(values: Mapping[str, Any], key: str) -> ModelReference | None:
    from edgewright.optimize.compression.steps import ModelReference
    from edgewright.optimize.sources.factory import is_factory_reference

    factory, weights = values.get(key), _path(values.get(f"{key}_weights"))
    if factory is None:
        if weights is not None:
            msg = f"--{key}-weights {weights} belongs to a network; name it with --{key} package.module:factory"
            raise EdgewrightError(msg)
        return None
    if not is_factory_reference(factory):
        msg = f"--{key} cannot be {factory!r}; training takes PyTorch networks: name a function, as package.module:factory"
        raise EdgewrightError(msg)
    return ModelReference(factory, weights)


def _search(values: Mapping[str, Any]) -> EngineChoice:
    from edgewright.device_profiles.profile import load_profile
    from edgewright.optimize.chain.effort import Effort, parse_chain
    from edgewright.optimize.request import Engine, EngineChoice
    from edgewright.optimize.steps import default_folder

    if values.get("profile") is not None:
        load_profile(values["profile"])
    passes = _names(values, "passes")
    return EngineChoice(
        effort=Effort(_choice(values, "effort", [effort.value for effort in Effort])),
        chain=None if passes is None else parse_chain(passes),
        keep_float=frozenset(_names(values, "leave_float") or ()),
        profile=values.get("profile"),
        engine=Engine(_choice(values, "engine", [engine.value for engine in Engine])),
        ship=values.get("ship"),
        cache=None if values.get("no_cache") else default_folder(),
    )


def _names(values: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    """A list of names: written with commas on the command line, as a list in a recipe."""
    given = values.get(key)
    if given is None:
        return None
    parts = given.split(",") if isinstance(given, str) else given
    if not all(isinstance(part, str) and part.strip() for part in parts):
        msg = f"--{key.replace('_', '-')} takes names joined by commas, found {given!r}"
        raise EdgewrightError(msg)
    return tuple(part.strip() for part in parts)


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
