"""The page of boards: which variant for which board, what is left out, and that nothing foreign gets into the page."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from board_results import result, row

from edgewright.cli.main import main
from edgewright.optimize.contract import Contract, Status
from edgewright.optimize.report.boards.charts import front_chart, trend_chart
from edgewright.optimize.report.boards.choice import choose
from edgewright.optimize.report.boards.merge import Measurement, merge
from edgewright.optimize.report.boards.render import render_boards
from edgewright.optimize.report.boards.words import headline
from edgewright.runtime.conditions import Throttle
from edgewright.runtime.results.codec import write_result
from edgewright.runtime.results.schema import BoardAccuracy, Figure, Result
from edgewright.runtime.results.signing import Signature, SignatureState, sign_result

UNSIGNED = Signature(SignatureState.UNSIGNED)
FAST, FLOAT = row("int8", 40.0), row("float", 70.0, precision="float32")


def played(made: Result) -> Result:
    return replace(made, board=replace(made.board, emulated_by="qemu-user"))


def said(variant: str, value: float, low: float, high: float) -> BoardAccuracy:
    """What a board's answers lost, in points."""
    share = 0.62 - value / 100
    figure = Figure(share, share - 0.1, share + 0.1, 30)
    return BoardAccuracy(
        variant, "ap50", "AP", "float on this workstation", figure, 0.62, Figure(value, low, high, 30), "c"
    )


def page(*results: Result, kind: str = "html", promises: Contract | None = None) -> str:
    data = merge([Measurement(f"{n}.json", one, UNSIGNED) for n, one in enumerate(results)], promises or Contract())
    return render_boards(data, kind)


def test_the_fastest_that_answers_right_is_chosen() -> None:
    found = choose(result(rows=(FAST, FLOAT)))
    assert found.candidate == "int8"
    assert "times as fast as float" in found.why


def test_within_the_noise_the_bundle_decides() -> None:
    found = choose(result(rows=(row("a", 40.0), row("b", 40.0), FLOAT)))
    assert found.candidate == "a"
    assert "tie" in found.why


def test_wrong_golden_answers_are_out() -> None:
    found = choose(result(rows=(replace(FAST, golden=False, golden_note="off by 3"), FLOAT)))
    assert found.candidate == "float"
    assert found.out == (("int8", "wrong golden answers: off by 3"),)


def test_an_emulated_board_chooses_nothing() -> None:
    assert choose(played(result())).candidate is None


def test_what_loses_more_there_than_here_is_out_without_any_promise() -> None:
    """INT8 fine on the PC, ten points lost on the board."""
    found = choose(result(rows=(FAST, FLOAT), accuracy=(said("int8", 10.0, 6.0, 14.0), said("float", 0.0, -1.0, 1.0))))
    assert found.candidate == "float"
    assert "10.0 points" in found.out[0][1]
    near = choose(result(rows=(FAST, FLOAT), accuracy=(said("int8", 4.0, 3.0, 5.0),)))
    assert near.candidate == "int8"  # the workstation's own interval reaches 3.5 points


@pytest.mark.parametrize(
    ("promises", "chosen", "open_"),
    [
        (Contract(max_drop=5.0), "int8", False),
        (Contract(max_drop=1.0), "int8", True),  # the workstation's interval reaches to 3.5 points: nobody knows
        (Contract(min_speedup=3.0), None, False),
        (Contract(max_size=4_000_000), "int8", False),
        (Contract(max_size=1_000_000), None, False),
    ],
)
def test_promises_limit_the_choice(promises: Contract, chosen: str | None, open_: bool) -> None:
    found = choose(result(rows=(FAST, FLOAT)), promises)
    assert found.candidate == chosen
    assert any(status is Status.INCONCLUSIVE for status, _ in found.clauses) is open_
    assert found.status is (Status.FAIL if chosen is None else Status.INCONCLUSIVE if open_ else Status.PASS)


def test_a_throttled_board_is_followed_with_caution() -> None:
    seen = result()
    hot = replace(seen.conditions.after, throttle=Throttle("Raspberry Pi firmware", ("throttled",)))
    found = choose(replace(seen, conditions=replace(seen.conditions, after=hot)))
    assert any("held itself back" in line for line in found.cautions)


def test_the_page_shows_every_board_and_is_one_file() -> None:
    text = page(result("Pi 5"), result("Pi 4", celsius=None), played(result("qemu")))
    for words in ("Pi 5", "Pi 4", "EMULATED by qemu-user", "Thermal curve", "no sensor", "int8", "unsigned"):
        assert words in text
    assert not re.search(r"(?:src|href)\s*=|<script|@import|url\(", text)
    charts = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(charts) == 5  # times, front, and three of the long run
    for chart in charts:
        ET.fromstring(chart)


