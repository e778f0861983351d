"""The report: self-contained, the same from the bundle, and honest about what it holds."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from bundles import write_classifier as write_bare_bundle
from small_disk import run_limited
from tiny_models import SPEC, write_clip, write_detector, write_labels

from edgewright.bundle.errors import BundleError, OutputError
from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main
from edgewright.optimize.contract import Contract
from edgewright.optimize.report.charts import gauge, latency_chart
from edgewright.optimize.report.rejudge import rejudge
from edgewright.optimize.report.render import render_html, render_markdown
from edgewright.optimize.report.write import read_report, staged_report, write_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgewright.optimize.report.data import Report

EVIL = "<script>alert('x')</script>&|"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle `out.edge`, its report folder, made by the command for a model whose name tries to break out."""
    folder = tmp_path_factory.mktemp("made")
    model, spec = write_detector(folder)
    spec.write_text(SPEC.replace('"bright"', f'"bright {EVIL}"'))
    clip = write_clip(folder / "clip.avi", 96, rate=1)
    labels = write_labels(folder / "labels.json", range(3, 96, 4))
    arguments = ["optimize", str(model), "--spec", str(spec), "-o", str(folder / "out.edge"), "--runs", "40"]
    # All sections of the report, and a choice that no clock decides.
    arguments += ["--effort", "balanced", "--ship", "int8"]
    arguments += [
        "--calibrate",
        f"{clip}#::4",
        "--select",
        f"{clip}#2::4",
        "--agree",
        f"{clip}#1::4",
        "--labels",
        str(labels),
        "--images",
        str(clip),
    ]
    arguments += ["--max-drop", "50", "--min-agreement", "10", "--min-speedup", "0.01", "--max-size", "1MB"]
    assert main(arguments) == 0
    return folder


@pytest.fixture(scope="module")
def report(made: Path) -> Report:
    with open_bundle(made / "out.edge") as bundle:
        return read_report(bundle)


