"""HTML and Markdown from a report's JSON values."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.evaluate.quality import FLOAT
from edgewright.optimize.report.charts import gauge, latency_chart, stage_chart
from edgewright.optimize.report.path_chart import path_chart
from edgewright.optimize.report.summary import ratio_spread
from edgewright.optimize.sensitivity.chart import noisiest, region_chart, shown_regions, signed_bytes, sqnr_chart
from edgewright.optimize.sizes import format_bytes, size_change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.report.data import Report

__all__ = ["METRIC_TITLES", "render_html", "render_markdown"]

_HERE = Path(__file__).parent
_SHOWN_ALONE = 4

#: Metric name to (title, factor, decimals, unit) as people read it.
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


def render_html(report: Report) -> str:
    """One HTML page that needs no other file and no network.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    pictures = {
        name: "data:image/jpeg;base64," + base64.b64encode(data).decode() for name, data in report.pictures.items()
    }
    return _render("report.html.j2", report.data, pictures, html=True)


def render_markdown(report: Report) -> str:
    """The same content for reviews and release notes; pictures are links to files beside it.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return _render("report.md.j2", report.data, {name: name for name in report.pictures}, html=False)


def _render(template: str, data: Mapping[str, Any], pictures: Mapping[str, str], *, html: bool) -> str:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        what = "jinja2, which renders reports, is not installed"
        raise MissingExtraError(what, "optimize") from error
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=html,  # noqa: S701 - Markdown is no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"bytes": format_bytes, "metric": _metric, "interval": _interval, "title": _title}
    environment.filters |= {
        "fixed": _fixed,
        "pretty": _pretty,
        "cell": _cell,
        "code": _code,
        "fence": _fence,
        "alone": _alone,
        "shown": shown_regions,
        "noisiest": noisiest,
        "signed_bytes": signed_bytes,
        "size_change": size_change,
        "spread": ratio_spread,
        "count": _count,
        "metric_title": _metric_title,
    }
    environment.globals |= {
        # The charts escape what they take in, so the templates may mark them safe.
        "gauge": gauge,
        "latency_chart": latency_chart,
        "stage_chart": stage_chart,
        "path_chart": path_chart,
        "headline": _headline,
        "region_chart": region_chart,
        "sqnr_chart": sqnr_chart,
    }
    rendered: str = environment.get_template(template).render(r=data, pictures=pictures)
    return rendered


def _title(metric: Mapping[str, Any]) -> str:
    name: str = metric["name"]
    return METRIC_TITLES.get(name, (name, 1, 4, ""))[0]


def _metric(metric: Mapping[str, Any]) -> str:
    _, factor, decimals, unit = METRIC_TITLES.get(metric["name"], ("", 1, 4, ""))
    return f"{metric['value'] * factor:.{decimals}f}{unit}"


def _interval(metric: Mapping[str, Any]) -> str:
    _, factor, decimals, _ = METRIC_TITLES.get(metric["name"], ("", 1, 4, ""))
    return f"{metric['low'] * factor:.{decimals}f} to {metric['high'] * factor:.{decimals}f}"


def _fixed(value: float | None, decimals: int = 2) -> str:
    return "unknown" if value is None else f"{value:.{decimals}f}"


def _metric_title(name: str) -> str:
    return METRIC_TITLES.get(name, (name, 1, 4, ""))[0]


def _count(number: int) -> str:
    """A large number to three digits, with its power of a thousand: ``1.23 M``."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {letter}"
    return str(number)


def _cell(text: object) -> str:
    """Text that may stand in a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _code(text: object) -> str:
    """Text in code marks, fit for a cell of a Markdown table; it may hold such marks itself."""
    content = _cell(text)
    marks = "`" * (_longest_run(content) + 1)
    return f"{marks}{content}{marks}" if len(marks) == 1 else f"{marks} {content} {marks}"


def _alone(picture: Mapping[str, Any]) -> str:
    """What only one of both models saw in a picture, in words."""
    # Bundles made before this was recorded hold no such rows.
    told = []
    for name, words in (("lost", "INT8 lost"), ("extra", "INT8 alone saw")):
        rows = picture.get(name, ())
        shown = ", ".join(f"{row['label']} {row['score']:.2f}" for row in rows[:_SHOWN_ALONE])
        more = f" and {len(rows) - _SHOWN_ALONE} more" if len(rows) > _SHOWN_ALONE else ""
        told += [f"{words} {shown}{more}"] if rows else []
    return "; ".join(told)


def _fence(text: str) -> str:
    """The line that opens or closes a block of code around ``text``."""
    return "`" * max(3, _longest_run(text) + 1)


def _longest_run(text: str) -> int:
    return max((len(marks) for marks in re.findall("`+", text)), default=0)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True)


def _headline(quality: Mapping[str, Any], suffix: str = "") -> Mapping[str, Any] | None:
    """The metric a quality is headed by, or its ``_drop``."""
    name = quality["details"]["headline"] + suffix
    return next((row for row in quality["metrics"] if row["name"] == name and row["variant"] != FLOAT), None)
