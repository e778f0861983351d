"""Result files come from elsewhere: no text in them breaks out of the page, the Markdown or the terminal."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from board_results import result, row

from edgewright.cli.bench_lines import result_lines
from edgewright.optimize.contract import Contract
from edgewright.optimize.report.boards.merge import Measurement, merge
from edgewright.optimize.report.boards.render import render_boards
from edgewright.optimize.report.boards.words import board_lines
from edgewright.runtime.results.codec import result_from_json, result_to_json
from edgewright.runtime.results.schema import BoardAccuracy, Figure, ResultError
from edgewright.runtime.results.signing import Signature, SignatureState

if TYPE_CHECKING:
    from collections.abc import Iterator

UNSIGNED = Signature(SignatureState.UNSIGNED)
EVIL = "\"'><script>x()</script><img src=x onerror=y()>|a|`b`[c](http://e.example)*d*_e_ https://e.example www.e.example me@e.example ![i](j)&lt;{{7*7}}"
PLACES = {"made", "sha256", "digest", "identity", "schema"}
FREE = {"governors", "celsius", "left_out", "judged", "missing", "clock_mhz"}


def told() -> dict[str, Any]:
    """A result in which every text is there."""
    said = BoardAccuracy(
        "int8", "ap50", "AP", "float", Figure(0.6, 0.5, 0.7, 30), 0.62, Figure(2.0, -1.0, 5.0, 30), "clip", "a doubt"
    )
    rows = (
        row("int8", 40.0, golden=None, golden_note="not tried"),
        row("wrong", 39.0, golden=False, golden_note="off by 3"),
        row("float", 70.0, precision="float32"),
    )
    made = json.loads(
        result_to_json(
            result(rows=rows, accuracy=(said, replace(said, variant="float")), left_out={"tflite": "no engine"})
        )
    )
    made["soak"]["note"] = "interrupted"
    made["soak"]["points"][3]["throttled"] = ["too hot"]
    made["conditions"]["after"]["throttle"] |= {"now": ["capped"], "since_start": ["under-voltage"]}
    data: dict[str, Any] = made
    return data


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, (dict, list)):
            yield from leaves(item, (*path, key))
        elif isinstance(item, str) and path[:1] != ("schema",) and key not in PLACES:
            yield (*path, key)


def changed(value: Any, path: tuple[Any, ...], item: Any) -> Any:
    made = copy.deepcopy(value)
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = item
    return made


def everywhere(value: Any, key: str = "") -> Any:
    """The same with ``EVIL`` behind every text, and behind the names in tables whose names a file chooses."""
    if key in PLACES:
        return value
    if isinstance(value, dict):
        found = {name: everywhere(item, name) for name, item in value.items()}
        return found | ({f"{name}{EVIL}": item for name, item in found.items()} if key in FREE else {})
    if isinstance(value, list):
        return [everywhere(item) for item in value]
    return f"{value}{EVIL}" if isinstance(value, str) else value


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[tuple[str, tuple[str, ...]]] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, tuple(sorted(name for name, _ in attrs))))

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(data: dict[str, Any], kind: str) -> str:
    read = result_from_json(json.dumps(data).encode(), "r")
    return render_boards(merge([Measurement("a.json", read, UNSIGNED)], Contract(max_drop=3.0)), kind)


def test_no_text_becomes_a_tag_in_the_page() -> None:
    plain, evil = Tags(rendered(told(), "html")), Tags(rendered(everywhere(told()), "html"))
    assert ("polyline", ("class", "points")) in plain.found
    assert evil.found <= plain.found | {("p", ("class",))}
    assert "<script>x()</script>" in evil.text
    assert "{{7*7}}" in evil.text


def test_no_text_becomes_a_mark_in_the_markdown() -> None:
    plain, evil = rendered(told(), "md"), rendered(everywhere(told()), "md")
    assert "script" in evil
    bare = re.sub(r"\\.", "", evil)
    assert not re.search(r"<|`b`|!\[|\]\(|https?:|www\.|@", bare)
    rows = [{line.count("|") for line in re.sub(r"\\.", "", text).splitlines()} for text in (plain, evil)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("character", ["\x1b[2J", "\x9b", "\n", "\r", "\u202e", "\u2028", "\x00"])
def test_no_text_that_rules_a_terminal_is_read(character: str) -> None:
    made = told()
    places = list(leaves(made))
    assert len(places) > 40
    for path in places:
        with pytest.raises(ResultError) as caught:
            result_from_json(json.dumps(changed(made, path, f"a{character}b")).encode(), "r")
        assert str(caught.value).isprintable()


def test_messages_hold_no_text_of_python_itself() -> None:
    """Such as Quantiles(p50=1.0, ...)."""
    made = told()
    broken = [
        changed(made, ("variants", 0, "stages", "total", "p50"), 1e9),
        changed(made, ("variants", 0, "turns_ms"), []),
        changed(made, ("variants", 0, "judged", "ap50", "low"), 0.9),
        changed(made, ("variants", 0, "frames"), 0),
        changed(made, ("ratios", 0, "low"), 9.0),
        changed(made, ("setting", "threads"), 0),
        changed(made, ("setting", "frame_size"), [0, 1]),
        changed(made, ("accuracy", 0, "drop", "low"), 9.0),
        changed(made, ("made",), "yesterday"),
    ]
    for data in broken:
        with pytest.raises(ResultError) as caught:
            result_from_json(json.dumps(data).encode(), "r")
        assert not re.search(r"\w\(\w+=", str(caught.value)), str(caught.value)


@pytest.mark.parametrize("value", [-0.0, -0.0001, 1e-300, 1e15])
def test_numbers_at_the_edge_are_drawn_and_none_is_minus_zero(value: float) -> None:
    made = told()
    numbers = [
        *(("conditions", when, "celsius", "cpu-thermal") for when in ("before", "after")),
        *(("soak", "points", at, "celsius") for at in range(12)),
        *(("soak", "points", at, "at_s") for at in range(12) if value >= 0),
        ("soak", "energy", "joules"),
    ]
    for path in numbers:
        made = changed(made, path, value)
    for place in (("accuracy", 0, "drop"), ("accuracy", 0, "board"), ("variants", 0, "judged", "ap50_drop")):
        for end in ("value", "low", "high"):
            made = changed(made, (*place, end), value)
    read = result_from_json(json.dumps(made).encode(), "r")
    data = merge([Measurement("a.json", read, UNSIGNED)], Contract(max_drop=3.0))
    page = re.sub(r"<[^>]*>", " ", render_boards(data, "html"))
    for text in (page, render_boards(data, "md"), "\n".join([*result_lines(read), *board_lines(data)])):
        assert not re.search(r"-0(?:\.0+)?(?![\d.])", text)