class _References(HTMLParser):
    """Everything a page would load, and the tags it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "srcset", "data"}]
        if tag not in {"meta", "img", "br", "link"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(made: Path) -> None:
    page = (made / "out-report" / "report.html").read_text()
    parser = _References()
    parser.feed(page)
    assert parser.open == []
    assert parser.loads
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in parser.loads)
    assert "script" not in parser.tags
    assert "link" not in parser.tags
    assert not re.search(r"url\(|@import|https?://", page)


def test_names_cannot_break_out_of_the_page(made: Path) -> None:
    page = (made / "out-report" / "report.html").read_text()
    assert EVIL not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)" in page


def test_all_that_was_measured_is_told(report: Report) -> None:
    page, text = render_html(report), render_markdown(report)
    data = report.data
    for rendered in (page, text):
        assert data["verdict"]["status"] in rendered
        for clause in data["verdict"]["clauses"]:
            assert clause["kind"].replace("_", "-") in rendered
        # Two convolutions in INT8 take more room than in float: their grids weigh more than the weights.
        assert f"{1 / data['size']['ratio']:.2f}x" in rendered
        assert "larger" in rendered
        assert data["speed"]["conditions"]["engine"] in rendered
        assert data["calibration"]["digest"] in rendered
        assert data["provenance"]["source_sha256"] in rendered
        assert all(picture["file"] in text for picture in data["pictures"])
    assert len(re.findall("<img ", page)) == len(data["pictures"]) == 4
    assert page.count("<svg") == len(data["verdict"]["clauses"]) + 3


def test_markdown_tells_what_the_page_tells(report: Report) -> None:
    data = copy.deepcopy(dict(report.data))
    region = {"weight_bytes": 1200, "extra_ms": -0.25, "regained": 0.5, "measured_loss": 0.125, "measured_bytes": 1100}
    region |= {"kind": "layer", "nodes": [], "macs": 1, "border": 1, "price": 0.1, "value": 1.0, "own_sqnr": 10.0}
    names = [f"layer {number}" for number in range(20)]
    regions = [{**region, "name": name, "kept": name == "layer 18"} for name in ["odd `name|", *names]]
    tensors = [{"tensor": "t", "node": "n", "own_sqnr": 12.34, "sqnr": 11.0}]
    found = {"regions": regions, "tensors": tensors, "status": "met", "evaluations": 7, "how_timed": "by profile"}
    heads = [{"remedy": "separate", "loss": 0.5, "bytes": 2000, "kept": True}]
    told = render_markdown(
        dataclasses.replace(report, data={**data, "story": {**data["story"], "sensitivity": found, "heads": heads}})
    )
    assert "Where the integers hurt" in told
    assert "| `` odd `name\\| `` | 50.0 % | +1.20 kB | -0.25 ms | 0.1250 |  |" in told
    assert "| `layer 18` | 50.0 % | +1.20 kB | -0.25 ms | 0.1250 | kept in float |" in told
    assert "and 4 more" in told
    assert "| `n` | 12.3 dB | 11.0 dB |" in told
    assert "| `separate` | 0.5000 | 2.00 kB | yes |" in told
    assert "stability of scales" in told
    recipe = told.partition("```toml\n")[2].partition("\n```")[0]
    assert recipe == report.data["story"]["recipe"].rstrip("\n")
    plain = render_markdown(report)
    assert "Boxes and scores on one grid" not in plain
    assert "layer with the most noise" in plain


def test_reports_without_an_engine_a_row_or_without_times_are_drawn(report: Report) -> None:
    data = copy.deepcopy(dict(report.data))
    for row in data["speed"]["variants"]:
        assert row.pop("engine") == data["speed"]["conditions"]["engine"]  # older reports have it only there
    region = {"name": "stem", "weight_bytes": 1200, "extra_ms": None, "regained": 0.5, "measured_loss": 0.125}
    region |= {"kind": "layer", "nodes": [], "macs": 1, "border": 1, "price": 0.1, "value": 1.0, "own_sqnr": 10.0}
    found = {"regions": [{**region, "measured_bytes": 1100, "kept": True}], "tensors": [], "status": "met"}
    found |= {"evaluations": 7, "how_timed": "estimated by multiplications: the board is another"}
    told = dataclasses.replace(report, data={**data, "story": {**data["story"], "sensitivity": found}})
    assert f">{data['speed']['conditions']['engine']}</span></td>" in render_html(told)
    assert "| `stem` | 50.0 % | +1.20 kB |  | 0.1250 | kept in float |" in render_markdown(told)


def test_a_form_that_is_no_int8_is_called_by_its_name(report: Report) -> None:
    data = copy.deepcopy(dict(report.data))
    data["judged"] |= {"name": "compact", "precision": "float32", "shipped": "compact"}
    told = dataclasses.replace(report, data=data)
    for page in (render_html(told), render_markdown(told)):
        assert "Agreement of compact with float" in page
        assert "float minus compact" in page
        shown = page.partition("Agreement of compact with float")[2].partition("What was tried")[0]
        assert "INT8" not in shown


def test_what_was_measured_of_a_form_left_out_says_so(report: Report) -> None:
    data = copy.deepcopy(dict(report.data))
    data["judged"] |= {"shipped": "float", "float_shipped": True}
    told = dataclasses.replace(report, data=data)
    assert "| | float, shipped | INT8, not shipped | |" in render_markdown(told)
    tiles = render_html(told).partition('<div class="tiles">')[2].partition("<section>")[0]
    assert tiles.count("not shipped") == tiles.count('<div class="tile">') == 4


def test_the_json_file_is_what_the_bundle_holds(made: Path, report: Report) -> None:
    assert json.loads((made / "out-report" / "report.json").read_text()) == report.data
    assert report.data["schema"] == {"name": "edgewright-report", "version": 2}
    assert {path.name for path in (made / "out-report").iterdir()} == {
        "report.html",
        "report.json",
        "report.md",
        "recipe.toml",
        *report.pictures,
    }


def test_the_command_renders_the_same_again(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(made / "out.edge"), "-o", str(made / "again")]) == 0
    assert capsys.readouterr().out.count("report.") == 3
    for name in ("report.html", "report.json", "report.md"):
        assert (made / "again" / name).read_bytes() == (made / "out-report" / name).read_bytes()


def test_one_format_to_standard_output(made: Path, report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(made / "out.edge"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report.data
    assert main(["report", str(made / "out.edge"), "--md", "-o", "-"]) == 0
    assert capsys.readouterr().out.startswith("# bright")
    assert main(["report", str(made / "out.edge"), "-o", "-"]) == 2


def test_a_bundle_without_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(write_bare_bundle(tmp_path / "bare.edge"))]) == 2
    assert "carries no report" in capsys.readouterr().err


def test_a_report_of_a_newer_version_is_refused(report: Report) -> None:
    class Newer:
        path = "newer.edge"
        manifest = type("M", (), {"files": [type("F", (), {"path": "report/report.json"})()]})()

        def read(self, name: str) -> bytes:
            if name.endswith(".json"):
                return json.dumps({**report.data, "schema": {"version": 3}}).encode()
            return b""

    with pytest.raises(BundleError, match="has schema 3, this version renders 2"):
        read_report(Newer())  # type: ignore[arg-type]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, made: Path) -> None:
    (tmp_path / "report.html").write_text("older")
    done = run_limited(["report", str(made / "out.edge"), "-o", str(tmp_path)], 4096)
    assert done.returncode == 2
    assert "nothing was left half-written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "older"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def again(made: Path, output: Path) -> list[str]:
    """The run that made everything, shorter, with another output."""
    clip = made / "clip.avi"
    arguments = ["optimize", str(made / "detector.onnx"), "--spec", str(made / "spec.toml"), "-o", str(output)]
    return [*arguments, "--calibrate", f"{clip}#::4", "--agree", f"{clip}#1::4", "--runs", "5", "--passes", "minmax"]


def test_a_report_that_cannot_be_written_leaves_bundle_and_report(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.edge").write_bytes((made / "out.edge").read_bytes())
    folder = tmp_path / "out-report"
    # A directory in a file's place stops everybody, root included.
    (folder / "report.md").mkdir(parents=True)
    (folder / "report.html").write_text("older")
    before = files_of(tmp_path)
    assert main(again(made, tmp_path / "out.edge")) == 2
    assert "report.md: a directory of that name" in capsys.readouterr().err
    assert files_of(tmp_path) == before


def test_a_bundle_that_cannot_be_written_leaves_the_report(tmp_path: Path, report: Report) -> None:
    write_report(report, tmp_path / "old")
    before = files_of(tmp_path)
    other = type(report)({**report.data, "notes": ["another"]}, report.pictures)

    def fail(folder: Path) -> None:
        with staged_report(other, folder):
            assert files_of(tmp_path).items() >= before.items()
            message = "no room for the bundle"
            raise OutputError(message)

    for folder in ("old", "new/deep"):
        with pytest.raises(OutputError, match="no room"):
            fail(tmp_path / folder)
    assert files_of(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own: 160 kB for root, who may mount one; else a folder under a limit on the size of files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    mounted = os.geteuid() == 0 and subprocess.run(words, check=False, capture_output=True).returncode == 0
    try:
        yield disk
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_leaves_bundle_and_report(made: Path, tiny_disk: Path) -> None:
    folder = tiny_disk / "out-report"
    folder.mkdir()
    (tiny_disk / "out.edge").write_bytes(b"older")
    for name in ("report.html", "report.json", "report.md"):
        (folder / name).write_text("older")
    before = files_of(tiny_disk)
    limit = 1 << 30 if os.path.ismount(tiny_disk) else 20_000
    done = run_limited(again(made, tiny_disk / "out.edge"), limit)
    assert done.returncode == 2
    assert "cannot write" in done.stderr
    assert files_of(tiny_disk) == before


PROMISES = ("--max-drop", "50", "--min-agreement", "10", "--min-speedup", "0.01", "--max-size", "1MB")


def test_the_same_promises_give_the_same_verdict(
    made: Path, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(made / "out.edge"), *PROMISES, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == report.data["verdict"]


def test_other_promises_are_judged_without_measuring(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_of(made)
    assert main(["report", str(made / "out.edge"), "--max-size", "1kB", "--min-agreement", "99"]) == 3
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("FAIL  bright")
    assert [line.split()[0] for line in said[1:]] == ["INCONCLUSIVE", "FAIL"]
    assert main(["report", str(made / "out.edge"), "--min-agreement", "99"]) == 4
    assert files_of(made) == before


def test_promises_that_nothing_can_be_said_about(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(again(made, tmp_path / "bare.edge")) == 0
    assert main(["report", str(tmp_path / "bare.edge"), "--max-drop", "2"]) == 2
    assert "--labels" in capsys.readouterr().err
    assert main(["report", str(made / "out.edge"), "--max-drop", "2", "-o", str(tmp_path)]) == 2
    assert "write nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("speed"),
        lambda d: d["labelled"]["headline"].pop("low"),
        lambda d: d["labelled"]["headline"].update(low=99.0),
        lambda d: d["size"].update(judged_bytes="many"),
        lambda d: d.update(agreement=None),
    ],
)
def test_a_report_without_its_figures_is_not_judged(report: Report, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(json.dumps(report.data))
    change(data)
    with pytest.raises(BundleError, match="holds no figures to judge"):
        rejudge(data, Contract(max_size=1))


def test_a_gauge_without_a_figure_is_empty() -> None:
    assert gauge({"value": None, "limit": 1.0}) == ""


def test_slow_outliers_are_told_and_not_drawn() -> None:
    total = {"p50": 2.0, "p95": 3.0, "p99": 3.0}
    rows = [{"name": "int8", "stages": {"total": total}, "totals_ms": [2.0] * 99 + [500.0]}]
    drawn = latency_chart(rows)
    assert drawn.count("<circle") == 99
    assert "1 slower frame beyond the edge" in drawn


def test_a_ratio_that_may_be_anything_leaves_room_for_the_limit() -> None:
    clause = {"kind": "min_speedup", "limit": 1.5, "value": 2.0, "low": 0.0, "high": 1e6, "status": "INCONCLUSIVE"}
    drawn = gauge({**clause, "sentence": "too few"})
    limit = re.search(r'class="limit" x1="([\d.]+)"', drawn)
    assert limit is not None
    assert 50 < float(limit[1]) < 210
