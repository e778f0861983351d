"""Signatures of result files, by the OpenSSH client: ``ssh-keygen -Y sign`` and ``-Y verify``.

``RESULT.json.sig`` lies beside the result. Whose signature counts stands in a file of allowed signers, as ``ssh-keygen(1)``
describes it: a name and a public key a line. Keys stay where they are; nothing here reads them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.atomic import write_bytes
from edgewright.bundle.errors import ExitCode
from edgewright.runtime.results.schema import ResultError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NAMESPACE", "Signature", "SignatureState", "check_signature", "sign_result", "signature_path"]

NAMESPACE = "edgewright-result"
_TIMEOUT_S = 120.0
_MOST_BYTES = 1 << 16


class _NoToolError(ResultError):
    exit_code = ExitCode.MISSING_EXTRA


class SignatureState(str, Enum):
    """What is known of a result's origin."""

    SIGNED = "signed"  # by somebody who is listed
    UNKNOWN = "signed by a key that is not listed"
    UNCHECKED = "signed, not checked"  # nobody said whose signature counts
    UNSIGNED = "unsigned"


@dataclass(frozen=True)
class Signature:
    """Who stands for a result.

    Attributes:
        state: What is known.
        signer: The name in the list of allowed signers; empty for all other states.
    """

    state: SignatureState
    signer: str = ""

    def __str__(self) -> str:
        """In words."""
        return f"signed by {self.signer}" if self.signer else self.state.value


def signature_path(result: Path) -> Path:
    """Where the signature of a result file lies."""
    return result.with_name(result.name + ".sig")


def sign_result(result: Path, key: Path) -> Path:
    """Signs a result file; an older signature is replaced.

    Args:
        result: The file.
        key: Private key of OpenSSH, or the public one of a key that an agent holds.

    Returns:
        The signature's file.

    Raises:
        ResultError: There is no such key, or it cannot sign.
        OutputError: The signature cannot be written.
    """
    if not key.is_file():
        msg = f"there is no key {key}; ssh-keygen -t ed25519 makes one"
        raise ResultError(msg)
    with tempfile.TemporaryDirectory(prefix="edgewright-sign-") as folder:
        copy = Path(folder) / "result.json"
        copy.write_bytes(result.read_bytes())
        done = _ssh_keygen(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(copy)])
        signature = signature_path(copy)
        if done.returncode != 0 or not signature.is_file():
            msg = f"{key} cannot sign {result}: {_last_line(done.stderr)}"
            raise ResultError(msg)
        write_bytes(signature_path(result), signature.read_bytes())
    return signature_path(result)


def check_signature(result: Path, data: bytes, signers: Path | None) -> Signature:
    """What is known of who signed a result.

    Args:
        result: The file; its signature lies beside it, if there is one.
        data: Its content as it was read.
        signers: Whose signature counts, as a file of allowed signers; None when nobody said.

    Raises:
        ResultError: The signature does not belong to this content, or the list cannot be read.
    """
    if signers is not None and not signers.is_file():
        msg = f"there is no list of signers {signers}; it holds a name and a public key a line"
        raise ResultError(msg)
    place = signature_path(result)
    if not place.is_file():
        return Signature(SignatureState.UNSIGNED)
    if signers is None:
        return Signature(SignatureState.UNCHECKED)
    with tempfile.TemporaryDirectory(prefix="edgewright-sign-") as folder:
        copy = Path(folder) / "signature"
        with place.open("rb") as stream:
            copy.write_bytes(stream.read(_MOST_BYTES))
        sound = _ssh_keygen(["-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(copy)], data)
        if sound.returncode != 0:
            msg = f"{place} does not belong to {result}: the result was altered, or signed for something else"
            raise ResultError(msg)
        found = _ssh_keygen(["-Y", "find-principals", "-s", str(copy), "-f", str(signers)])
        names = [line for line in found.stdout.decode(errors="replace").splitlines() if line.strip()]
        for name in names[:20]:
            words = ["-Y", "verify", "-f", str(signers), "-I", name, "-n", NAMESPACE, "-s", str(copy)]
            if _ssh_keygen(words, data).returncode == 0:
                return Signature(SignatureState.SIGNED, re.sub(r"[^\x20-\x7e]", "?", name)[:100])
    return Signature(SignatureState.UNKNOWN)


def _ssh_keygen(words: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        msg = "signatures need ssh-keygen of the OpenSSH client, which is not installed; apt install openssh-client"
        raise _NoToolError(msg)
    try:
        return subprocess.run(
            [program, *words],
            input=stdin,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"ssh-keygen gave no answer: {error}"
        raise ResultError(msg) from error


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "ssh-keygen says nothing"
