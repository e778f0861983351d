"""What summary and report call things: the form that is in the bundle, and nothing that is not."""

from __future__ import annotations

from typing import Any

import pytest

from edgewright.bundle.figures import fixed, milliseconds
from edgewright.optimize.evaluate.doubt import agreement_doubt
from edgewright.optimize.report.charts import latency_chart
from edgewright.optimize.report.path_chart import path_chart
from edgewright.optimize.report.summary import summary_lines
from edgewright.optimize.report.words import metric_interval, metric_title, own_verdict


def _part(kind: str, name: str, precision: str, *, gated: bool = False) -> dict[str, Any]:
    rows = [{"name": n, "stages": {"total": {"p50": p50}}} for n, p50 in (("float", 0.0423), (name, 0.0464))]
    ratio = {"variant": name, "value": 0.9, "low": 0.8, "high": 0.95, "pairs": 40, "resolved": True}
    metric = {"name": "top1_agreement", "variant": name, "value": 0.9, "low": 0.8, "high": 0.95, "samples": 50}
    shipped = "float" if gated else name
    return {
        "format": kind,
        "verdict": {"status": "FAIL", "clauses": []},
        "size": {"float_bytes": 135_700, "judged_bytes": 59_230, "ratio": 2.291},
        "judged": {"name": name, "precision": precision, "shipped": shipped, "float_shipped": gated, "foreign": False},
        "speed": {"variants": rows, "ratios": [ratio], "conditions": {"threads": 1}},
        "labelled": None,
        "agreement": {"metrics": [metric]},
    }


def _report(first: dict[str, Any], *further: dict[str, Any], choice: str = "", forms: tuple[Any, ...] = ()) -> Any:
    bundle, story = {"name": "m", "version": "1"}, {"choice": choice, "forms": forms}
    return {**first, "bundle": bundle, "story": story, "notes": [], "further_formats": list(further)}


def test_figures_are_of_what_is_shipped() -> None:
    choice = "no form is faster than the float model here (int8 0.90x); the float model is shipped"
    lines = list(summary_lines(_report(_part("onnx", "int8", "int8", gated=True), choice=choice)))
    assert lines[1] == "  float model shipped: no form is faster than the float model here (int8 0.90x)"
    smaller = [line for line in lines if "59.23 kB" in line or "0.90x [" in line]
    assert smaller
    assert all("not shipped" in line for line in smaller)
    assert any("0.0423 ms" in line and "0.0464" not in line for line in lines)


def test_a_compact_form_is_not_called_int8() -> None:
    forms = tuple(
        {"name": name, "speedup": [x, x, x], "loss": 0.1, "problem": None}
        for name, x in (("int8", 3.45), ("compact", 3.65))
    )
    report = _report(_part("onnx", "compact", "float32"), choice="compact: 3.65x float's speed", forms=forms)
    told = [line for line in summary_lines(report) if "INT8" in line]
    assert told == ["  INT8 not shipped: 3.45x against 3.65x of compact by the brief timing"]


def test_each_format_has_its_own_verdict() -> None:
    report = _report(_part("onnx", "int8", "int8"), _part("tflite", "int8-tflite", "int8"))
    rows = [("onnx: model size", "PASS"), ("tflite: model size", "FAIL")]
    report["verdict"] = {"status": "FAIL", "clauses": [{"sentence": text, "status": status} for text, status in rows]}
    assert own_verdict(report, report) == "PASS"
    assert own_verdict(report["further_formats"][0], report) == "FAIL"


def test_one_class_for_all_says_nothing() -> None:
    assert "same class for all 60 pictures" in (agreement_doubt([3] * 60) or "")
    assert "59 of 60" in (agreement_doubt([3] * 59 + [1]) or "")
    assert agreement_doubt([3] * 50 + [1] * 10) is None
    assert agreement_doubt([3, 3]) is None


@pytest.mark.parametrize(("value", "told"), [(-0.001, "0.00"), (-0.0, "0.00"), (-0.01, "-0.01"), (1.005, "1.00")])
def test_no_zero_has_a_sign(value: float, told: str) -> None:
    assert fixed(value, 2) == told


@pytest.mark.parametrize(("value", "told"), [(0.0423, "0.0423"), (0.5, "0.500"), (12.345, "12.3"), (0.0, "0.0")])
def test_short_times_keep_three_digits(value: float, told: str) -> None:
    assert milliseconds(value, 1) == told


def test_titles_and_intervals() -> None:
    assert metric_title("boxes_extra", "int8-tflite", "int8") == "int8-tflite boxes that int8 does not have"
    assert metric_interval({"name": "ap50", "low": 0.0, "high": 1.0}) == "too few pictures to tell"


def test_percentiles_that_touch_share_a_label() -> None:
    total = {"p50": 2.0, "p95": 2.01, "p99": 2.02}
    drawn = latency_chart([{"name": "int8", "stages": {"total": total}, "totals_ms": [2.0]}])
    assert ">p50, p95, p99<" in drawn


def test_the_path_is_drawn_once_a_file_and_on_round_numbers() -> None:
    row = {"format": "onnx", "precision": "float32", "parameters": 9, "macs": 9, "bytes": 9, "accuracy": None}
    float_ = {**row, "step": "float", "bytes": 99, "p50_ms": 0.26, "agreement": None}
    steps = [{**row, "step": step, "p50_ms": 0.07, "agreement": [65.4, 61.0, 69.6]} for step in ("1 distil", "compact")]
    drawn = path_chart([float_, *steps])
    assert drawn.count("<circle") == 2
    assert ">100<" in drawn
    assert ">10" not in drawn.replace(">100<", "").replace(">10<", "")
