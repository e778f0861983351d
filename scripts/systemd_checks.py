"""What scripts/systemd checks, part by part."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

from systemd_board import DROPIN, STATE, WATCHDOG_S
from systemd_stage import put, seconds, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from systemd_board import Proof

SMALL_MB = 600
REFUSED = (
    "write /etc", "write /opt", "read /root", "open another device", "open a namespace", "see other users' processes",
    "ask for raw packets", "see the board's /tmp",
)  # fmt: skip


def proof_of_start(proof: Proof) -> None:
    """Starts with neither camera nor broker; then the camera comes."""
    done = proof.install()
    words = done.stdout.strip().splitlines() or [""]
    proof.check("edgewright install brings it up", done.returncode == 0, done.stderr.strip()[-400:] or words[-1])
    verified = proof.container.run("systemd-analyze", "verify", "/etc/systemd/system/edgewright.service")
    said = (verified.stdout + verified.stderr).strip()
    proof.check("the container's systemd takes the unit without a remark", not verified.returncode and not said, said)
    proof.check(
        "ready although camera and broker are away", until(proof.running, 60) is not None, proof.shown("StatusText")
    )
    time.sleep(20 + WATCHDOG_S)  # longer than the patience and a watchdog interval
    told = proof.shown("StatusText")
    fine = proof.restarts() == 0 and "away for" in told
    proof.check("a camera that is away from the start causes no restart", fine, f"{proof.restarts()} restarts; {told}")
    proof.camera_on()
    proof.check("frames get answers once it is there", until(proof.answers, 60) is not None, proof.shown("StatusText"))
    before = len(proof.outbox())
    grown = until(lambda: len(proof.outbox()) > before + 3, 60)
    proof.check("events arrive in the outbox", grown is not None, f"{before} rows, then {len(proof.outbox())}")


def proof_of_watchdog(proof: Proof) -> None:
    """Two hangs that are noticed, and two that are not, because the watchdog is not fed as it must be."""
    main = proof.shown("MainPID")
    before = proof.restarts()
    proof.send("STOP", main)
    noticed = until(lambda: proof.restarts() > before, 4 * WATCHDOG_S + 20)
    back = until(proof.answers, 60)
    detail = f"restarted {seconds(noticed)}, answers again {seconds(back)}"
    proof.check("a stopped process is killed and started again", noticed is not None and back is not None, detail)

    before = proof.restarts()
    hang = proof.order("hang")
    noticed = until(lambda: proof.restarts() > before, 4 * WATCHDOG_S + 20)
    hang.unlink()
    back = until(proof.answers, 60)
    detail = f"restarted {seconds(noticed)}, answers again {seconds(back)}"
    proof.check("a model that hangs is noticed while the rest of the process lives", noticed is not None, detail)
    journal = proof.container.run("journalctl", "-u", "edgewright", "--no-pager", "-o", "cat").stdout
    proof.check("the journal says watchdog, and where it hung", "atchdog" in journal and "in infer" in journal)

    with dropin(proof, "WatchdogSec=0\n"):
        before = proof.restarts()
        main = proof.shown("MainPID")
        proof.send("STOP", main)
        noticed = until(lambda: proof.restarts() > before, 4 * WATCHDOG_S)
        proof.send("CONT", main)
        proof.check("control: without WatchdogSec nobody notices", noticed is None, f"{4 * WATCHDOG_S} s waited")
    with dropin(proof, "Environment=EDGEWRIGHT_PROOF_FEED=1\n"):
        before = proof.restarts()
        hang = proof.order("hang")
        noticed = until(lambda: proof.restarts() > before, 4 * WATCHDOG_S)
        hang.unlink()
        back = until(proof.answers, 30)
        proof.check(
            "control: fed by a thread of its own, the hung model is not noticed", noticed is None and back is not None
        )


@contextlib.contextmanager
def dropin(proof: Proof, lines: str) -> Iterator[None]:
    """Other settings of the service for a while; it runs and sees frames with both."""
    file = proof.root / DROPIN / "20-control.conf"
    put(file, f"[Service]\n{lines}")
    restart(proof)
    try:
        yield
    finally:
        file.unlink()
        restart(proof)


def restart(proof: Proof) -> None:
    """Starts the service with its present settings."""
    proof.control("daemon-reload")
    proof.control("restart", "edgewright")
    until(proof.answers, 60)


def proof_of_sandbox(proof: Proof) -> None:
    """What the service may, asked from inside it and, for comparison, by its user outside it."""
    proof.container.run("sh", "-c", "echo shared > /tmp/proof-shared; chmod 666 /tmp/proof-shared")
    outside = proof.container.run("runuser", "-u", "edgewright", "--", "python3", "/opt/proof/sitecustomize.py")
    free = json.loads(outside.stdout or "{}")
    proof.order("probe")
    answered = proof.root / STATE / "proof/probe.json"
    until(answered.exists, 10)
    inside = json.loads(answered.read_text(encoding="utf-8")) if answered.exists() else {}
    refused = REFUSED + (("make code at run time",) if proof.shown("MemoryDenyWriteExecute") == "yes" else ())
    for name in refused:
        detail = f"inside {inside.get(name)}, outside {free.get(name)}"
        fine = str(inside.get(name)).startswith("no") and free.get(name) == "yes"
        proof.check(f"the service may not {name}, its user elsewhere may", fine, detail)
    name = "write its own folder"
    proof.check(f"it may {name}", inside.get(name) == "yes", str(inside.get(name)))


def proof_of_memory(proof: Proof) -> None:
    """Taking too much memory ends the service and nothing else."""
    limit = proof.shown("MemoryMax")
    proof.check("a limit of memory is set", limit.isdigit(), limit)
    with dropin(proof, f"MemoryMax={SMALL_MB}M\nMemoryHigh=infinity\n"), limited_memory(proof) as whose:
        if whose is None:
            proof.remark("not checked: MemoryMax at work (no memory controller here)")
            return
        before, others = proof.restarts(), proof.others()
        proof.order("eat")
        noticed = until(lambda: proof.restarts() > before, 60)
        back = until(proof.answers, 60)
        fine = noticed is not None and back is not None and proof.others() == others
        detail = f"{SMALL_MB} MiB, kept by {whose}; restarted {seconds(noticed)}, answers again {seconds(back)}"
        proof.check("too much memory ends in a restart of the service, and of nothing else", fine, detail)


@contextlib.contextmanager
def limited_memory(proof: Proof) -> Iterator[str | None]:
    """Sees to it that the unit's limit is kept; by whom, or None where nobody can.

    A container gets the memory controller only from a machine that has one hierarchy of control groups. On one that has
    it in a hierarchy of its own, the service's process is put into a group of ours with the unit's limit: what the kernel
    does is the same, and systemd's part, to set the limit, is not shown.
    """
    group = proof.shown("ControlGroup")
    if proof.container.run("cat", f"/sys/fs/cgroup{group}/memory.max").returncode == 0:
        yield "the container's systemd"
        return
    rows = (row.split(":", 2) for row in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines())
    own = next((row[2] for row in rows if "memory" in row[1].split(",")), None)
    if own is None:
        yield None
        return
    ours = Path("/sys/fs/cgroup/memory") / own.strip("/") / f"edgewright-proof-{os.getpid()}"
    ours.mkdir()
    try:
        (ours / "memory.limit_in_bytes").write_text(proof.shown("MemoryMax"), encoding="ascii")
        (ours / "cgroup.procs").write_text(str(proof.container.outside(int(proof.shown("MainPID")))), encoding="ascii")
        yield "a control group of this script, for this machine lends containers no memory controller"
    finally:
        until(lambda: not (ours / "cgroup.procs").read_text(encoding="ascii"), 30)
        ours.rmdir()


def proof_of_absence(proof: Proof) -> None:
    """A camera that goes away: told and waited for; after the time set, one fresh start, and no storm of them."""
    before = proof.restarts()
    proof.camera_off()
    time.sleep(20 + WATCHDOG_S)
    told = proof.shown("StatusText")
    proof.check("a camera that goes away causes no restart", proof.restarts() == before and "away for" in told, told)
    proof.camera_on()
    proof.check("it is taken up again", until(proof.answers, 60) is not None and proof.restarts() == before)
    proof.configure(needs_frames_s=20)
    restart(proof)
    before = proof.restarts()
    proof.camera_off()
    first = until(lambda: proof.restarts() > before, 60)
    time.sleep(15)  # in this time a storm would be seen, and the next due one not
    count = proof.restarts() - before
    detail = f"{count} restart, the first {seconds(first)}"
    proof.check("with watchdog_needs_frames_s a long absence ends in one fresh start", count == 1, detail)
    proof.configure(needs_frames_s=600)
    proof.camera_on()
    restart(proof)


def proof_of_stop(proof: Proof) -> None:
    """A stop is clean; so is a start by hand."""
    began = time.monotonic()
    proof.control("stop", "edgewright")
    took = time.monotonic() - began
    result = proof.shown("Result")
    summary = "run_summary" in proof.outbox(copied=True).values()
    proof.check(
        "a stop is clean, with the run's summary kept", result == "success" and summary, f"{result}, {took:.1f} s"
    )
    proof.control("start", "edgewright")
    until(proof.answers, 60)


def proof_of_power_cut(proof: Proof) -> None:
    """Everything dies at once; after the next boot nothing is missing and nothing was done by hand."""
    until(lambda: len(proof.outbox()) > 20, 60)
    before = proof.outbox()
    time.sleep(1)
    proof.container.cut_power()
    proof.camera_off()
    try:
        after = proof.outbox(copied=True)
        lost = before.keys() - after.keys()
        detail = f"{len(before)} rows before, {len(after)} after, {len(lost)} lost"
        proof.check("power cut: the outbox is whole", not lost and len(before) > 20, detail)
    except sqlite3.DatabaseError as error:
        proof.check("power cut: the outbox is whole", False, str(error))
        return
    names = sorted(file.name for file in (proof.root / STATE).rglob("*") if file.suffix in {".part", ".tmp"})
    proof.check("power cut: nothing half-written lies about", not names, " ".join(names))
    proof.container.boot()
    proof.camera_on()
    back = until(proof.answers, 90)
    proof.check("power cut: up again by itself", back is not None and proof.restarts() == 0, seconds(back))
    database = proof.work / "fleet.db"
    with proof.cloud(database):
        # Rows go when the cloud has them; what the camera adds meanwhile goes as well.
        until(lambda: stored(database) >= set(after), 60)
    there = stored(database)
    detail = f"{len(there)} rows in the database, {len(set(after) - there)} missing"
    proof.check("every row from before it reaches the cloud's database", set(after) <= there and len(after) > 0, detail)


def stored(database: Path) -> set[int]:
    """Numbers of the events in the cloud's database."""
    if not database.exists():
        return set()
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as opened:
        try:
            return {row[0] for row in opened.execute("SELECT seq FROM events WHERE device = 'proof-1'")}
        except sqlite3.OperationalError:  # not made yet
            return set()


PARTS = {
    "start": proof_of_start,
    "watchdog": proof_of_watchdog,
    "sandbox": proof_of_sandbox,
    "memory": proof_of_memory,
    "absence": proof_of_absence,
    "stop": proof_of_stop,
    "power": proof_of_power_cut,
}
