"""What holds for every contract and every measurement."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.contract import Contract, Figures, Measured, Status, judge, together
from edgewright.optimize.evaluate.intervals import MIN_BLOCKS, measured_share
from edgewright.runtime.bench_ratio import MIN_PAIRS, ratio_of

numbers = st.floats(-100, 100, allow_nan=False)
shares = st.floats(0, 100, allow_nan=False)
percentages = st.floats(1, 100, exclude_min=True)


@st.composite
def measured(draw: st.DrawFn, of: st.SearchStrategy[float] = numbers) -> Measured:
    low, value, high = sorted(draw(st.tuples(of, of, of)))
    return Measured(value, low, high, draw(st.integers(1, 10_000)))


RANK = {Status.FAIL: 0, Status.INCONCLUSIVE: 1, Status.PASS: 2}


@given(measured(), numbers, numbers)
def test_loosening_a_limit_never_worsens_the_verdict(figure: Measured, first: float, second: float) -> None:
    tight, loose = sorted((first, second))
    verdicts = [judge(Contract(max_drop=limit), Figures(drop=figure)).status for limit in (tight, loose)]
    assert RANK[verdicts[0]] <= RANK[verdicts[1]]


@given(measured(shares), percentages, percentages)
def test_the_same_for_lower_limits(figure: Measured, first: float, second: float) -> None:
    loose, tight = sorted((first, second))
    verdicts = [judge(Contract(min_agreement=limit), Figures(agreement=figure)).status for limit in (tight, loose)]
    assert RANK[verdicts[0]] <= RANK[verdicts[1]]


@given(measured(), numbers)
def test_pass_and_fail_rest_on_the_whole_interval(figure: Measured, limit: float) -> None:
    status = judge(Contract(max_drop=limit), Figures(drop=figure)).status
    assert (status is Status.PASS) == (figure.high <= limit)
    assert (status is Status.FAIL) == (figure.low > limit)


@given(measured(), numbers, st.floats(0, 50))
def test_a_wider_interval_never_decides_more(figure: Measured, limit: float, more: float) -> None:
    wider = Measured(figure.value, figure.low - more, figure.high + more, figure.samples)
    before, after = (judge(Contract(max_drop=limit), Figures(drop=row)).status for row in (figure, wider))
    assert after in {before, Status.INCONCLUSIVE}


@given(measured(), numbers)
def test_frames_needed_is_more_than_there_were(figure: Measured, limit: float) -> None:
    clause = judge(Contract(max_drop=limit), Figures(drop=figure)).clauses[0]
    if clause.status is not Status.INCONCLUSIVE:
        assert clause.frames_needed is None
    elif clause.frames_needed is not None:
        assert clause.frames_needed >= figure.samples


@given(measured(), measured(shares), numbers, percentages)
def test_the_whole_is_as_bad_as_its_worst_clause(drop: Measured, kept: Measured, limit: float, share: float) -> None:
    verdict = judge(Contract(max_drop=limit, min_agreement=share), Figures(drop=drop, agreement=kept))
    assert RANK[verdict.status] == min(RANK[clause.status] for clause in verdict.clauses)


@given(st.lists(measured(), min_size=1, max_size=3), numbers)
def test_a_bundle_is_as_bad_as_its_worst_format(drops: list[Measured], limit: float) -> None:
    verdicts = {f"format-{k}": judge(Contract(max_drop=limit), Figures(drop=drop)) for k, drop in enumerate(drops)}
    whole = together(verdicts)
    assert RANK[whole.status] == min(RANK[verdict.status] for verdict in verdicts.values())
    assert len(whole.clauses) == len(drops)
    assert len(drops) == 1 or all(name in str(whole.clauses) for name in verdicts)


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=MIN_PAIRS - 1))
def test_a_few_turns_decide_nothing(pairs: list[tuple[float, float]]) -> None:
    ratio = ratio_of("a", "b", {"a": [slow for slow, _ in pairs], "b": [fast for _, fast in pairs]})
    figures = Figures(speedup=Measured(ratio.value, ratio.low, ratio.high, len(pairs)))
    verdicts = {judge(Contract(min_speedup=limit), figures).status for limit in (0.01, 1, 100)}
    assert verdicts == {Status.INCONCLUSIVE}


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(2, 90)), min_size=1, max_size=8 * MIN_BLOCKS - 1))
def test_a_few_blocks_of_boxes_decide_nothing(frames: list[tuple[int, int]]) -> None:
    totals = np.array([total for _, total in frames], np.int64)
    share = measured_share(np.minimum([kept for kept, _ in frames], totals), totals, block=8)
    assert share is not None
    scaled = Measured(100 * share.value, 100 * share.low, 100 * share.high, share.samples)
    verdicts = {judge(Contract(min_agreement=limit), Figures(agreement=scaled)).status for limit in (2, 50, 99)}
    assert verdicts == {Status.INCONCLUSIVE}
