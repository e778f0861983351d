"""Promises over results: the verdict, its exit code, and that every measurement counts once."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from board_results import result, row

from edgewright.bundle.errors import ExitCode
from edgewright.cli import report_boards
from edgewright.cli.main import main
from edgewright.optimize.contract import Contract, Status
from edgewright.optimize.report.boards.choice import choose
from edgewright.runtime.results.codec import write_result
from edgewright.runtime.results.schema import BoardAccuracy, Figure, Result
from edgewright.runtime.results.signing import sign_result

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = row("float", 70.0, precision="float32")
UNKNOWN = result("Pi 5", rows=(row("int8", 40.0, judged={}), FLOAT))
KNOWN = result("Pi 4")
PLAYED = replace(KNOWN, board=replace(KNOWN.board, emulated_by="qemu-user"))
WRONG = result("Pi 3", rows=(row("int8", 40.0, golden=False, golden_note="off by 3"),), ratios=())


@pytest.mark.parametrize(
    ("results", "promise", "code", "word"),
    [
        ((UNKNOWN,), ("--max-drop", "5"), ExitCode.INCONCLUSIVE, "INCONCLUSIVE"),
        ((KNOWN, UNKNOWN), ("--max-drop", "5"), ExitCode.INCONCLUSIVE, "INCONCLUSIVE"),
        ((KNOWN,), ("--max-drop", "5"), ExitCode.OK, "PASS"),
        ((KNOWN, UNKNOWN), ("--max-size", "1kB"), ExitCode.CONTRACT_FAILED, "FAIL"),
        ((UNKNOWN, WRONG), ("--max-drop", "5"), ExitCode.CONTRACT_FAILED, "FAIL"),
        ((KNOWN, PLAYED), ("--max-drop", "5"), ExitCode.OK, "PASS"),
        ((PLAYED,), ("--max-drop", "5"), ExitCode.INCONCLUSIVE, "INCONCLUSIVE"),
        ((UNKNOWN, WRONG), (), ExitCode.OK, None),
    ],
)
def test_the_verdict_is_said_and_is_the_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    results: tuple[Result, ...],
    promise: tuple[str, ...],
    code: int,
    word: str | None,
) -> None:
    files = [tmp_path / f"{at}.json" for at in range(len(results))]
    for path, made in zip(files, results, strict=True):
        write_result(path, made)
    assert main(["report", *map(str, files), *promise, "-o", str(tmp_path / "page")]) == code
    said = capsys.readouterr().out
    page, markdown = ((tmp_path / f"page/boards.{kind}").read_text() for kind in ("html", "md"))
    assert json.loads((tmp_path / "page/boards.json").read_text())["verdict"] == (word or "UNJUDGED")
    if word is None:
        assert not {"PASS", "FAIL", "INCONCLUSIVE"} & set(said.split())
        return
    assert said.startswith(f"{word}  ")
    assert f'<div class="badge {word}">{word}</div>' in page
    assert f"**{word}**; promised: {' '.join(promise)[:10]}" in markdown


def test_the_verdict_is_said_beside_what_goes_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(tmp_path / "a.json", UNKNOWN)
    assert main(["report", str(tmp_path / "a.json"), "--max-drop", "5", "--json"]) == ExitCode.INCONCLUSIVE
    said = capsys.readouterr()
    assert json.loads(said.out)["verdict"] == "INCONCLUSIVE"
    assert "drop was not measured" in said.err


def accuracy(doubt: str | None) -> BoardAccuracy:
    share = Figure(0.6, 0.5, 0.7, 30)
    return BoardAccuracy("int8", "ap50", "AP", "float here", share, 0.62, Figure(0.0, -1.0, 1.0, 30), "c", doubt)


def test_what_is_in_doubt_keeps_no_promise() -> None:
    promise = Contract(max_drop=5.0)
    assert choose(replace(KNOWN, accuracy=(accuracy(None),)), promise).status is Status.PASS
    found = choose(replace(KNOWN, accuracy=(accuracy("no box was right"),)), promise)
    assert found.status is Status.INCONCLUSIVE
    assert "no box was right" in found.clauses[0][1]


def test_the_workstations_figure_counts_only_where_the_board_answers_alike() -> None:
    promise = Contract(max_drop=5.0)
    untried = result(rows=(row("int8", 40.0, golden=None, golden_note="no engine"), FLOAT))
    assert choose(untried, promise).status is Status.INCONCLUSIVE
    found = choose(KNOWN, promise)
    assert found.status is Status.PASS
    assert "judged on the workstation" in found.clauses[0][1]


def test_a_measurement_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, copy = tmp_path / "a.json", tmp_path / "other/a.json"
    write_result(path, KNOWN)
    copy.parent.mkdir()
    shutil.copy(path, copy)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    sign_result(copy, tmp_path / "key")
    (tmp_path / "signers").write_text(f"lab@example {(tmp_path / 'key.pub').read_text()}")
    words = ["report", str(path), str(path), str(copy), "--signers", str(tmp_path / "signers"), "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert f"{tmp_path.name}/a.json was given twice; it counts once" in said.err
    assert f"other/a.json holds the same measurement as {tmp_path.name}/a.json" in said.err
    (board,) = json.loads(said.out)["boards"]
    assert board["signature"] == "signed by lab@example"


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, frames in (("first", 5), ("second", 6)):
        made = replace(KNOWN, setting=replace(KNOWN.setting, frames_per_turn=frames))
        write_result(tmp_path / folder / "r.json", made)
    assert main(["report", *(str(tmp_path / folder / "r.json") for folder in ("first", "second")), "--json"]) == 0
    titles = [board["title"] for board in json.loads(capsys.readouterr().out)["boards"]]
    assert titles == ["Pi 4 (first/r.json)", "Pi 4 (second/r.json)"]


def test_turns_that_do_not_fit_together_choose_nothing() -> None:
    odd = result(rows=(row("int8", 40.0), row("float", 70.0, precision="float32", turns=9)), ratios=())
    assert choose(odd).candidate is None
    assert "equally many turns" in choose(odd).why
    assert choose(odd, Contract(max_drop=5.0)).status is Status.INCONCLUSIVE


def test_too_many_rows_for_one_page_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_boards, "_MOST_ROWS", 3)
    for name, made in (("a", KNOWN), ("b", UNKNOWN)):
        write_result(tmp_path / f"{name}.json", made)
    assert main(["report", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json"]) == ExitCode.BAD_INPUT
    assert "4 timed variants" in capsys.readouterr().err
