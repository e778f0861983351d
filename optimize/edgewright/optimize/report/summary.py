"""The few lines a person reads first, after the command has run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    from edgewright.optimize.report.render import METRIC_TITLES

    bundle, size = report["bundle"], report["size"]
    yield f"{report['verdict']['status']}  {bundle['name']} {bundle['version']}"
    if report["judged"]["float_shipped"]:
        yield f"  float model shipped: {report['story']['choice']}"
    for clause in report["verdict"]["clauses"]:
        yield f"  {clause['status']:<13}{clause['sentence']}"
    change = f"{format_bytes(size['float_bytes'])} to {format_bytes(size['judged_bytes'])}"
    yield f"  size       {change}, {size_change(size['ratio'])}"
    yield from _speed_lines(report["speed"], "this machine, not the board" if report["judged"]["foreign"] else None)
    if report["labelled"] and report["labelled"].get("doubt"):
        yield f"  labels     {report['labelled']['doubt']}"
    for further in report["further_formats"]:
        yield f"  {further['format']}: {further['judged']['shipped']}, {_in_short(further)}"
    for quality in (report["labelled"], report["agreement"]):
        for metric in quality["metrics"] if quality else ():
            title, factor, decimals, unit = METRIC_TITLES.get(metric["name"], (metric["name"], 1, 4, ""))
            figures = [f"{metric[key] * factor:.{decimals}f}" for key in ("value", "low", "high")]
            whose = f" ({metric['variant']})" if metric["name"] in _OF_EITHER else ""
            interval = f"[{figures[1]} to {figures[2]}], {metric['samples']} pictures"
            yield f"  {'quality':<11}{title}{whose} {figures[0]}{unit} {interval}"


def _in_short(further: Mapping[str, Any]) -> str:
    """Another format's size, speed and agreement on one line."""
    size, rows = further["size"], further["agreement"].get("metrics", [])
    change = f"{format_bytes(size['float_bytes'])} to {format_bytes(size['judged_bytes'])}"
    speed = [f"{row['value']:.2f}x [{ratio_spread(row)}]" for row in further["speed"]["ratios"] if row["resolved"]]
    kept = [f"{100 * rows[0]['value']:.1f} % of float's answers kept"] if rows else []
    alone = [row for row in further["speed"].get("inference_ratios", ()) if row["resolved"]]
    speed += [f"the model alone {row['value']:.2f}x [{ratio_spread(row)}]" for row in alone if speed]
    return ", ".join([change, *(speed or ["speed not resolved"]), *kept])


def ratio_spread(ratio: Mapping[str, Any]) -> str:
    """The interval of a speed ratio in words."""
    if ratio["pairs"] < MIN_PAIRS:
        return f"anything: only {ratio['pairs']} pairs of turns"
    return f"{ratio['low']:.2f} to {ratio['high']:.2f}"


def _speed_lines(speed: Mapping[str, Any], where: str | None) -> Iterator[str]:
    times = " to ".join(f"{row['stages']['total']['p50']:.1f}" for row in speed["variants"])
    alone = {row["variant"]: row for row in speed.get("inference_ratios", ()) if row["resolved"]}
    for ratio in speed["ratios"]:
        threads = speed["conditions"]["threads"]
        whose = "" if where is None else f" of {where}"
        # No ratio where noise is larger than the effect: it would be read as one.
        told = (
            f"{ratio['value']:.2f}x [{ratio_spread(ratio)}]" if ratio["resolved"] else f"not resolved: {_doubt(ratio)}"
        )
        yield f"  speed      p50 {times} ms, {told} on {threads} thread(s){whose}"
        if ratio["resolved"] and ratio["variant"] in alone:
            row = alone[ratio["variant"]]
            yield f"  {'':<11}the model alone {row['value']:.2f}x [{ratio_spread(row)}]"


def _doubt(ratio: Mapping[str, Any]) -> str:
    spread = ratio_spread(ratio)
    return f"the ratio may be {spread}" if ratio["pairs"] < MIN_PAIRS else f"noise spreads the ratio over {spread}"
