from __future__ import annotations

import json
from typing import Any

import pytest
from bundles import detector_parts

from edgewright.bundle.errors import ExitCode
from edgewright.deploy.steps.proof import ProofError, read_proof

MANIFEST, _ = detector_parts()
DIGEST = "ab" * 32


def told(**changes: Any) -> dict[str, Any]:
    rows = [
        {"variant": "float32-onnx", "output": output, "frames": 2, "max_difference": 0.0, "tolerance": 1.0, "ok": True}
        for output in ("boxes", "scores")
    ]
    return {"digest": DIGEST, "checks": rows, "skipped": {}, "engines": {"float32-onnx": "onnxruntime 1"}} | changes


def row(output: str, **changes: Any) -> dict[str, Any]:
    whole = told()
    for entry in whole["checks"]:
        if entry["output"] == output:
            entry.update(changes)
    return whole


def refused(text: str, formats: tuple[str, ...] = ("onnx",)) -> str:
    with pytest.raises(ProofError) as caught:
        read_proof(text, MANIFEST, DIGEST, formats)
    assert caught.value.exit_code is ExitCode.CONTRACT_FAILED
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)
    return str(caught.value)


def test_answers_within_the_tolerance_are_a_proof() -> None:
    text = "[W:onnxruntime: warning]\n" + json.dumps(row("scores", max_difference=5e-5)) + "\n"
    proof = read_proof(text, MANIFEST, DIGEST, ["onnx"])
    assert proof.engines == {"float32-onnx": "onnxruntime 1"}
    assert "float32-onnx / scores, by 5e-05 where 0.0001 is allowed" in proof.worst


def test_an_output_that_is_off_is_named_with_how_much_whatever_the_board_claims() -> None:
    said = refused(json.dumps(row("scores", max_difference=0.25, tolerance=100.0, ok=True)))
    assert "output 'scores' of variant float32-onnx is off by 0.25 on the board, 0.0001 is allowed" in said


@pytest.mark.parametrize(
    "bad",
    [float("nan"), float("inf"), None, "0", True, [], 10**400, -1.0, -1e-12, float("-inf"), -(10**400)],
    ids=["nan", "inf", "none", "text", "bool", "list", "huge", "negative", "slightly", "minus inf", "minus huge"],
)
def test_what_is_no_difference_proves_nothing(bad: Any) -> None:
    refused(json.dumps(row("boxes", max_difference=bad)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON object: nothing"),
        ("Segmentation fault\x1b[31m", "Segmentation fault"),
        ("{" * 100_000, "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('{"a":' * 50_000, "no JSON object"),
        (json.dumps(told(digest="00")), "another bundle"),
        (json.dumps(told(digest=["x" * 100_000])), "another bundle"),
        (json.dumps(told(checks=[])), "gave no answer"),
        (json.dumps(told(checks="none")), "gave no answer"),
        (json.dumps(told(checks=[[1], "x", None])), "gave no answer"),
        (json.dumps(row("boxes", frames=1)), "on all 2 golden frames"),
        (json.dumps(told(skipped={"float32-onnx": "no engine"}, checks=[])), "ran no variant .*no engine"),
        (json.dumps(told(skipped=7, engines=7, checks=7)), "gave no answer"),
    ],
)
def test_what_is_no_proof_is_refused(text: str, words: str) -> None:
    import re

    assert re.search(words, refused(text))


def test_running_only_what_the_profile_is_not_for_is_no_proof() -> None:
    assert "ran no variant that its profile is for" in refused(json.dumps(told()), ("tflite",))
