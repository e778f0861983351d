"""Result files: what is written is read, what is damaged is refused, who signed is known, and bundles take figures in."""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_results import DIGEST, result, row
from bundles import write_detector
from hypothesis import given
from hypothesis import strategies as st
from tflite_models import both_formats_parts

from edgewright.bundle.errors import OutputError
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.cli import bench_result
from edgewright.cli.main import main
from edgewright.runtime.bench import BenchSettings
from edgewright.runtime.picks import read_picks
from edgewright.runtime.results.codec import (
    MOST_BYTES,
    read_result,
    result_from_json,
    result_to_json,
    write_result,
)
from edgewright.runtime.results.into_bundle import record_results
from edgewright.runtime.results.measure import BoardTiming, measure_board
from edgewright.runtime.results.schema import BoardAccuracy, Figure, Result, ResultError, bundle_identity
from edgewright.runtime.results.signing import (
    Signature,
    SignatureState,
    check_signature,
    sign_result,
    signature_path,
)

ACCURACY = BoardAccuracy(
    "int8", "ap50", "AP at IoU 0.5", "float on this workstation", Figure(0.6, 0.5, 0.7, 30), 0.62,
    Figure(2.0, -1.0, 5.0, 30), "clip.avi",
)  # fmt: skip
QUICK = BenchSettings(blocks=8, frames_per_block=2, warmup=1, timeout_s=60)
UNSIGNED = Signature(SignatureState.UNSIGNED)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "t", "-f", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def signers(key: Path) -> Path:
    path = key.with_name("signers")
    path.write_text(f"lab@example {key.with_suffix('.pub').read_text()}")
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    bundle = write_detector(tmp_path_factory.mktemp("bundle") / "tiny.edge")
    return bundle, measure_board(bundle, BoardTiming(QUICK, name="here"))[0]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = result(accuracy=(ACCURACY,), left_out={"int8-tflite": "no engine"})
    write_result(tmp_path / "r.json", made)
    assert read_result(tmp_path / "r.json")[0] == made


def test_a_real_measurement_is_a_result(measured: tuple[Path, Result]) -> None:
    bundle, seen = measured
    assert result_from_json(result_to_json(seen).encode(), "r") == seen
    with open_bundle(bundle) as opened:
        assert (seen.bundle.digest, seen.bundle.identity) == (opened.digest, bundle_identity(opened.manifest))
    (times,) = seen.variants
    assert times.golden is True
    assert times.frames == 16
    assert len(times.turns_ms) == 8
    assert seen.fastest is not None
    assert seen.fastest.candidate == "float32-onnx"
    assert not seen.board.emulated


def test_only_some_variants_are_timed(tmp_path: Path) -> None:
    write_bundle(tmp_path / "both.edge", *both_formats_parts())
    timing = BoardTiming(QUICK, only=("int8-tflite", "float32-tflite"))
    seen, _ = measure_board(tmp_path / "both.edge", timing)
    assert [each.candidate for each in seen.variants] == ["int8-tflite", "float32-tflite"]


def test_an_emulated_board_is_marked_at_the_top(tmp_path: Path) -> None:
    made = result()
    played = replace(made, board=replace(made.board, emulated_by="qemu-user"))
    assert json.loads(result_to_json(made))["emulated"] is False
    assert json.loads(result_to_json(played))["emulated"] is True


def told(change: Any) -> bytes:
    data = json.loads(result_to_json(result(accuracy=(ACCURACY,))))
    change(data)
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no result file"),
        (b"[]", "no result file"),
        (b"[" * 100_000, "no result file"),
        (b'{"schema": {"name": "edgewright-report", "version": 2}}', "no result file but"),
        (told(lambda d: d["schema"].update(version=2)), "schema 2"),
        (told(lambda d: d.pop("board")), "result.board is missing"),
        (told(lambda d: d["board"].update(name="a\x1b[31m")), "printable"),
        (told(lambda d: d["board"].update(name="x" * 2000)), "at most 1000"),
        (told(lambda d: d["variants"].clear()), "different candidates"),
        (told(lambda d: d["soak"]["points"][0].update(p50_ms=0)), "a median above zero"),
        (told(lambda d: d["soak"]["points"][0].update(p50_ms=1e-300, p95_ms=0)), "95th percentile"),
        (told(lambda d: d["variants"][0]["judged"]["ap50"].update(low=0.9)), "judged ap50 must be inside its interval"),
        (told(lambda d: d["variants"][0]["judged"]["ap50"].update(samples=-1)), "samples must be nothing below zero"),
        (told(lambda d: d["variants"][0].update(file_bytes=-1)), "file_bytes must be nothing below zero"),
        (told(lambda d: d["variants"][0].update(first_result_ms=-1)), "first_result_ms must be nothing below zero"),
        (told(lambda d: d["soak"].update(seconds=-1.0)), "seconds must be nothing below zero"),
        (told(lambda d: d["conditions"]["before"]["clock_mhz"].update({"0": -1})), "clock_mhz must be nothing below"),
        (told(lambda d: d["setting"].update(pinned=[-1])), "pinned must be nothing below zero"),
        (told(lambda d: d["variants"].append(d["variants"][0])), "different candidates"),
        (told(lambda d: d["variants"][0]["stages"].pop("total")), "stages"),
        (told(lambda d: d["variants"][0]["stages"]["total"].update(p50=1e9)), "percentiles in order"),
        (told(lambda d: d["variants"][0]["stages"]["total"].update(p99=float("inf"))), "finite"),
        (told(lambda d: d["variants"][0].update(turns_ms=[])), "timed"),
        (told(lambda d: d["variants"][0].update(turns_ms=[1.0] * 6000)), "at most 5000"),
        (told(lambda d: d["variants"][0].update(golden="yes")), "true or false"),
        (told(lambda d: d["variants"][0].update(sha256="x")), "known file"),
        (told(lambda d: d["variants"][0].update(frames=10**400)), "integer"),
        (told(lambda d: d["ratios"][0].update(low=9.0)), "intervals"),
        (told(lambda d: d["fastest"].update(candidate="nobody")), "one of those timed"),
        (told(lambda d: d["accuracy"][0]["drop"].update(low=9.0)), "inside its interval"),
        (told(lambda d: d["setting"].update(threads=0)), "threads"),
        (told(lambda d: d["bundle"].update(digest="../..")), "SHA-256"),
    ],
)
def test_a_damaged_file_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(ResultError, match=words) as caught:
        result_from_json(data, "pi.json")
    assert "pi.json" in str(caught.value)


