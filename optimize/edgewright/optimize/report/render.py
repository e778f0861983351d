"""HTML and Markdown from a report's JSON values."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.figures import fixed, milliseconds, signed
from edgewright.optimize.evaluate.quality import FLOAT
from edgewright.optimize.report.charts import gauge, latency_chart, stage_chart
from edgewright.optimize.report.path_chart import path_chart
from edgewright.optimize.report.summary import ratio_spread
from edgewright.optimize.report.training_chart import training_chart
from edgewright.optimize.report.words import (
    METRIC_TITLES,
    form_word,
    int8_left_out,
    metric_interval,
    metric_title,
    metric_value,
    own_verdict,
    parts_of,
    why_float,
)
from edgewright.optimize.sensitivity.chart import noisiest, region_chart, shown_regions, signed_bytes, sqnr_chart
from edgewright.optimize.sizes import format_bytes, size_change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.report.data import Report

__all__ = ["METRIC_TITLES", "render_html", "render_markdown"]

_HERE = Path(__file__).parent
_SHOWN_ALONE = 4


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
    environment.filters |= {"bytes": format_bytes, "metric": metric_value, "interval": metric_interval}
    environment.filters |= {
        "fixed": _fixed,
        "pretty": _pretty,
        "cell": _cell,
        "code": _code,
        "fence": _fence,
        "alone": _alone,
        "shown": shown_regions,
        "noisiest": noisiest,
        "signed": signed,
        "signed_bytes": signed_bytes,
        "size_change": size_change,
        "spread": ratio_spread,
        "count": _count,
        "title": metric_title,
        "ms": milliseconds,
        "word": form_word,
    }
    environment.globals |= {
        # The charts escape what they take in, so the templates may mark them safe.
        "gauge": gauge,
        "latency_chart": latency_chart,
        "stage_chart": stage_chart,
        "path_chart": path_chart,
        "training_chart": training_chart,
        "headline": _headline,
        "own_verdict": own_verdict,
        "why_float": why_float,
        "int8_left_out": int8_left_out,
        "shipped_names": [part["judged"]["shipped"] for part in parts_of(data)],
        "rejected_names": [part["judged"]["name"] for part in parts_of(data) if part["judged"]["float_shipped"]],
        "region_chart": region_chart,
        "sqnr_chart": sqnr_chart,
    }
    rendered: str = environment.get_template(template).render(r=data, pictures=pictures)
    return rendered


def _fixed(value: float | None, decimals: int = 2) -> str:
    return "unknown" if value is None else fixed(value, decimals)


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


def _alone(picture: Mapping[str, Any], form: str = "INT8") -> str:
    """What only one of both models saw in a picture, in words."""
    # Bundles made before this was recorded hold no such rows.
    told = []
    for name, words in (("lost", f"{form} lost"), ("extra", f"{form} alone saw")):
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
