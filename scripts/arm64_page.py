"""The page that ``scripts/arm64 -o`` writes: what was measured, in the script's own figures, and what it cannot show."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["page"]

_HEAD = """\
# ARM64 without a board

Written by `scripts/arm64 -o docs/reference/arm64.md`; every figure is of one run of it. It unpacks a minimal aarch64 system
(Debian 12: Python 3.11, glibc 2.36, what Raspberry Pi OS of that year is built on), installs this project's wheel with the
aarch64 wheels of ONNX Runtime, LiteRT, OpenCV and NumPy, and runs them under qemu's user mode. It works as root and without,
mounts nothing, and keeps its root in the user's cache folder (`--fresh` makes it again). `--json` prints the same as data.

| exit code | meaning |
| --- | --- |
| 0 | every check is ok |
| 2 | bad input |
| 3 | a check failed |
| 5 | something it needs cannot be had here |
"""

_TAIL = """\
## What the emulator must be shown

Engines choose their kernels by `/proc/cpuinfo` and `/sys/devices/system/cpu`. Shown the host's files, `import onnxruntime`
crashes; shown none, LiteRT runs without XNNPACK, so its plain kernels would be compared, which no board uses. The script gives
each emulated processor the files of its own, and fails when an engine reports that nothing was delegated.

## Why ONNX INT8 is not bit-equal as a whole

A quantized convolution is a sum of integers and one rounding, and is the same to the bit. A residual addition joins two grids
and is computed in float; where a sum lies on the border of two steps, processors may round it differently. One such step in an
early layer reaches most of what comes after it. That is why the bundle's tolerance, and not equality, decides about the whole
network, while equality is asked of every convolution that is given the same inputs.

## Why whole frames differ

`cv2.resize` with `INTER_LINEAR` rounds differently on ARM64 and on x86: a grey level here and there. Both are right, and the
network takes the difference for noise, but a score near a threshold may fall on its other side, so events of whole frames may
differ by a frame or one more or less. Frames of the camera's size go another way than golden frames, which are stored at the
input size: `edgewright verify` compares engines, not resizing. Fed frames of the input size, both sides give the same events.
[ADR 8](../adr/0008-resize-rounding.md) tells how many boxes hang on it, and why it stays so.

## What emulation cannot show

- **Time, temperature, energy.** Emulated times mean nothing for a device, nor do their ratios: float arithmetic is emulated
  several times more slowly than integers. The result file that `edgewright bench` writes there is marked as emulated.
- **Memory.** The emulator's own is counted with the program's; that the application loads is all that is said.
- **The rest of the board**: cameras, GPU, other accelerators, the kernel and its drivers, the boot, systemd, SD cards, a weak
  supply. JetPack's Python 3.10 on Ubuntu 22.04 is another system; CUDA and TensorRT on ARM cannot be run at all.
- **Races.** Threads meet otherwise than on real cores. The emulator often crashes while a process that has both engines loaded takes
  its interpreter down, after all has been said; so the commands end without that, and a crash in the middle makes one run
  again. Whether such a process ends cleanly on a real board is not shown.
- **Kernels chosen by anything but the instruction set**, such as the size of caches.
"""


def page(told: Mapping[str, Any]) -> str:
    """The page for what ``scripts/arm64`` found."""
    return "\n".join([_HEAD, *_lines(told), _TAIL])


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    day = dt.datetime.now(tz=dt.timezone.utc).date()
    verdict = "all ok" if told["ok"] else "NOT all ok"
    yield "## The run\n"
    yield (
        f"{day}, {told['host']['machine']}: {len(told['checks'])} checks, {verdict}, {told['seconds']:.0f} s; the root takes "
        f"{told['root_mb']:.0f} MB. Of {told['started']} emulated commands the emulator crashed {told['crashes_at_end']} when all was said and {told['crashes']} "
        "before, which were run again."
    )
    yield f"Bundle `{told['bundle']['name']}` with {', '.join(f'`{name}`' for name in told['bundle']['variants'])}.\n"
    yield from _table(
        ("processor", "as in", "dot product", "imports", "`edgewright verify`", "altered golden number"),
        [_cpu_row(cpu) for cpu in told["cpus"]],
    )
    yield f"## Outputs against x86, {told['pictures']} pictures of `{told['clip']}` brought to the input size on x86\n"
    yield "A step is one integer step of the output. The float variants saw one of the pictures.\n"
    head = ("processor", "variant / output", "bit-equal", "largest difference", "in steps", "beyond one step")
    yield from _table(head, [_output_row(cpu["name"], row) for cpu in told["cpus"] for row in cpu["outputs"]])
    rows = [
        (cpu["name"], f"`{row['variant']}`", str(row["frames"]), f"{row['alike']} of {row['found']}")
        for cpu in told["cpus"]
        for row in cpu["answers"]
    ]
    yield from _table(("processor", "variant", "pictures", "detections alike (same class, IoU 0.5 or more)"), rows)
    yield "## Whole frames on their way into the model\n"
    resized = [
        (cpu["name"], f"{cpu['inputs']['differing']:.1%}", f"{cpu['inputs']['largest']:.3g}") for cpu in told["cpus"]
    ]
    yield from _table(("processor", "numbers that differ after resizing", "largest, grey levels"), resized)
    kinds = [
        (
            cpu["name"],
            f"`{row['kind']}`",
            str(row["count"]),
            f"{row['differing']} of {row['values']}",
            str(row["largest"]),
        )
        for cpu in told["cpus"]
        for row in cpu["operators"]
    ]
    if kinds:
        yield "## ONNX INT8 operator by operator, each given x86's inputs\n"
        yield from _table(("processor", "operator", "number", "values that differ", "largest, steps"), kinds)
    yield f"## Events: the first {told['frames']} frames, over a real broker into SQLite\n"
    columns = (
        "processor",
        "variant",
        "frames",
        "emitted",
        "acknowledged",
        "in the database",
        "kinds and counts",
        "say something else",
    )
    yield from _table(columns, [_run_row(cpu["name"], row) for cpu in told["cpus"] for row in cpu["runs"]])


def _cpu_row(cpu: Mapping[str, Any]) -> tuple[str, ...]:
    outputs = cpu["verify"]["checks"]
    good = sum(row["ok"] for row in outputs)
    refused = "refused" if cpu["refused"]["exit_code"] == 3 else "NOT refused"
    dot = "yes" if cpu["facts"]["dot_product"] else "no"
    return (cpu["name"], cpu["board"], dot, "works", f"{good} of {len(outputs)} outputs ok", refused)


def _output_row(cpu: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    known = row["largest_steps"] is not None
    steps = (f"{row['largest_steps']:.0f}", f"{row['beyond_one']:.2%}") if known else ("-", "-")
    return (cpu, f"`{row['variant']}` / `{row['output']}`", f"{row['equal']:.2%}", f"{row['largest']:.3g}", *steps)


def _run_row(cpu: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    counts = [str(row[key]) for key in ("emitted", "acknowledged", "stored")]
    surplus = ", ".join(f"{kind} by {count}" for kind, count in row["surplus"].items())
    same = f"other: {surplus}" if surplus else "as on x86"
    source = "at input size" if row["source"] == "fitted" else "whole"
    return (cpu, f"`{row['variant']}`", source, *counts, same, str(row["unlike"]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
