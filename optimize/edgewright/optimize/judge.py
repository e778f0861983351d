"""The judge: a candidate in a draft bundle, measured through the device's code path, held against the contract."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import ClassifyDecode
from edgewright.bundle.reader import open_bundle
from edgewright.optimize.contract import Contract, Figures, Measured, Verdict, judge
from edgewright.optimize.data.plan import agreement_samples
from edgewright.optimize.data.samples import fetch
from edgewright.optimize.doubts import doubts_of, quality_notes, speed_notes
from edgewright.optimize.errors import DataError
from edgewright.optimize.evaluate.observe import Observation, SessionPair, observe, open_pair
from edgewright.optimize.evaluate.quality import FLOAT, INT8, Quality, agreement_quality, labelled_quality
from edgewright.optimize.speed import measure_speed, speedup_of
from edgewright.optimize.variants.form import called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgewright.bundle.manifest import Manifest
    from edgewright.optimize.data.labels import LabelledFrame
    from edgewright.optimize.data.plan import DataPlan
    from edgewright.optimize.data.samples import Sample
    from edgewright.optimize.evaluate.coco import GroundTruth
    from edgewright.optimize.progress import Progress
    from edgewright.runtime.bench import BenchReport, BenchSettings

__all__ = [
    "JudgeSettings",
    "Judgement",
    "Picture",
    "UsedPictures",
    "check_contract",
    "judge_candidate",
    "unchanged_figures",
]

_TIMED_PICTURES = 8
_WORST_PICTURES = 6
_TYPICAL_PICTURES = 2
_LEAST_PICTURES = 4
_GOLDEN_PICTURES = 3


@dataclass(frozen=True)
class JudgeSettings:
    """How to judge.

    Attributes:
        contract: What was promised.
        metric: For detectors, the AP that ``max_drop`` is about.
        timing: How long and how to time; its ``threads`` are those of evaluation, too.
        variant: The variant that is judged, against ``float``.
        baseline: The float variant of the same format, which it is timed against and which the speed gate ships.
        float_shipped: The speed gate closed: the float model goes into the bundle, and the contract is about that.
        gate: Whether a variant that turns out slower than float gives its place to the float model.
        foreign: The board has another kind of processor: times taken here say nothing of the contract's speed.
    """

    contract: Contract
    metric: str
    timing: BenchSettings
    variant: str = INT8
    baseline: str = FLOAT
    float_shipped: bool = False
    gate: bool = False
    foreign: bool = False


@dataclass(frozen=True)
class UsedPictures:
    """Digests of the pictures that made the candidate.

    Attributes:
        calibrated: They set its integers.
        selected: They chose it.
    """

    calibrated: frozenset[bytes]
    selected: frozenset[bytes] = frozenset()


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture worth showing.

    Attributes:
        sample: The picture.
        seen: Position in the observation it belongs to.
        why: Why it was chosen.
    """

    sample: Sample
    seen: int
    why: str


@dataclass(frozen=True, eq=False)
class Judgement:
    """Everything measured.

    Attributes:
        verdict: What became of the contract.
        labelled: Figures against labels, None without labels.
        agreement: Figures against the float model.
        observation: Both models' answers on the agreement pictures.
        bench: Times.
        pictures: Worth showing.
        golden: Pictures for the golden vectors.
        notes: What the user should know.
        slower: The final timing showed it to be slower than float, and the verdict is about the float model instead.
    """

    verdict: Verdict
    labelled: Quality | None
    agreement: Quality
    observation: Observation
    bench: BenchReport
    pictures: tuple[Picture, ...]
    golden: tuple[Sample, ...]
    notes: tuple[str, ...]
    slower: bool = False


def check_contract(contract: Contract, *, labelled: bool, recorded: bool = False) -> None:
    """Refuses promises that nothing could be measured for, before any work is done.

    Args:
        contract: The promises.
        labelled: Whether there are labels.
        recorded: The figures of a bundle are judged again, to which no labels can be given any more.

    Raises:
        DataError: A promise about accuracy without labels.
    """
    if contract.max_drop is not None and not labelled:
        what = "--max-drop is about accuracy and needs --labels; without labels promise --min-agreement"
        msg = "this bundle was made without labels, so its report holds no accuracy and --max-drop cannot be judged: "
        msg = f"{msg}make it again with edgewright optimize --labels, or judge --min-agreement" if recorded else what
        raise DataError(msg)


