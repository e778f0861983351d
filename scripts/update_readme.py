"""Writes the README's figures from what was measured, so that none is typed by hand.

Run ``scripts/demo``, then ``scripts/footprint out/demo/person.edge -o docs/reference/footprint.md``, then this.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Replaces both sections."""
    figures = json.loads((ROOT / "out/demo/figures.json").read_text(encoding="utf-8"))
    footprint = (ROOT / "docs/reference/footprint.md").read_text(encoding="utf-8")
    readme = ROOT / "README.md"
    text = replaced(readme.read_text(encoding="utf-8"), "demo", demo(figures))
    readme.write_text(replaced(text, "footprint", installed(footprint)), encoding="utf-8")
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
    size = re.search(r"caches \| (\d+) MB", page)
    seconds = re.search(r"processes \| ([\d.]+) s", page)
    where = re.search(r"on (\w+), Python ([\d.]+)", page)
    if not (size and seconds and where):
        sys.exit("docs/reference/footprint.md does not look like a page of scripts/footprint")
    return (
        f"A device install (`.[onnx]`) takes {size[1]} MB and imports in {seconds[1]} s on {where[1]} with Python "
        f"{where[2]}; [what it consists of](docs/reference/footprint.md).\n"
    )


if __name__ == "__main__":
    sys.exit(main())