def test_fields_of_later_versions_are_passed_over() -> None:
    data = told(lambda d: (d.update(new=1), d["board"].update(colour="red")))
    assert result_from_json(data, "r") == result(accuracy=(ACCURACY,))


@given(place=st.integers(0, 6000), byte=st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(place: int, byte: int) -> None:
    data = bytearray(result_to_json(result()).encode())
    data[place % len(data)] = byte
    try:
        result_from_json(bytes(data), "r")
    except ResultError:
        pass


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "r.json").open("wb") as stream:
        stream.truncate(MOST_BYTES + 1)
    with pytest.raises(ResultError, match="larger than"):
        read_result(tmp_path / "r.json")
    with pytest.raises(ResultError, match="cannot read"):
        read_result(tmp_path / "none.json")


def test_signatures_tell_who_stands_for_a_result(tmp_path: Path, key: Path, signers: Path) -> None:
    path = tmp_path / "r.json"
    write_result(path, result())
    data = path.read_bytes()
    assert check_signature(path, data, signers).state is SignatureState.UNSIGNED
    sign_result(path, key)
    assert str(check_signature(path, data, signers)) == "signed by lab@example"
    assert check_signature(path, data, None).state is SignatureState.UNCHECKED
    others = tmp_path / "others"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k2")], check=True)
    others.write_text(f"someone {(tmp_path / 'k2.pub').read_text()}")
    assert check_signature(path, data, others).state is SignatureState.UNKNOWN
    with pytest.raises(ResultError, match="does not belong"):
        check_signature(path, data.replace(b"Pi 5", b"Pi 6"), signers)
    signature_path(path).write_bytes(b"nonsense")
    with pytest.raises(ResultError, match="does not belong"):
        check_signature(path, data, signers)


def test_a_signature_for_another_purpose_does_not_count(tmp_path: Path, key: Path, signers: Path) -> None:
    path = tmp_path / "r.json"
    write_result(path, result())
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "git", str(path)], check=True)
    with pytest.raises(ResultError, match="does not belong"):
        check_signature(path, path.read_bytes(), signers)


def test_what_cannot_sign_says_so(tmp_path: Path) -> None:
    write_result(tmp_path / "r.json", result())
    (tmp_path / "no-key").write_text("nothing")
    with pytest.raises(ResultError, match="cannot sign"):
        sign_result(tmp_path / "r.json", tmp_path / "no-key")
    with pytest.raises(ResultError, match="no key"):
        sign_result(tmp_path / "r.json", tmp_path / "missing")
    assert not signature_path(tmp_path / "r.json").exists()


