"""The results as Markdown, and in plain words where ours is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench_quantize.engines import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["markdown", "verdict"]

_MIB = 1 << 20
_BASES = ("float", "float-naive")


def markdown(results: Mapping[str, Any]) -> str:
    """One table a network.

    Args:
        results: As ``scripts/bench quantize --json`` writes them.
    """
    lines = ["# INT8 engines compared", "", f"{results['date']}, {results['machine']}.", "", _HOW, ""]
    for subject in results["subjects"]:
        lines += [f"## {subject['title']}", "", subject["pictures"], "", *_table(subject), ""]
    lines += ["## Verdict", "", *(f"- {line}" for subject in results["subjects"] for line in verdict(subject)), ""]
    return "\n".join(lines)


_HOW = (
    "Every engine got the same folded float file and the same calibration pictures, in an environment of its own; one "
    "judge measured all files on pictures that nothing else saw. Times run from picture to answer, each file in a "
    "process of its own, all taking turns; ratios are against the folded float graph. Brackets are 95 % intervals. "
    "Processor seconds and `MiB` are of the whole step: for ours they include its own judging."
)


def _table(subject: Mapping[str, Any]) -> Iterator[str]:
    columns = _columns(subject)
    yield "| engine | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for row in subject["rows"]:
        if "failure" in row:
            yield f"| {row['engine']} | cannot: {_plain(row['failure'])} |" + " |" * (len(columns) - 1)
        else:
            label = f" ({row['label']})" if row["label"] not in ("int8", row["engine"]) else ""
            yield f"| {row['engine']}{label} | " + " | ".join(get(row) for get in columns.values()) + " |"


def _columns(subject: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {"MB": lambda row: f"{row['bytes'] / 1e6:.2f}"}
    if subject["task"] == "detect":
        columns["boxes kept, %"] = lambda row: _percent(row["report"].get("kept"))
        columns["of / extra"] = lambda row: f"{row['report']['float_boxes']} / {row['report']['extra_boxes']}"
        columns["agreement AP.5"] = lambda row: _three(row["report"].get("agreement_ap50"))
        columns["score RMSE"] = lambda row: _three(row["report"].get("score_rmse"), short=True)
    else:
        columns["top-1 agreement, %"] = lambda row: _percent(row["report"].get("top1_agreement"))
        columns["logit cosine"] = lambda row: _three(row["report"].get("cosine"))
    if any(row.get("labelled") for row in subject["rows"]):
        name, title = ("ap50", "AP.5") if subject["task"] == "detect" else ("top1", "accuracy")
        columns[f"{title} on labels, %"] = lambda row: _percent(row["labelled"].get(name))
        columns["points lost"] = lambda row: _percent(row["labelled"].get("drop"))
    for threads in subject["times"]:
        times = subject["times"][threads]["rows"]
        columns[f"ms, {threads} thr."] = lambda row, times=times: f"{times[row['engine']]['p50_ms']:.2f}"
        columns[f"speed-up, {threads} thr."] = lambda row, times=times: _ratio(times[row["engine"]], "against_float")
    first = next(iter(subject["times"].values()))["rows"]
    columns["against naive float"] = lambda row: _ratio(first[row["engine"]], "against_float-naive")
    columns["CPU s / MiB"] = _effort
    return columns


def _effort(row: Mapping[str, Any]) -> str:
    if row["cpu_seconds"] is None:
        return "-"
    peak = "?" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / _MIB:.0f}"
    return f"{row['cpu_seconds']:.0f} / {peak}"


def _percent(row: Sequence[float] | None) -> str:
    return "-" if row is None else f"{100 * row[0]:.1f} [{100 * row[1]:.1f}, {100 * row[2]:.1f}]"


def _three(row: Sequence[float] | None, *, short: bool = False) -> str:
    if row is None:
        return "-"
    return f"{row[0]:.4f}" if short else f"{row[0]:.4f} [{row[1]:.3f}, {row[2]:.3f}]"


def _ratio(times: Mapping[str, Any], key: str) -> str:
    if key not in times:
        return "1"
    value, low, high = times[key]
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" if low > 1 or high < 1 else f"unresolved [{low:.2f}, {high:.2f}]"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")[:200]


def verdict(subject: Mapping[str, Any]) -> list[str]:
    """For every peer whether one of ours is at least as accurate at equal or better speed.

    A difference within the intervals counts as equal, and is said to be one.

    Args:
        subject: One network's part of the results.
    """
    rows = [row for row in subject["rows"] if "failure" not in row and row["engine"] not in _BASES]
    ours = [row for row in rows if row["engine"] in OURS]
    if not ours:
        return [f"{subject['name']}: nothing of ours to compare"]
    return [_against(subject, ours, peer) for peer in rows if peer["engine"] not in OURS]


def _against(subject: Mapping[str, Any], ours: list[dict[str, Any]], peer: dict[str, Any]) -> str:
    times = next(iter(subject["times"].values()))["rows"]

    def accuracy(row: Mapping[str, Any]) -> list[float]:
        found: list[float] | None = row["labelled"].get("top1") or row["report"]["headline"]
        return found or [0.0, 0.0, 1.0]

    def speed(row: Mapping[str, Any]) -> list[float]:
        found: list[float] = times[row["engine"]]["against_float"]
        return found

    name = f"{subject['name']}, against {peer['engine']} ({100 * accuracy(peer)[0]:.1f} % at {speed(peer)[0]:.2f}x)"
    told = {row["engine"]: f"{row['engine']} {100 * accuracy(row)[0]:.1f} % at {speed(row)[0]:.2f}x" for row in ours}
    as_fast = [row for row in ours if speed(row)[2] >= speed(peer)[1]]
    if not as_fast:
        fastest = max(ours, key=lambda row: speed(row)[0])
        return f"{name}: behind in speed beyond the intervals; our fastest is {told[fastest['engine']]}"
    best = max(as_fast, key=lambda row: accuracy(row)[0])
    shown = told[best["engine"]]
    if accuracy(best)[0] >= accuracy(peer)[0]:
        slower = " (speeds equal within their intervals)" if speed(best)[0] < speed(peer)[0] else ""
        return f"{name}: not behind; {shown}{slower}"
    if speed(best)[1] > speed(peer)[2]:
        return f"{name}: not behind at its speed, for it is slower beyond the intervals; {shown}"
    if accuracy(best)[2] >= accuracy(peer)[1]:
        return f"{name}: behind in the figure, not beyond the intervals; {shown}"
    return f"{name}: BEHIND in accuracy at equal or better speed; {shown}"
