"""`edgewright verify`: digests, then golden vectors through the real engine of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode
from edgewright.cli.arguments import threads_argument

if TYPE_CHECKING:
    import argparse

    from edgewright.runtime.verify import OutputCheck, VerifyReport

EPILOG = (
    "exit code 2 names the file that was altered; 3: this machine does not repeat the golden answers; "
    "4: the bundle carries none\n\nexample:\n  edgewright verify person.edge"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="bundle directory or .edge file")
    parser.add_argument("--threads", type=threads_argument, default=1, metavar="N", help="engine threads (default 1)")
    parser.add_argument("--profile", metavar="NAME", help="the board; its backends are preferred in its order")
    parser.add_argument(
        "--engine-cache", type=Path, metavar="DIR", help="compiled engines (default: ~/.cache/edgewright/engines)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Verifies the bundle and prints what was compared."""
    from edgewright.device_profiles.profile import load_profile
    from edgewright.runtime.backends.choice import engine_cache_folder, engine_options
    from edgewright.runtime.verify import verify_bundle

    profile = None if args.profile is None else load_profile(args.profile)
    options = engine_options(profile, cache=args.engine_cache or engine_cache_folder())
    report = verify_bundle(args.bundle, args.threads, options)
    print(json.dumps(_as_json(report)) if args.json else "\n".join(_lines(report)))
    if report.ok:
        return ExitCode.OK
    return ExitCode.CONTRACT_FAILED if report.checks else ExitCode.INCONCLUSIVE


def _lines(report: VerifyReport) -> list[str]:
    lines = [f"{report.name} {report.version}: {report.files} files, every digest is right"]
    if report.verdict in {"FAIL", "INCONCLUSIVE"}:
        lines.append(f"  NOTE this bundle's contract ended {report.verdict}; see 'edgewright report'")
    lines += [_check_line(check) for check in report.checks]
    lines += [f"  --  {variant} was not run: {reason}" for variant, reason in report.skipped.items()]
    if report.engines:
        lines.append(f"  on  {', '.join(dict.fromkeys(report.engines.values()))}")
    if not report.checks:
        lines.append("no golden vectors in this bundle: nothing shows that this machine computes the same")
    elif report.ok:
        lines.append("PASS: this machine gives the golden answers")
    else:
        lines.append("FAIL: this machine gives other answers; compare engine versions with 'edgewright inspect'")
    return lines


def _check_line(check: OutputCheck) -> str:
    word = "ok " if check.ok else "BAD"
    difference = f"largest difference {check.max_difference:.3g}, allowed {check.tolerance:.3g}"
    return f"  {word} {check.variant} / {check.output}: {check.frames} frames, {difference}"


def _as_json(report: VerifyReport) -> dict[str, object]:
    return {
        "name": report.name,
        "version": report.version,
        "digest": report.digest,
        "verdict": report.verdict,
        "files": report.files,
        "ok": report.ok,
        "skipped": dict(report.skipped),
        "engines": dict(report.engines),
        "checks": [
            {
                "variant": check.variant,
                "output": check.output,
                "frames": check.frames,
                "max_difference": check.max_difference,
                "tolerance": check.tolerance,
                "ok": check.ok,
            }
            for check in report.checks
        ],
    }