def judge_candidate(
    draft: Path, plan: DataPlan, used: UsedPictures, settings: JudgeSettings, progress: Progress
) -> Judgement:
    """Measures and judges.

    Args:
        draft: Bundle with the variants ``float``, ``settings.baseline`` and ``settings.variant``.
        plan: Which pictures serve what.
        used: Pictures that nothing may be judged on any more.
        settings: Contract and timing.
        progress: Where stages are announced.

    Raises:
        DataError: Pictures cannot be used.
        JudgeError: A variant cannot be measured.
    """
    notes: list[str] = []
    with open_bundle(draft) as bundle:
        pair = open_pair(bundle, FLOAT, settings.variant, settings.timing.threads)
        size, float_size = (bundle.manifest.variant(name).bytes for name in (settings.variant, settings.baseline))
        word = called(settings.variant, bundle.manifest.variant(settings.variant).precision.value)
        task = _Task(settings.metric, _classes(bundle.manifest), word)
    labelled_seen, labelled = _judge_labelled(plan, pair, task, progress, notes.append)
    seen = _observe_agreement(plan, used, pair, progress, notes.append, word=task.word) or labelled_seen
    if seen is None:
        msg = "there are no pictures to judge on"
        raise DataError(msg)
    notes += plan.oddities()
    agreement = agreement_quality(seen, pair.score_threshold)
    notes += quality_notes(labelled, agreement, task.word)
    if agreement.headline is None:
        notes.append("the float model saw nothing in any agreement picture, so agreement is undefined")
    chosen = _choose_pictures(plan, seen, agreement)
    frames = [picture.sample.image for picture in chosen.timed]
    with progress.stage(
        f"time {settings.baseline} and {settings.variant}, each in its own process", settings.timing.blocks
    ) as advance:
        bench = measure_speed(draft, (settings.baseline, settings.variant), frames, settings.timing, advance)
    figures = Figures(
        drop=labelled.headline if labelled is not None else None,
        agreement=agreement.headline,
        speedup=None if settings.foreign else speedup_of(bench, settings.variant),
        size=Measured.exact(size),
        doubts=doubts_of(None if labelled is None else labelled.doubt, foreign=settings.foreign),
    )
    final = bench.ratio(settings.variant)
    slower = settings.gate and final is not None and final.resolved and final.value < 1.0
    if settings.float_shipped or slower:
        figures = unchanged_figures(float_size, labelled=labelled is not None)
    verdict = judge(settings.contract, figures)
    golden = tuple(picture.sample for picture in chosen.timed[:_GOLDEN_PICTURES])
    labelled = None if labelled is None else _named(labelled, settings.variant)
    agreement = _named(agreement, settings.variant)
    notes += speed_notes(bench, foreign=settings.foreign)
    return Judgement(verdict, labelled, agreement, seen, bench, chosen.shown, golden, tuple(notes), slower)


def unchanged_figures(size: int, *, labelled: bool) -> Figures:
    """What a contract holds of the float model itself, when that is what is shipped.

    Args:
        size: Bytes of its file.
        labelled: Whether there are labels, without which no drop is spoken of.
    """
    drop = Measured.exact(0.0) if labelled else None
    return Figures(drop, Measured.exact(100.0), Measured.exact(1.0), Measured.exact(size))


@dataclass(frozen=True)
class _Task:
    """Which AP a drop is about, how many classes a classifier tells apart, and what the form judged is called."""

    metric: str
    classes: int | None
    word: str


def _classes(manifest: Manifest) -> int | None:
    decode = manifest.decode
    if not isinstance(decode, ClassifyDecode):
        return None
    scores = [spec for spec in manifest.variant(FLOAT).outputs if spec.name == decode.scores]
    return math.prod(scores[0].shape) if scores else len(manifest.labels) or None


def _named(quality: Quality, variant: str) -> Quality:
    """The same with the candidate's figures under the name of its variant."""
    metrics = tuple(replace(row, variant=variant) if row.variant == INT8 else row for row in quality.metrics)
    return replace(quality, metrics=metrics)


def _judge_labelled(
    plan: DataPlan, pair: SessionPair, task: _Task, progress: Progress, note: Callable[[str], None]
) -> tuple[Observation | None, Quality | None]:
    if plan.labels is None or plan.images is None:
        return None, None
    truth: list[GroundTruth | int] = []

    def pictures(rows: Iterator[tuple[Sample, LabelledFrame]]) -> Iterator[tuple[Sample, bytes]]:
        for sample, frame in rows:
            truth.append(frame.truth)
            yield sample, frame.content

    with progress.stage("evaluate both models on the labelled pictures", len(plan.labels.frames)) as advance:
        source, spacing_s = plan.images.title, plan.images.spacing_s
        seen = observe(pictures(plan.labelled(note)), pair, advance, source=source, spacing_s=spacing_s)
        return seen, labelled_quality(seen, truth, task.metric, pair.score_threshold, task.classes)


def _observe_agreement(
    plan: DataPlan,
    used: UsedPictures,
    pair: SessionPair,
    progress: Progress,
    note: Callable[[str], None],
    *,
    word: str,
) -> Observation | None:
    source = plan.agreement
    if source is None:
        return None
    with progress.stage(f"compare {word} with float on unlabelled pictures", source.estimate()) as advance:
        pictures = ((sample, b"") for sample in agreement_samples(plan, used.calibrated, note, used.selected))
        return observe(pictures, pair, advance, source=source.title, spacing_s=source.spacing_s)


@dataclass(frozen=True, eq=False)
class _Chosen:
    shown: tuple[Picture, ...]
    timed: tuple[Picture, ...]


def _choose_pictures(plan: DataPlan, seen: Observation, quality: Quality) -> _Chosen:
    """The worst disagreements and some evenly spread pictures to show; evenly spread ones to time and to keep."""
    count = len(seen.seen)
    ranked = sorted(range(count), key=lambda k: quality.disagreement[k], reverse=True)
    worst = [k for k in ranked if any(quality.disagreement[k])][:_WORST_PICTURES]
    others = [k for k in range(count) if k not in worst]
    typical = [others[k] for k in _spread(len(others), max(_TYPICAL_PICTURES, _LEAST_PICTURES - len(worst)))]
    timed = _spread(count, _TIMED_PICTURES)
    source = plan.agreement or plan.images
    if source is None:
        return _Chosen((), ())
    samples = fetch(source, {seen.seen[k].index for k in (*worst, *typical, *timed)})

    def pictures(positions: list[int], why: str) -> list[Picture]:
        return [Picture(samples[seen.seen[k].index], k, why) for k in positions]

    shown = pictures(worst, "among the worst disagreements") + pictures(typical, "picked evenly over the pictures")
    return _Chosen(tuple(shown), tuple(pictures(timed, "")))


def _spread(count: int, wanted: int) -> list[int]:
    wanted = min(count, wanted)
    # The middle of each stretch: the first and the last frame of a clip are often odd.
    return sorted({int((2 * k + 1) * count / (2 * wanted)) for k in range(wanted)})
