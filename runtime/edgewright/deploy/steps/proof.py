"""The proof: the new release computes the bundle's golden answers on the board itself, or the bundle is not used.

The golden answers are what the workstation's engines gave when the bundle was made, with a tolerance for each output.
What the board writes is not trusted: every line is held against the bundle that lies here, and a board that leaves an
output out, or claims another tolerance, has proved nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.deploy.errors import DeployError
from edgewright.deploy.interpreter import HOMELESS, interpreter
from edgewright.deploy.layout import USER
from edgewright.deploy.plan import Seen
from edgewright.deploy.steps.release import MODULE
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.bundle.manifest import Manifest
    from edgewright.deploy.board import Board

__all__ = ["Proof", "ProofError", "ProofStep", "read_proof"]

_VERIFY_S = 1800.0  # TensorRT compiles a model for minutes when it meets it first


class ProofError(DeployError):
    """The board gives other answers than the bundle allows."""

    exit_code = ExitCode.CONTRACT_FAILED


@dataclass(frozen=True)
class Proof:
    """What the board showed.

    Attributes:
        engines: What each variant ran on.
        skipped: Variants that it has no engine for, and why.
        worst: The output closest to its tolerance, in words.
    """

    engines: dict[str, str]
    skipped: dict[str, str]
    worst: str


def read_proof(text: str, manifest: Manifest, digest: str, formats: Sequence[str]) -> Proof:
    """Judges what ``edgewright verify --json`` wrote on a board.

    Args:
        text: Its output.
        manifest: Of the bundle, as it is here.
        digest: Of that manifest.
        formats: Of the variants that the board has to run.

    Raises:
        ProofError: An output is off by more than the bundle allows, or something is not as it must be.
    """
    told = _object(text)
    if told.get("digest") != digest:
        msg = f"the board verified another bundle ({brief(str(told.get('digest')), 20)}); run this again"
        raise ProofError(msg)
    golden = manifest.golden
    if golden is None:
        msg = (
            "the bundle carries no golden answers, so nothing can show that the board computes the same; make it again"
        )
        raise ProofError(msg)
    rows = [row for row in _list(told.get("checks")) if isinstance(row, dict)]
    seen = {(str(row.get("variant")), str(row.get("output"))): row for row in rows}
    skipped = {brief(str(name), 60): brief(str(why), 200) for name, why in _table(told.get("skipped")).items()}
    run = [variant for variant in manifest.variants if variant.name not in skipped]
    if not any(variant.format.value in formats for variant in run):
        reasons = "; ".join(f"{name}: {why}" for name, why in skipped.items())
        msg = f"the board ran no variant that its profile is for ({reasons or 'it gave no reason'})"
        raise ProofError(msg)
    margins = []
    for variant in run:
        for output in variant.outputs:
            tolerance = golden.tolerance[f"{variant.name}/{output.name}"]
            row = seen.get((variant.name, output.name), {})
            margins.append((_share(variant.name, output.name, row, tolerance, golden.count), variant.name, output.name))
    _, name, output_name = max(margins)
    difference = seen[name, output_name]["max_difference"]
    allowed = golden.tolerance[f"{name}/{output_name}"]
    engines = {brief(str(key), 60): brief(str(value), 100) for key, value in _table(told.get("engines")).items()}
    worst = f"the furthest off is {name} / {output_name}, by {difference:.3g} where {allowed:.3g} is allowed"
    return Proof({variant.name: engines.get(variant.name, "?") for variant in run}, skipped, worst)


def _share(variant: str, output: str, row: dict[str, Any], tolerance: float, frames: int) -> float:
    """Which part of its tolerance an output uses up."""
    difference = row.get("max_difference")
    if not isinstance(difference, (int, float)) or isinstance(difference, bool) or row.get("frames") != frames:
        msg = (
            f"the board gave no answer for output {output!r} of variant {variant} on all {frames} golden frames; see "
            f"'edgewright verify' there"
        )
        raise ProofError(msg)
    if difference < 0:
        msg = (
            f"output {output!r} of variant {variant} is off by {_shown(difference)} on the board, which no difference can "
            f"be; what runs there as edgewright is not to be trusted, install it anew"
        )
        raise ProofError(msg)
    if not 0 <= difference <= tolerance:  # NaN is not, either
        msg = (
            f"output {output!r} of variant {variant} is off by {_shown(difference)} on the board, {tolerance:.3g} is "
            f"allowed; its engine computes something else, so the bundle is not put to use. Compare engine versions "
            f"with 'edgewright doctor' here and there"
        )
        raise ProofError(msg)
    return difference / tolerance if tolerance > 0 else 0.0


def _shown(difference: float) -> str:
    try:
        return f"{difference:.3g}"
    except OverflowError:  # an integer of more digits than a float holds
        return "a huge number"


def _object(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):  # engines may have written warnings before
        if line.startswith("{"):
            try:
                told = json.loads(line)
            except (ValueError, RecursionError):
                break
            return _table(told)
    msg = f"the board's verify wrote no JSON object: {brief(text) or 'nothing'}"
    raise ProofError(msg)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class ProofStep:
    """The board computes the golden answers, with the release and the bundle that are to be used."""

    title = "proof"

    def __init__(
        self,
        board: Board,
        *,
        release: str,
        manifest: Manifest,
        digest: str,
        formats: Sequence[str],
        arguments: Sequence[str] = (),
    ) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            release: Name of the release.
            manifest: Of the bundle.
            digest: Of the manifest.
            formats: Of the variants that the board's backends run.
            arguments: Further ones for ``verify``.
        """
        self._board = board
        self._release = release
        self._manifest = manifest
        self._digest = digest
        self._formats = formats
        self._arguments = arguments
        self._record = board.layout.proofs / f"{digest[:12]}-{release}.json"
        self.proof: Proof | None = None

    def check(self) -> Seen:
        """Looks for the record of an earlier proof of the same release and bundle."""
        record = self._board.read(self._record)
        if record is not None:
            try:
                self._judge(record.decode("utf-8", errors="replace"))
            except ProofError:  # cut short by a power cut, or written for other tolerances
                self.proof = None
            else:
                return Seen(done=True, words=f"shown before: {self._words()}")
        frames = 0 if self._manifest.golden is None else self._manifest.golden.count
        return Seen(done=False, words=f"have the board repeat {frames} golden frames through its own engine")

    def apply(self) -> str:
        """Runs ``verify`` as the service will run: as its user, with its release."""
        layout, board = self._board.layout, self._board
        python = interpreter(board, layout.on(layout.release(self._release)))
        bundle = str(layout.on(layout.bundle(self._digest)))
        as_user = ["runuser", "-u", USER, "--"] if board.system else []
        argv = [*as_user, *HOMELESS, *python, *MODULE, "verify", bundle, "--json", *self._arguments]
        done = board.run(argv, timeout_s=_VERIFY_S)
        if not done.out.strip():
            msg = f"{board.name}: the bundle could not be verified there: {brief(done.err) or f'status {done.code}'}"
            raise ProofError(msg)
        self._judge(done.out)
        if not done.ok:
            msg = f"{board.name}: verify ended with status {done.code}: {brief(done.err) or brief(done.out)}"
            raise ProofError(msg)
        line = next(line for line in reversed(done.out.splitlines()) if line.startswith("{"))
        board.write(self._record, line.encode("utf-8"), "644", None)
        return self._words()

    def undo(self) -> None:
        """Forgets the record."""
        self._board.must(["rm", "-f", "--", str(self._board.layout.on(self._record))], "removing the proof")

    def _judge(self, text: str) -> None:
        try:
            self.proof = read_proof(text, self._manifest, self._digest, self._formats)
        except ProofError as error:
            msg = f"{self._board.name}: {error}"
            raise ProofError(msg) from error

    def _words(self) -> str:
        if self.proof is None:
            return ""
        engines = ", ".join(dict.fromkeys(self.proof.engines.values()))
        left = f"; not run there: {', '.join(self.proof.skipped)}" if self.proof.skipped else ""
        variants = ", ".join(self.proof.engines)
        return f"{variants} on {engines}; {self.proof.worst}{left}"