def test_emulated_boards_are_in_no_chart_that_compares() -> None:
    data = merge(
        [Measurement("a.json", result("Pi 5"), UNSIGNED), Measurement("b.json", played(result("q")), UNSIGNED)]
    )
    boards = data["boards"]
    assert front_chart(boards, "ap50") == front_chart(boards[:1], "ap50") != ""
    assert trend_chart(boards, "celsius", "C") == trend_chart(boards[:1], "celsius", "C") != ""
    assert front_chart(boards[1:], "ap50") == ""


def test_different_bundles_are_named() -> None:
    other = result("Pi 4")
    other = replace(other, bundle=replace(other.bundle, identity="c" * 64, name="faces"))
    text = page(result("Pi 5"), other)
    assert "2 DIFFERENT BUNDLES" in text
    assert "faces" in text
    assert "DIFFERENT" not in page(result("Pi 5"), result("Pi 4"))


def test_a_bundle_that_took_figures_in_is_the_same_one() -> None:
    later = result("Pi 4")
    later = replace(later, bundle=replace(later.bundle, digest="d" * 64))
    assert "DIFFERENT" not in page(result("Pi 5"), later)


def test_boards_of_one_name_are_told_apart() -> None:
    one = result("VM")
    two = replace(one, setting=replace(one.setting, threads=2))
    titles = [
        board["title"] for board in merge([Measurement(f, r, UNSIGNED) for f, r in (("a", one), ("b", two))])["boards"]
    ]
    assert titles == ["VM, 1 thread", "VM, 2 threads"]
    later = replace(one, made="2026-11-23T22:30:00+00:00")
    assert titles_of(one, later, two) == [
        "VM, 1 thread, 2026-11-23 21:00",
        "VM, 1 thread, 2026-11-23 22:30",
        "VM, 2 threads",
    ]
    assert titles_of(one, one) == ["VM (0.json)", "VM (1.json)"]


def titles_of(*results: Result) -> list[str]:
    found = merge([Measurement(f"{at}.json", one, UNSIGNED) for at, one in enumerate(results)])["boards"]
    return [board["title"] for board in found]


def test_machines_are_counted_and_not_files() -> None:
    one = result("VM")
    two = replace(one, setting=replace(one.setting, threads=2))
    for kind in ("html", "md"):
        assert "3 measurements of person on 2 boards" in page(one, two, result("Pi 4"), kind=kind)
    for results, words in (
        ((one, two), "2 measurements of person on 1 board"),
        ((one, result("Pi 4")), "person on 2 boards"),
    ):
        assert headline(merge([Measurement("f", each, UNSIGNED) for each in results])) == words


@pytest.mark.parametrize("kind", ["html", "md", "json"])
def test_names_of_a_board_cannot_break_out(kind: str) -> None:
    text = page(result("<script>alert(1)</script>|`\u202e"), kind=kind)
    assert "\u202e" not in text
    if kind != "json":
        assert "<script" not in text


def test_few_turns_and_no_figures_still_give_a_page() -> None:
    bare = row("int8", 40.0, turns=2, judged={}, peak_memory_bytes=None)
    text = page(
        result(rows=(bare, row("float", 70.0, precision="float32", turns=2, judged={})), soak=None, celsius=None)
    )
    assert "too few" in text
    assert "Thermal curve" not in text


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, made in (("a", result("Pi 5")), ("b", played(result("q")))):
        write_result(tmp_path / f"{name}.json", made)
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert main(["report", *files, "-o", str(tmp_path / "boards.html")]) == 0
    said = capsys.readouterr().out
    assert "Pi 5: int8" in said
    assert f"written to {tmp_path / 'boards.html'}" in said
    assert (tmp_path / "boards.html").read_text().startswith("<!doctype html>")
    assert main(["report", *files, "-o", str(tmp_path / "folder"), "--md", "--html"]) == 0
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["boards.html", "boards.md"]
    capsys.readouterr()
    assert main(["report", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"]["name"] == "edgewright-boards"


def test_the_command_knows_who_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    (tmp_path / "signers").write_text(f"lab@example {(tmp_path / 'key.pub').read_text()}")
    path = tmp_path / "a.json"
    write_result(path, result())
    sign_result(path, tmp_path / "key")
    words = ["report", str(path), "--signers", str(tmp_path / "signers"), "-o", str(tmp_path / "x.html")]
    assert main(words) == 0
    assert "signed by lab@example" in (tmp_path / "x.html").read_text()
    write_result(path, result("another"))  # below the old signature
    assert main(words) == 2
    assert "does not belong" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.json", "b.edge"], "no result file"),
        (["missing.json"], "cannot read the result"),
        (["b.edge", "--signers", "x"], "about result files"),
        (["a.json", "-o", "page.pdf"], "ends in .pdf"),
        (["a.json", "--html", "--md", "-o", "-"], "one format"),
        (["a.json", "--signers", "missing"], "no list of signers"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_result(Path("a.json"), result())
    assert main(["report", *words]) == 2
    assert told in capsys.readouterr().err