def test_a_bundle_takes_the_figures_of_a_board_in(tmp_path: Path, measured: tuple[Path, Result]) -> None:
    bundle = tmp_path / "tiny.edge"
    bundle.write_bytes(measured[0].read_bytes())
    signature = Signature(SignatureState.SIGNED, "lab@example")
    two = replace(measured[1], setting=replace(measured[1].setting, threads=2))
    done = record_results(bundle, [(measured[1], signature), (two, UNSIGNED)])
    with open_bundle(bundle) as opened:
        first, second = opened.manifest.variants[0].latency
        assert opened.digest == done.new != done.old
        assert bundle_identity(opened.manifest) == measured[1].bundle.identity
    assert (done.entries, first.threads, second.threads) == (2, 1, 2)
    assert first.p50_ms == measured[1].variants[0].stages["total"].p50
    assert (first.extra["signed_by"], second.extra["signed_by"]) == ("lab@example", None)
    # What was measured before still belongs to it, and takes the place of what is there.
    record_results(bundle, [(measured[1], UNSIGNED)])
    with open_bundle(bundle) as opened:
        assert [entry.threads for entry in opened.manifest.variants[0].latency] == [2, 1]
    assert main(["verify", str(bundle)]) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda seen: replace(seen, board=replace(seen.board, emulated_by="qemu-user")), "emulated"),
        (lambda seen: replace(seen, bundle=replace(seen.bundle, identity="c" * 64)), "not of"),
    ],
)
def test_figures_that_do_not_belong_there_are_refused(
    tmp_path: Path, measured: tuple[Path, Result], change: Any, words: str
) -> None:
    bundle = tmp_path / "tiny.edge"
    bundle.write_bytes(measured[0].read_bytes())
    with pytest.raises(ResultError, match=words):
        record_results(bundle, [(change(measured[1]), UNSIGNED)])
    with pytest.raises(ResultError, match="unsigned"):
        record_results(bundle, [(measured[1], UNSIGNED)], only_signed=True)
    assert bundle.read_bytes() == measured[0].read_bytes()


def test_wrong_golden_answers_bring_no_figure(tmp_path: Path, measured: tuple[Path, Result]) -> None:
    bundle = tmp_path / "tiny.edge"
    bundle.write_bytes(measured[0].read_bytes())
    wrong = replace(measured[1], variants=(replace(measured[1].variants[0], golden=False),))
    assert record_results(bundle, [(wrong, UNSIGNED)]).entries == 0


def test_the_command_writes_signs_and_records(
    tmp_path: Path, measured: tuple[Path, Result], key: Path, signers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "tiny.edge"
    bundle.write_bytes(measured[0].read_bytes())
    made = tmp_path / "a new/folder/r.json"
    words = ["bench", str(bundle), "--runs", "10", "-o", str(made), "--soak", "1", "--board", "the gate"]
    assert main([*words, "--sign", str(key), "--signers", str(signers), "--into", str(bundle)]) == 0
    said = capsys.readouterr().out
    assert "the gate" in said
    assert "signed by lab@example" in said
    seen, data = read_result(made)
    assert seen.soak is not None
    assert seen.soak.frames > 0
    assert check_signature(made, data, signers).signer == "lab@example"
    # Timed anew and not signed: the old signature must not stay.
    assert main(["bench", str(bundle), "--runs", "10", "-o", str(made), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"]["name"] == "edgewright-result"
    assert not signature_path(made).exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--soak", "0.1", "-o", "r.json"], "--soak cannot be"),
        (["--sign", "key"], "-o RESULT.json"),
        (["-o", "r.txt"], "RESULT.json"),
        (["-o", "/proc/r.json"], "cannot write /proc/r.json"),
        (["-o", f"{__file__}/r.json"], "Not a directory"),
        (["-o", "r.json", "--into", "nowhere.edge"], "no bundle"),
        (["-o", "r.json", "--board", "\x1b[1m"], "no name"),
        (["-o", "r.json", "--signers", "list"], "--sign KEY"),
        (["--images", "clip.avi"], "need --remote"),
        (["--only", "nobody"], "no variant 'nobody'"),
        (["--only", "float32-onnx", "--pick", "-o", "r.json"], "leave out --only"),
        (["--over", "p.npz"], "belong together"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_timing(
    measured: tuple[Path, Result], words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(measured[0]), *words]) == 2
    seen = capsys.readouterr()
    assert told in seen.err
    assert "timing" not in seen.err


def test_rows_of_another_file_of_the_same_name_bring_no_figure(tmp_path: Path, measured: tuple[Path, Result]) -> None:
    bundle = tmp_path / "tiny.edge"
    bundle.write_bytes(measured[0].read_bytes())
    foreign = replace(measured[1], variants=(replace(measured[1].variants[0], sha256=DIGEST),))
    assert record_results(bundle, [(foreign, UNSIGNED)]).entries == 0


def test_what_was_measured_is_not_lost_with_a_pick_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OutputError("no space left")

    monkeypatch.setattr("edgewright.runtime.picks.store_pick", full)
    words = ["--pick", "--picks", str(tmp_path / "picks.json"), "--runs", "5", "-o", str(tmp_path / "r.json")]
    assert main(["bench", str(write_detector(tmp_path / "d.edge")), *words]) == OutputError.exit_code
    assert "no space left" in capsys.readouterr().err
    assert read_result(tmp_path / "r.json")[0].variants


def test_only_what_gave_its_golden_answers_is_picked(tmp_path: Path) -> None:
    rows = (row("untried", 1.0, golden=None), row("right", 2.0), row("slow", 3.0, precision="float32"))
    args = argparse.Namespace(picks=tmp_path / "picks.json", bundle="d.edge")
    bench_result._store_pick(args, result("board", rows))
    assert [pick.candidate for pick in read_picks(tmp_path / "picks.json")] == ["right"]
