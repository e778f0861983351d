"""Everything the report says, as JSON values. HTML and Markdown are drawn from this and nothing else.

The schema is documented in ``docs/reference/report.md``; ``REPORT_VERSION`` counts its incompatible changes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import SsdDecode
from edgewright.bundle.text import plain_values
from edgewright.optimize.evaluate.quality import FLOAT, agreement_quality
from edgewright.optimize.report.pictures import draw_pictures
from edgewright.optimize.variants.form import form_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgewright.bundle.manifest import Manifest
    from edgewright.optimize.candidate import Candidate
    from edgewright.optimize.contract import ClauseVerdict, Measured, Verdict
    from edgewright.optimize.delivery import Delivery
    from edgewright.optimize.evaluate.quality import Quality
    from edgewright.optimize.report.story import Story
    from edgewright.runtime.bench import BenchReport

__all__ = ["REPORT_VERSION", "Report", "ReportInput", "build_report", "verdict_values"]

REPORT_VERSION = 2


@dataclass(frozen=True, eq=False)
class ReportInput:
    """What the report is made from.

    Attributes:
        manifest: Of the bundle, without ``files``.
        verdict: Of the whole bundle.
        delivered: Format by format, what is shipped and what was measured of it.
        candidate: All forms of the model.
        story: How it came about.
        notes: What the user should know, in order.
        route: Who wrote the TFLite files; None where there are none.
        foreign: Whether the board has another kind of processor, so that times taken here are not its own.
    """

    manifest: Manifest
    verdict: Verdict
    delivered: tuple[Delivery, ...]
    candidate: Candidate
    story: Story
    notes: tuple[str, ...]
    foreign: bool = False
    route: str | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """A report ready to be rendered.

    Attributes:
        data: JSON values.
        pictures: File name to JPEG.
    """

    data: Mapping[str, Any]
    pictures: Mapping[str, bytes]


def build_report(given: ReportInput) -> Report:
    """Collects the report's content and draws its pictures.

    Args:
        given: What to report.
    """
    manifest, first = given.manifest, given.delivered[0]
    threshold = manifest.decode.score_threshold if isinstance(manifest.decode, SsdDecode) else None
    seen = first.judgement.observation
    rows, pictures = draw_pictures(first.judgement.pictures, seen, manifest.labels, threshold)
    data = {
        "schema": {"name": "edgewright-report", "version": REPORT_VERSION},
        "bundle": {
            "name": manifest.name,
            "version": manifest.version,
            "task": manifest.task.value,
            "labels": len(manifest.labels),
            "input": [manifest.preprocess.width, manifest.preprocess.height],
        },
        **_delivery(first, given),
        "verdict": verdict_values(given.verdict),
        "further_formats": [_delivery(one, given) for one in given.delivered[1:]],
        "between_formats": _between(given.delivered, threshold),
        "tflite_route": given.route,
        "calibration": None if manifest.calibration is None else _plain(asdict(manifest.calibration)),
        "pictures": rows,
        "story": _plain(given.story.values()),
        "notes": list(given.notes),
        "provenance": _plain(asdict(manifest.provenance)),
    }
    # Names of nodes, files and classes are whatever their makers liked.
    return Report(plain_values(data), pictures)


def _delivery(one: Delivery, given: ReportInput) -> dict[str, Any]:
    """What was measured of one format."""
    judgement, choice = one.judgement, one.choice
    sizes = {form.name: len(form.model) for form in given.candidate.forms}
    precisions = {form.name: form.precision.value for form in given.candidate.forms}
    float_ = sizes[form_name(FLOAT, one.kind)]
    return {
        "format": one.kind.value,
        "verdict": verdict_values(judgement.verdict),
        "size": {
            "float_bytes": float_,
            "judged_bytes": sizes[choice.judged],
            "ratio": float_ / sizes[choice.judged],
        },
        "judged": {
            "name": choice.judged,
            "precision": precisions[choice.judged],
            "shipped": choice.name,
            "float_shipped": choice.gated,
            "why": choice.why,
            "foreign": given.foreign,
        },
        "speed": _speed(judgement.bench, precisions),
        "labelled": _quality(judgement.labelled),
        "agreement": {**(_quality(judgement.agreement) or {}), "source": judgement.observation.source},
    }


def _between(delivered: Sequence[Delivery], threshold: float | None) -> list[dict[str, Any]]:
    """How far the integer variants of two formats agree with each other, on the pictures both were judged on."""
    first = delivered[0]
    rows = []
    for other in delivered[1:]:
        pairs = zip(first.judgement.observation.seen, other.judgement.observation.seen, strict=True)
        seen = tuple(replace(a, float_=a.int8, int8=b.int8) for a, b in pairs)
        quality = agreement_quality(replace(first.judgement.observation, seen=seen), threshold)
        rows.append({"first": first.choice.judged, "second": other.choice.judged, **(_quality(quality) or {})})
    return rows


def verdict_values(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON values."""
    return {
        "status": verdict.status.value,
        "exit_code": int(verdict.status.exit_code),
        "sentence": verdict.sentence,
        "clauses": [_clause(clause) for clause in verdict.clauses],
    }


def _clause(clause: ClauseVerdict) -> dict[str, Any]:
    return {
        "kind": clause.kind.value,
        "limit": clause.limit,
        "status": clause.status.value,
        "sentence": clause.sentence,
        "frames_needed": clause.frames_needed,
        **_measured(clause.measured),
    }


def _measured(figure: Measured | None) -> dict[str, Any]:
    if figure is None:
        return {"value": None, "low": None, "high": None, "samples": 0, "enough": None, "still": False, "span": None}
    return asdict(figure) | {"span": None if figure.span is None else list(figure.span)}


def _quality(quality: Quality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    metrics = [
        {key: value for key, value in asdict(metric).items() if key not in {"extra", "dataset"}}
        for metric in quality.metrics
    ]
    return {
        "title": quality.title,
        "headline": _measured(quality.headline),
        "doubt": quality.doubt,
        "details": dict(quality.details),
        "dataset": quality.metrics[0].dataset if quality.metrics else None,
        "metrics": metrics,
    }


def _speed(bench: BenchReport, precisions: Mapping[str, str]) -> dict[str, Any]:
    variants = [
        {
            "name": times.variant,
            "precision": precisions[times.variant],
            "engine": times.engine,
            "frames": times.frames,
            "stages": {stage: asdict(figures) for stage, figures in times.stages.items()},
            "processor_ms": times.processor_ms,
            "peak_memory_bytes": times.peak_memory_bytes,
            "first_result_ms": times.first_result_ms,
            "totals_ms": list(times.totals_ms),
        }
        for times in bench.variants
    ]
    ratios, alone = (
        [{**asdict(ratio), "resolved": ratio.resolved} for ratio in rows]
        for rows in (bench.ratios, bench.inference_ratios)
    )
    conditions = {**asdict(bench.conditions), "machine": {**asdict(bench.conditions.machine)}}
    return {"variants": variants, "ratios": ratios, "inference_ratios": alone, "conditions": _plain(conditions)}


def _plain(value: Any) -> Any:
    """Tuples to lists, mappings to dicts, all the way down."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if not (key == "extra" and not item)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
