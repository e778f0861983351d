"""The words of the report: what figures are called, and what a form is, by a report's JSON values.

All of it is told from what every report of this schema holds, so that bundles made before are told as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.bundle.figures import fixed
from edgewright.optimize.variants.form import called, plain_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "METRIC_TITLES",
    "form_word",
    "int8_left_out",
    "metric_interval",
    "metric_title",
    "metric_value",
    "own_verdict",
    "parts_of",
    "why_float",
]

#: Metric name to (title, factor, decimals, unit) as people read it; ``float`` and ``INT8`` stand for the two compared.
METRIC_TITLES: Mapping[str, tuple[str, float, int, str]] = {
    "ap50": ("AP at IoU 0.5", 100, 1, ""),
    "ap50_drop": ("AP at IoU 0.5, lost", 100, 1, " points"),
    "ap": ("AP at IoU 0.50 to 0.95", 100, 1, ""),
    "ap_drop": ("AP at IoU 0.50 to 0.95, lost", 100, 1, " points"),
    "top1_accuracy": ("top-1 accuracy", 100, 1, " %"),
    "top1_accuracy_drop": ("top-1 accuracy, lost", 100, 1, " points"),
    "boxes_kept": ("float boxes kept", 100, 1, " %"),
    "boxes_extra": ("INT8 boxes that float does not have", 100, 1, " %"),
    "mean_iou": ("mean IoU of kept boxes", 1, 3, ""),
    "score_rmse": ("score error (RMSE) of kept boxes", 1, 3, ""),
    "top1_score_rmse": ("error of the best class's probability (RMSE)", 1, 3, ""),
    "agreement_ap50": ("AP with float's boxes as truth", 100, 1, ""),
    "top1_agreement": ("same best class", 100, 1, " %"),
}
_SHIPS_FLOAT = "; the float model is shipped"
_WORST_FIRST = ("FAIL", "INCONCLUSIVE")
_SAME_SPEED = 1.03  # as the choice counts it


def form_word(judged: Mapping[str, Any]) -> str:
    """What the form that was measured is called in headings: ``INT8``, or its name where it is no INT8 form.

    Args:
        judged: A part's ``judged``.
    """
    return called(judged["name"], judged["precision"])


def parts_of(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The report and its further formats, one part a format.

    Args:
        report: The report's JSON values.
    """
    return [report, *report.get("further_formats", ())]


def metric_title(metric: Mapping[str, Any] | str, other: str = "INT8", base: str = "float") -> str:
    """A figure's name.

    Args:
        metric: Its row, or its name.
        other: What the form compared is called.
        base: What stands in the place of float.
    """
    name = metric if isinstance(metric, str) else metric["name"]
    title = METRIC_TITLES.get(name, (name, 1, 4, ""))[0] if name in METRIC_TITLES else name
    return " ".join(_swapped(word, {"float": base, "float's": f"{base}'s", "INT8": other}) for word in title.split(" "))


def _swapped(word: str, words: Mapping[str, str]) -> str:
    return words.get(word, word)


def metric_value(metric: Mapping[str, Any]) -> str:
    """A figure with its unit.

    Args:
        metric: Its row.
    """
    _, factor, decimals, unit = METRIC_TITLES.get(metric["name"], ("", 1, 4, ""))
    return f"{fixed(metric['value'] * factor, decimals)}{unit}"


def metric_interval(metric: Mapping[str, Any]) -> str:
    """A figure's interval; in words where it is all that the figure can be.

    Args:
        metric: Its row.
    """
    _, factor, decimals, _ = METRIC_TITLES.get(metric["name"], ("", 1, 4, ""))
    low, high = metric["low"], metric["high"]
    least = -1.0 if metric["name"].endswith("_drop") else 0.0
    if factor != 1 and low <= least and high >= 1.0:
        return "too few pictures to tell"
    return f"{fixed(low * factor, decimals)} to {fixed(high * factor, decimals)}"


def why_float(part: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Why the float model is shipped in one of the formats, without saying again that it is.

    Args:
        part: Of the report, where ``float_shipped`` holds.
        report: The whole of it.
    """
    judged = part["judged"]
    # Reports of before tell it of the first format by its choice, and of the others by their notes only.
    told = [judged["why"]] if judged.get("why") else [report["story"]["choice"], *report["notes"]]
    named = [text for text in told if text.endswith(_SHIPS_FLOAT) and f"{judged['name']} " in text]
    return named[0].removesuffix(_SHIPS_FLOAT) if named else f"{judged['name']} is not faster here"


def own_verdict(part: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """The verdict of one format alone; at the top stands that of all together.

    Args:
        part: Of the report.
        report: The whole of it.
    """
    verdict = part["verdict"]
    if part is not report or not report["further_formats"]:
        return str(verdict["status"])
    own = [row["status"] for row in verdict["clauses"] if row["sentence"].startswith(f"{part['format']}: ")]
    if not own:
        return str(verdict["status"])
    return next((status for status in _WORST_FIRST if status in own), "PASS")


def int8_left_out(report: Mapping[str, Any]) -> Iterator[str]:
    """Says of every format that ships another form than INT8, though INT8 was there, that and why.

    Where float is shipped instead, that is told with its own reason.

    Args:
        report: The report's JSON values.

    Yields:
        Sentences.
    """
    rows = {row["name"]: row for row in report["story"]["forms"]}
    for part in parts_of(report):
        judged = part["judged"]
        suffix = judged["name"].removeprefix(plain_name(judged["name"]))
        int8 = rows.get(f"int8{suffix}")
        if judged["float_shipped"] or judged["precision"] == "int8" or int8 is None:
            continue
        why = _why_another(int8, rows.get(judged["name"]), _reason(judged, report))
        yield f"{int8['name'].replace('int8', 'INT8')} not shipped: {why}"


def _reason(judged: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    told: Sequence[str] = [judged.get("why") or "", report["story"]["choice"], *report["notes"]]
    return next((text for text in told if text.startswith(f"{judged['name']}: ")), "")


def _why_another(int8: Mapping[str, Any], other: Mapping[str, Any] | None, reason: str) -> str:
    if reason.endswith("wanted by name"):
        return reason.replace(": wanted", " was wanted")
    if int8["problem"]:
        return str(int8["problem"])
    if other is None or other["speedup"] is None or int8["speedup"] is None:
        return reason
    mine, its = int8["speedup"][0], other["speedup"][0]
    told = f"{fixed(mine, 2)}x against {fixed(its, 2)}x of {other['name']}"
    if its < mine * _SAME_SPEED and None not in {int8["loss"], other["loss"]}:
        told += f", loss {fixed(int8['loss'], 4)} against {fixed(other['loss'], 4)}"
    return f"{told} by the brief timing"
