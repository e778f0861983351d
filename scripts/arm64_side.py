"""The two sides that ``scripts/arm64`` compares: this machine, and an emulated board."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arm64_root import Done, Failed, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from arm64_progress import Progress
    from arm64_root import Cpu, System

__all__ = ["Proof", "Side"]

COMMAND_TIMEOUT_S = 1200
# proot then ends with 0, so the exit code tells nothing.
EMULATOR_DIED = "uncaught target signal"
ATTEMPTS = 5


@dataclass
class Proof:
    """What is known so far.

    Attributes:
        args: From the command line.
        work: Folder that both sides see.
        progress: Where to say what happens.
        checks: What was held against what it should be.
        started: Emulated commands.
        crashes: Those in which the emulator crashed; they were run again.
        crashes_at_end: Those in which it crashed when all was said and the process ended.
    """

    args: argparse.Namespace
    work: Path
    progress: Progress
    checks: list[dict[str, Any]] = field(default_factory=list)
    started: int = 0
    crashes: int = 0
    crashes_at_end: int = 0

    def check(self, name: str, detail: str, *, ok: bool) -> None:
        """Notes and prints one."""
        self.checks.append({"name": name, "ok": bool(ok), "detail": detail})
        if not self.args.json:
            self.progress.line(f"{'ok  ' if ok else 'FAIL'} {name}: {detail}")


@dataclass(frozen=True)
class Side:
    """A place that runs Python: this machine, or an emulated one.

    Attributes:
        name: In devices' names and headings.
        proof: What it tells.
        cpu: The emulated processor, None for this machine.
        system: The emulated root, None for this machine.
    """

    name: str
    proof: Proof
    cpu: Cpu | None = None
    system: System | None = None

    def path(self, name: str) -> str:
        """A file of the working folder as this side sees it."""
        return str(self.proof.work / name) if self.cpu is None else f"/work/{name}"

    def python(self, *words: str) -> Done:
        """Runs Python; where the emulator crashed it runs again, which is counted. ``{try}`` is replaced by a number.

        Raises:
            Failed: The emulator crashed every time.
        """
        if self.cpu is None or self.system is None:
            return run([sys.executable, *numbered(words, 0)], timeout_s=COMMAND_TIMEOUT_S)
        env = self.system.environment(self.cpu)
        for attempt in range(ATTEMPTS):
            command = self.system.command(self.cpu, self.proof.work, ["/usr/bin/python3", *numbered(words, attempt)])
            done = run(command, timeout_s=COMMAND_TIMEOUT_S, env=env)
            self.proof.started += 1
            ended = re.findall(r"^CODE (\d+)$", done.err, re.MULTILINE)
            if ended:
                self.proof.crashes_at_end += EMULATOR_DIED in done.err
                return dataclasses.replace(done, code=int(ended[-1]))
            if EMULATOR_DIED not in done.err:
                return done
            self.proof.crashes += 1
            self.proof.progress.say(f"{self.name}: the emulator crashed; once more: {' '.join(words[1:4])}")
        raise Failed(f"{self.name}: the emulator crashed {ATTEMPTS} times in {' '.join(words[1:4])}: {done.words}")

    def edgewright(self, *words: str) -> Done:
        """The command line."""
        return self.python(self.path("arm64_child.py"), "edgewright", *words)

    def child(self, *words: str) -> dict[str, Any]:
        """The answer of ``arm64_child``.

        Raises:
            Failed: It gave none.
        """
        done = self.python(self.path("arm64_child.py"), *words)
        line = next((row for row in done.out.splitlines() if row.startswith("ANSWER ")), None)
        if line is None:
            raise Failed(f"{self.name}: {words[0]} ended with {done.code}: {done.words}")
        answer: dict[str, Any] = json.loads(line.removeprefix("ANSWER "))
        return answer


def numbered(words: Sequence[str], attempt: int) -> list[str]:
    """The words with the number of the attempt where they ask for it."""
    return [word.replace("{try}", str(attempt)) for word in words]
