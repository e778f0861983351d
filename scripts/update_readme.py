"""Writes the README's figures from what was measured, so that none is typed by hand.

    scripts/demo                                                                    # out/demo/figures.json
    scripts/footprint out/demo/person.edge -o docs/reference/footprint.md
    scripts/bench quantize --json out/bench-quantize.json
    python scripts/update_readme.py

What was not measured leaves its section as it stands. The comparison of INT8 engines is also written whole, to
``docs/reference/bench-quantize.md``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_quantize.engines import OURS
from bench_quantize.table import markdown

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
FULL_TABLES = "docs/reference/bench-quantize.md"
SECTIONS = {
    "demo": "out/demo/figures.json",
    "footprint": "docs/reference/footprint.md",
    "bench-quantize": "out/bench-quantize.json",
}


def main() -> int:
    """Replaces the sections whose figures are there."""
    fill = {"demo": lambda text: demo(json.loads(text)), "footprint": installed, "bench-quantize": compared}
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, source in SECTIONS.items():
        measured = ROOT / source
        if not measured.is_file():
            print(f"{name}: left as it stands, there is no {source}")
            continue
        text = replaced(text, name, fill[name](measured.read_text(encoding="utf-8")))
    readme.write_text(text, encoding="utf-8")
    return 0


def replaced(text: str, name: str, content: str) -> str:
    """``text`` with the section ``name`` filled."""
    pattern = re.compile(rf"(<!-- figures: {name} -->\n).*?(<!-- /figures -->)", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"README.md has no section for the figures of {name}")
    return pattern.sub(lambda found: found[1] + content + found[2], text)


def demo(figures: dict[str, Any]) -> str:
    """The demo's table in Markdown."""
    speed, kept = figures["speed_ratio"], figures["boxes_kept"]
    sizes = f"{figures['float_bytes'] / 1e6:.2f} to {figures['int8_bytes'] / 1e6:.2f} MB"
    labelled, unlabelled = figures["labelled_frames"], figures["agreement_frames"]
    rows = {
        "model file": f"{sizes}, {figures['size_ratio']:.2f} times smaller",
        "speed on one thread, frame to decoded answer": f"{speed[0]:.2f} times float's [{speed[1]:.2f} to {speed[2]:.2f}]",
        f"AP at IoU 0.5, {labelled} labelled frames": f"float {figures['ap50_float']:.3f}, INT8 {figures['ap50_int8']:.3f}",
        f"float's boxes kept, {unlabelled} unlabelled frames": f"{kept[0]:.1%} [{kept[1]:.1%} to {kept[2]:.1%}]",
        "the clip, tracked and annotated": f"{figures['frames']} frames at {figures['fps']:.0f} a second",
        "decoded frame to result": f"p50 {figures['p50_ms']:.1f} ms, p95 {figures['p95_ms']:.1f} ms",
        "events": f"{figures['events_emitted']} emitted, {figures['events_in_database']} in the database",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        f"One run on {figures['machine']} (x86 with 8-bit dot products), intervals at 95 %:\n\n"
        f"| what | figure |\n| --- | --- |\n{table}\n\n"
        "Your machine will say something else; that is why every figure comes with its conditions in the report.\n"
    )


def installed(page: str) -> str:
    """One sentence from the footprint page."""
    row = re.search(r"\| `onnx` \| (\d+) MB \| ([\d.]+) s [^|]*\| (\d+) MB \|", page)
    where = re.search(r" (\w+), Python ([\d.]+),", page)
    if not (row and where):
        sys.exit("docs/reference/footprint.md does not look like a page of scripts/footprint")
    return (
        f"A device install (`.[onnx]`) takes {row[1]} MB, imports in {row[2]} s and then holds {row[3]} MB of memory on "
        f"{where[1]} with Python {where[2]}; [what it consists of](docs/reference/footprint.md).\n"
    )


def compared(text: str) -> str:
    """One table, engines by networks, from the results of ``scripts/bench quantize``; writes the whole page, too.

    Args:
        text: JSON, as ``--json`` writes it.
    """
    results = json.loads(text)
    if results["quick"]:
        sys.exit(f"{SECTIONS['bench-quantize']} is of a --quick run; the README shows whole ones only")
    (ROOT / FULL_TABLES).write_text(markdown(results), encoding="utf-8")
    subjects = results["subjects"]
    engines = [row["engine"] for row in subjects[0]["rows"] if not row["engine"].startswith("float")]
    table = [
        f"| engine | {' | '.join(subject['title'] for subject in subjects)} |",
        "| --- |" + " --- |" * len(subjects),
        *(f"| {_named(name)} | {' | '.join(_cell(subject, name) for subject in subjects)} |" for name in engines),
    ]
    told = (
        f"`scripts/bench quantize` on {results['date']}, {results['machine']}. In a cell: float's boxes kept and how many "
        "are extra, or the share of pictures with float's best class, with its 95 % interval; then the speed against the "
        "float file. All engines got the same folded float files and calibration pictures; one judge measured all on "
        "pictures that nothing else saw, one thread, processes taking turns. "
        f"[Everything else that was measured, and where we are behind]({FULL_TABLES})."
    )
    return "\n".join([told, "", *table, ""])


def _named(engine: str) -> str:
    return f"**{engine}**" if engine in OURS else engine


def _cell(subject: Mapping[str, Any], engine: str) -> str:
    """What one engine made of one network."""
    row = next((row for row in subject["rows"] if row["engine"] == engine), None)
    if row is None or "failure" in row:
        return "" if row is None else "made nothing"
    seen, times = row["report"], subject["times"][min(subject["times"], key=int)]["rows"]
    share = seen.get("kept") or seen.get("top1_agreement")
    kept = (
        "nothing to keep" if share is None else f"{100 * share[0]:.1f} % [{100 * share[1]:.1f}, {100 * share[2]:.1f}]"
    )
    extra = f" +{seen['extra_boxes']}" if "extra_boxes" in seen else ""
    value, low, high = times[engine]["against_float"]
    return f"{kept}{extra}, {value:.2f}x" + ("" if low > 1 or high < 1 else " (within noise of float)")


if __name__ == "__main__":
    sys.exit(main())
