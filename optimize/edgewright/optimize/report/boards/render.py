"""The page of boards as HTML and Markdown, out of its JSON values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.atomic import write_text
from edgewright.bundle.errors import MissingExtraError, OutputError
from edgewright.bundle.figures import fixed, milliseconds
from edgewright.optimize.report.boards.cards import card_figures, conditions_line, percent, points, ratio_note
from edgewright.optimize.report.boards.charts import COLOURS, front_chart, times_chart, trend_chart
from edgewright.optimize.report.boards.words import counted, headline, metric_name, promise_words
from edgewright.optimize.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FORMATS", "render_boards", "write_boards"]

_HERE = Path(__file__).parent
# Columns, links, emphasis, code, people, and what would take their escapes away; then what some renderers link unasked.
_MARKS = re.compile(r"[\\|\[\]`*_~#>@]")
_LINKS = re.compile(r"(?i)(www(?=\.)|(?:https?|ftp|mailto|xmpp)(?=:))")
FORMATS = ("html", "json", "md")


def render_boards(data: Mapping[str, Any], kind: str) -> str:
    """The values as a text.

    Args:
        data: Of ``merge``.
        kind: Of ``FORMATS``.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    if kind == "json":
        return json.dumps(data, indent=2, allow_nan=False) + "\n"
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        what = "jinja2, which renders reports, is not installed"
        raise MissingExtraError(what, "optimize") from error
    environment = Environment(
        loader=FileSystemLoader([_HERE, _HERE.parent]),  # the palette is that of the other report
        autoescape=kind == "html",  # noqa: S701 - Markdown is no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "bytes": format_bytes,
        "fixed": _fixed,
        "ms": milliseconds,
        "pair": _pair,
        "percent": percent,
        "points": points,
        "ratio_note": ratio_note,
        "cell": _cell,
        "metric_name": metric_name,
    }
    # The charts escape what they take in, so the template may mark them safe.
    environment.globals |= {
        "front_chart": front_chart,
        "times_chart": times_chart,
        "trend_chart": trend_chart,
        "metrics_of": _metrics_of,
        "headline": headline,
        "counted": counted,
        "promise_words": promise_words,
        "card_figures": card_figures,
        "conditions_line": conditions_line,
        "colours": COLOURS,
    }
    rendered: str = environment.get_template(f"boards.{kind}.j2").render(r=data)
    return rendered


def write_boards(data: Mapping[str, Any], output: Path, kinds: Sequence[str] = ()) -> list[Path]:
    """Writes the page, each file whole or not at all.

    Args:
        data: Of ``merge``.
        output: A file whose ending says what it is, or a folder for ``boards.html``, ``.json`` and ``.md``.
        kinds: Of ``FORMATS``, for a folder; all when empty.

    Returns:
        What was written.

    Raises:
        OutputError: It cannot be written.
    """
    ending = output.suffix.removeprefix(".")
    if ending in FORMATS and not output.is_dir():
        files = {output: ending}
    elif ending and not output.is_dir():
        msg = f"{output} ends in .{ending}; name a .html, .json or .md file, or a folder"
        raise OutputError(msg)
    else:
        files = {output / f"boards.{kind}": kind for kind in kinds or FORMATS}
    texts = {path: render_boards(data, kind) for path, kind in files.items()}
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def _metrics_of(boards: Sequence[Mapping[str, Any]]) -> list[str]:
    """The qualities that rows of real boards have, the first row's first."""
    found = [
        row["quality"]["metric"]
        for board in boards
        if not board["emulated"]
        for row in board["rows"]
        if row["quality"] is not None
    ]
    return list(dict.fromkeys(found))


def _fixed(value: float | None, decimals: int = 2) -> str:
    return "unknown" if value is None else fixed(value, decimals)


def _pair(values: Sequence[float | None], unit: str) -> str:
    """Before and after."""
    if all(value is None for value in values):
        return "unknown"
    return f"{' to '.join(_fixed(value, 0) for value in values)} {unit}"


def _cell(text: object) -> str:
    """Text of any origin that stands in a cell of a Markdown table as it is, without becoming a mark, a link or a tag."""
    plain = _MARKS.sub(r"\\\g<0>", " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;"))
    return _LINKS.sub(r"\g<1>\\", plain)
