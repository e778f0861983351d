"""The few lines a person reads first, after the command has run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.bundle.figures import fixed, milliseconds
from edgewright.optimize.evaluate.quality import FLOAT
from edgewright.optimize.report.words import (
    form_word,
    int8_left_out,
    metric_interval,
    metric_title,
    metric_value,
    why_float,
)
from edgewright.optimize.sizes import format_bytes, size_change
from edgewright.runtime.bench_ratio import MIN_PAIRS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ratio_spread", "summary_lines"]

_OF_EITHER = frozenset({"ap50", "ap", "top1_accuracy"})


def summary_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Verdict, size, speed and quality, one a line.

    Args:
        report: The report's JSON values.

    Yields:
        Lines of text.
    """
    bundle, judged = report["bundle"], report["judged"]
    yield f"{report['verdict']['status']}  {bundle['name']} {bundle['version']}"
    if judged["float_shipped"]:
        yield f"  float model shipped: {why_float(report, report)}"
    for clause in report["verdict"]["clauses"]:
        yield f"  {clause['status']:<13}{clause['sentence']}"
    yield f"  size       {_size(report)}"
    yield from _speed_lines(report)
    if judged["float_shipped"]:
        yield f"  not shipped: {judged['name']}, {_measured(report)}"
    for sentence in int8_left_out(report):
        yield f"  {sentence}"
    for title, quality in (("labels", report["labelled"]), ("warning", report["agreement"])):
        if quality and quality.get("doubt"):
            yield f"  {title:<11}{quality['doubt']}"
    for further in report["further_formats"]:
        yield f"  {further['format']}: {_in_short(further)}"
    yield from _quality_lines(report)


def _size(part: Mapping[str, Any]) -> str:
    size = part["size"]
    if part["judged"]["float_shipped"]:
        return f"{format_bytes(size['float_bytes'])}, the float model's"
    change = f"{format_bytes(size['float_bytes'])} to {format_bytes(size['judged_bytes'])}"
    return f"{change}, {size_change(size['ratio'])}"


def _in_short(further: Mapping[str, Any]) -> str:
    """Another format's figures on one line: of what is shipped, then of what is not."""
    judged = further["judged"]
    if not judged["float_shipped"]:
        return f"{judged['shipped']}, {_measured(further)}"
    own = f"{judged['shipped']}, {_size(further)}, p50 {_p50(further['speed']['variants'][0])} ms"
    return f"{own}; not shipped: {judged['name']}, {_measured(further)}"


def _measured(part: Mapping[str, Any]) -> str:
    """Size, speed and agreement of the form that was measured."""
    size, rows = part["size"], part["agreement"].get("metrics", [])
    change = f"{format_bytes(size['float_bytes'])} to {format_bytes(size['judged_bytes'])}"
    speed = [f"{fixed(row['value'], 2)}x [{ratio_spread(row)}]" for row in part["speed"]["ratios"] if row["resolved"]]
    kept = (
        [f"{fixed(100 * rows[0]['value'], 1)} % [{metric_interval(rows[0])}] of float's answers kept"] if rows else []
    )
    alone = [row for row in part["speed"].get("inference_ratios", ()) if row["resolved"]]
    speed += [f"the model alone {fixed(row['value'], 2)}x [{ratio_spread(row)}]" for row in alone if speed]
    return ", ".join([change, *(speed or ["speed not resolved"]), *kept])


def ratio_spread(ratio: Mapping[str, Any]) -> str:
    """The interval of a speed ratio in words."""
    if ratio["pairs"] < MIN_PAIRS:
        return f"anything: only {ratio['pairs']} pairs of turns"
    return f"{fixed(ratio['low'], 2)} to {fixed(ratio['high'], 2)}"


def _p50(row: Mapping[str, Any]) -> str:
    return milliseconds(row["stages"]["total"]["p50"], 1)


def _speed_lines(report: Mapping[str, Any]) -> Iterator[str]:
    speed, judged = report["speed"], report["judged"]
    where = f"on {speed['conditions']['threads']} thread(s)"
    where += " of this machine, not the board" if judged["foreign"] else ""
    if judged["float_shipped"]:
        yield f"  speed      p50 {_p50(speed['variants'][0])} ms {where}"
        return
    times = " to ".join(_p50(row) for row in speed["variants"])
    alone = {row["variant"]: row for row in speed.get("inference_ratios", ()) if row["resolved"]}
    for ratio in speed["ratios"]:
        # No ratio where noise is larger than the effect: it would be read as one.
        told = (
            f"{fixed(ratio['value'], 2)}x [{ratio_spread(ratio)}]"
            if ratio["resolved"]
            else f"not resolved: {_doubt(ratio)}"
        )
        yield f"  speed      p50 {times} ms, {told} {where}"
        if ratio["resolved"] and ratio["variant"] in alone:
            row = alone[ratio["variant"]]
            yield f"  {'':<11}the model alone {fixed(row['value'], 2)}x [{ratio_spread(row)}]"


def _quality_lines(report: Mapping[str, Any]) -> Iterator[str]:
    judged = report["judged"]
    for quality in (report["labelled"], report["agreement"]):
        for metric in quality["metrics"] if quality else ():
            whose = [metric["variant"]] if metric["name"] in _OF_EITHER else []
            if judged["float_shipped"] and metric["variant"] != FLOAT:
                whose = [f"{judged['name']}, not shipped"]
            title = metric_title(metric, form_word(judged)) + "".join(f" ({name})" for name in whose)
            interval = f"[{metric_interval(metric)}], {metric['samples']} pictures"
            yield f"  {'quality':<11}{title} {metric_value(metric)} {interval}"


def _doubt(ratio: Mapping[str, Any]) -> str:
    spread = ratio_spread(ratio)
    return f"the ratio may be {spread}" if ratio["pairs"] < MIN_PAIRS else f"noise spreads the ratio over {spread}"
