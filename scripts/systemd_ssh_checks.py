"""What scripts/systemd checks over SSH: one story, in order, of a board from the first deployment to the last trace."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from systemd_ssh import write_off
from systemd_stage import seconds, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from systemd_ssh import Ended, SshStage

ENOUGH = 30_000_000  # bytes: in the middle of the wheels
OPT = "opt/edgewright"
HALF_MADE = f"{OPT}/releases/*.part/lib/python*/site-packages/numpy"


def proof_of_first(board: SshStage) -> None:
    """The link breaks for good in the middle; then the same command brings the service up."""
    board.container.run("runuser", "-u", "board", "--", "sudo", "-n", "true")  # whatever sudo writes the first time
    board.before = board.seen()
    with board.door() as door:
        dry = board.deploy(door, "old", "--dry-run")
        told_only = dry.code == 0 and dry.said.get("changed") is True and board.seen() == board.before
        board.check("ssh: a dry run changes nothing", told_only, "" if told_only else dry.words)
        door.cut_after(ENOUGH, for_good=True)
        cut = board.deploy(door, "old")
        whole = board.in_use() != ("", "") or board.shown("LoadState") != "not-found"
        fine = cut.code == 2 and door.cuts > 0 and not whole
        board.check("ssh: a link that breaks for good leaves no half of an installation", fine, cut.words)
    with board.door() as door:
        done = board.deploy(door, "old")
        if not board.check("ssh: the same command then installs, over a new link", done.code == 0, done.words):
            raise RuntimeError("nothing is installed that the rest could look at")
        board.check("ssh: the service is active, and told so itself", *told_ready(board))
        board.camera_on()
        board.check("ssh: frames get answers", until(board.answers, 60) is not None, board.shown("StatusText"))
        board.old = board.in_use()
        unchanged(board, lambda: board.deploy(door, "old"))


def told_ready(board: SshStage) -> tuple[bool, str]:
    """Whether systemd waited for READY=1, and who runs it."""
    kind, status, user = (board.shown(name) for name in ("Type", "StatusText", "User"))
    enabled = board.control("is-enabled", "edgewright")
    fine = kind == "notify" and board.running() and bool(status) and board.restarts() == 0 and enabled == "enabled"
    return fine and user == "edgewright", f"Type={kind}, User={user}, {enabled}, {board.restarts()} restarts; {status}"


def unchanged(board: SshStage, again: Callable[[], Ended]) -> None:
    """The same once more: no file is written, and the service is not even restarted."""

    def seen() -> tuple[dict[str, str], str]:
        rows = board.changed(times=True)
        return {path: about for path, about in rows.items() if not path.startswith("/var/lib/edgewright/outbox")}, (
            board.shown("MainPID")
        )

    files, main = seen()
    done = again()
    files_now, main_now = seen()
    touched = sorted(path for path in files.keys() | files_now.keys() if files.get(path) != files_now.get(path))
    fine = done.code == 0 and done.said.get("changed") is False and not touched and main == main_now
    detail = f"process {main}, then {main_now}; touched: {' '.join(touched)[:300] or 'nothing'}"
    board.check("ssh: deploy again changes nothing", fine, detail if fine else f"{done.words}; {detail}")


def proof_of_refusal(board: SshStage) -> None:
    """A bundle whose golden answers the board does not give is refused; the service does not notice."""
    main = board.shown("MainPID")
    board.bundles["off"] = write_off(board.work / "off.edge")
    board.houses["off"] = board.houses["old"]
    with board.door() as door:
        done = board.deploy(door, "off")
    same = board.in_use() == board.old and board.shown("MainPID") == main and board.running()
    board.check("ssh: a bundle with other golden answers is refused", done.code == 3 and same, done.words)


def proof_of_killed(board: SshStage) -> None:
    """The workstation dies in the middle of an upgrade."""
    main = board.shown("MainPID")
    with board.door() as door:
        process = board.start_deploy(door, "new")
        begun = until(lambda: any((board.root / OPT / "incoming").glob("wheels-*/*")), 120)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    same = board.in_use() == board.old and board.shown("MainPID") == main
    detail = f"killed {seconds(begun)}"
    board.check("ssh: deploy is killed in an upgrade, the former version runs on", begun is not None and same, detail)


def proof_of_power(board: SshStage) -> None:
    """The board loses its power while pip makes the new release; the former version boots, the upgrade goes on."""
    with board.door() as door:
        process = board.start_deploy(door, "new")
        begun = until(lambda: any(board.root.glob(HALF_MADE)) or process.poll() is not None, 200)
        half = any(board.root.glob(HALF_MADE))
        cut_power(board)
        ended = board.ended(process)
    detail = f"cut {seconds(begun)}; {ended.words}"
    board.check("ssh: power cut while the new release is made, deploy says so", half and ended.code == 2, detail)
    boots(board, "the former version", lambda: board.in_use() == board.old)
    with board.door() as door:
        done = board.deploy(door, "new")
        board.new = board.in_use()
        other = board.new[0] != board.old[0] and board.new[1] != board.old[1]
        board.check("ssh: deploy again then upgrades", done.code == 0 and other and all(board.new), done.words)
        former = (board.link(f"{OPT}/previous"), board.link("var/lib/edgewright/bundles/previous"))
        board.check("ssh: what ran before is named", former == board.old and all(former), " ".join(former))
        fine, words = told_ready(board)
        board.check("ssh: the new version runs", fine and until(board.answers, 60) is not None, words)
        # Back again, and the power goes at the worst of times: the links are being swapped.
        process = board.start_deploy(door, "old")
        swapped = until(lambda: board.in_use() != board.new or process.poll() is not None, 200)
        at = board.in_use()
        cut_power(board)
        ended = board.ended(process)
    detail = f"cut {seconds(swapped)}, {'both links' if at == board.old else 'one link'} swapped; {ended.words}"
    board.check("ssh: power cut while the links are swapped", ended.code == 2 and at != board.new, detail)
    boots(board, "a whole version", lambda: board.in_use()[0] in {board.old[0], board.new[0]})
    with board.door() as door:
        done = board.deploy(door, "old")
        fine = done.code == 0 and board.in_use() == board.old
        board.check("ssh: deploy again then settles it", fine, done.words)
        left = [str(path.relative_to(board.root)) for path in (board.root / OPT).rglob("*.part")]
        left += [str(path.relative_to(board.root)) for path in (board.root / OPT / "incoming").glob("*")]
        board.check("ssh: nothing half-made lies about", not left, " ".join(left)[:300])


def cut_power(board: SshStage) -> None:
    """Board and camera go off at once."""
    board.container.cut_power()
    board.camera_off()


def boots(board: SshStage, what: str, right: Callable[[], bool]) -> None:
    """After the power cut ``what`` comes up by itself."""
    board.boot()
    board.camera_on()
    back = until(board.answers, 90)
    fine = back is not None and board.restarts() == 0 and right()
    board.check(f"ssh: {what} boots by itself", fine, f"answers {seconds(back)}; {' '.join(board.in_use())}")


def proof_of_remote(board: SshStage) -> None:
    """``doctor`` and ``bench`` on the board."""
    with board.door() as door:
        doctor = board.remote(door, "doctor")
        board.check("ssh: doctor looks at the board", doctor.code == 0 and bool(doctor.said), doctor.words)
        result = board.work / "bench.json"
        bench = board.remote(door, "bench", str(board.bundles["old"]), "--runs", "20", "-o", str(result))
        board.check("ssh: bench times the bundle there", bench.code == 0 and result.exists(), bench.words)


def proof_of_gone(board: SshStage) -> None:
    """Uninstalling: first all but the data, then the data."""
    board.camera_off()
    files, accounts, memory = board.before
    with board.door() as door:
        done = board.uninstall(door)
        left = set(board.changed(times=False)) - set(files)
        strays = sorted(path for path in left if not path.startswith("/var/lib/edgewright"))
        fine = done.code == 0 and not strays and any(path.endswith(".edge") for path in left)
        board.check(
            "ssh: --uninstall leaves the data alone, and nothing else", fine, " ".join(strays)[:400] or done.words
        )
        done = board.uninstall(door, "--purge")
        again = board.uninstall(door, "--purge")
    now = board.changed(times=False)
    touched = sorted(path for path in files.keys() | now.keys() if files.get(path) != now.get(path))
    detail = f"{len(files)} files before, {len(now)} now, others: {' '.join(touched)[:400] or 'none'}"
    board.check("ssh: --purge leaves the whole disk as it was", done.code == 0 and not touched, detail)
    board.check(
        "ssh: users and groups are as they were", board.accounts() == accounts, "passwd, group, shadow, gshadow"
    )
    more = " ".join(sorted(board.elsewhere() - memory))[:400]
    board.check("ssh: nothing is left in memory or known to systemd", not more, more)
    board.check(
        "ssh: and once more changes nothing", again.code == 0 and again.said.get("changed") is False, again.words
    )


PARTS = {
    "first": proof_of_first,
    "refusal": proof_of_refusal,
    "killed": proof_of_killed,
    "power": proof_of_power,
    "remote": proof_of_remote,
    "gone": proof_of_gone,
}
"""In order: each stands on what those before it left."""
