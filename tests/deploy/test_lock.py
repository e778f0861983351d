"""One deployment at a time: who comes second is told, and who is gone stands in nobody's way."""

from __future__ import annotations

import secrets
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from fake_board import FakeBoard

from edgewright.bundle.errors import ExitCode
from edgewright.deploy import lock
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.holder import Holder
from edgewright.deploy.local import LocalHost
from edgewright.deploy.lock import BoardLock, held_now
from edgewright.deploy.one_at_a_time import run_alone
from edgewright.deploy.plan import Outcome, Seen
from edgewright.deploy.remote_bench import BoardBench
from edgewright.deploy.uninstall import uninstall

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = "edgewright-deploy.lock"


@pytest.fixture
def fake(tmp_path: Path) -> FakeBoard:
    return FakeBoard(tmp_path)


@pytest.fixture
def other(fake: FakeBoard) -> Iterator[BoardLock]:
    with BoardLock(fake.board, "install") as held:
        yield held


class Step:
    """Looks at the lock while it works."""

    title = "step"

    def __init__(self, fake: FakeBoard, fails: BaseException | None = None) -> None:
        self._fake = fake
        self._fails = fails
        self.seen: list[bool] = []

    def check(self) -> Seen:
        return Seen(done=False, words="work")

    def apply(self) -> str:
        self.seen.append((self._fake.root / PLACE).is_dir())
        if self._fails is not None:
            raise self._fails
        return "worked"

    def undo(self) -> None:
        self.seen.append((self._fake.root / PLACE).is_dir())


def work(fake: FakeBoard, fails: BaseException | None = None, *, dry: bool = False) -> tuple[Outcome, Step]:
    step = Step(fake, fails)
    return run_alone(fake.board, "install", [step], lambda _: None, dry=dry), step


def sign(fake: FakeBoard, **changes: str) -> None:
    """A lock of somebody else's, as it lies on the board after so long."""
    now = Path("/proc/uptime").read_text().split(".")[0]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    rows = {"id": secrets.token_hex(8), "by": "ann@desk", "pid": "7", "since": "2026-01-02 03:04:05 UTC"}
    rows |= {"what": "install", "where": "0" * 16, "boot": boot, "touched": now} | changes
    (fake.root / PLACE).mkdir()
    (fake.root / PLACE / "holder").write_text("".join(f"{key}={value}\n" for key, value in rows.items()))


def test_the_second_is_told_who_works_there_and_changes_nothing(fake: FakeBoard) -> None:
    sign(fake)
    before = fake.tree()
    with pytest.raises(DeployError) as caught:
        work(fake)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    said = str(caught.value)
    assert "another deployment is at work there: install by ann@desk, process 7, since 2026-01-02 03:04:05 UTC" in said
    assert "wait until it has ended and run this again" in said
    assert f"remove {fake.root / PLACE} there" in said
    with pytest.raises(DeployError, match="ann@desk"):
        uninstall(fake.board, lambda _: None)
    assert fake.tree() == before


@pytest.mark.usefixtures("other")
def test_of_the_same_user_on_the_same_workstation_only_one_works(fake: FakeBoard) -> None:
    with pytest.raises(DeployError, match="another deployment is at work"):
        work(fake)


def test_it_is_held_while_steps_work_and_undo_and_gone_afterwards(fake: FakeBoard) -> None:
    outcome, step = work(fake)
    assert outcome.error is None
    assert step.seen == [True]
    outcome, step = work(fake, DeployError("no"))
    assert (str(outcome.error), step.seen) == ("no", [True, True])
    with pytest.raises(KeyboardInterrupt):
        work(fake, KeyboardInterrupt())
    assert fake.tree() == {}


def test_a_dry_run_tells_and_takes_nothing(fake: FakeBoard) -> None:
    assert len(work(fake, dry=True)[0].results) == 1
    assert fake.tree() == {}
    sign(fake)
    before = fake.tree()
    outcome, _ = work(fake, dry=True)
    assert outcome.results[-1].words.startswith("a real run would be refused: ")
    assert "another deployment is at work there: install by ann@desk" in outcome.results[-1].words
    assert fake.tree() == before


def test_run_lies_below_run_where_there_is_one(fake: FakeBoard) -> None:
    (fake.root / "run").mkdir()
    with BoardLock(fake.board, "install"):
        assert (fake.root / "run" / PLACE / "holder").is_file()
        assert held_now(fake, PurePosixPath(fake.root)) is not None
    assert list(fake.root.rglob("*")) == [fake.root / "run"]


@pytest.mark.parametrize(
    "changes",
    [{"boot": "of a former start"}, {"touched": "-1"}, {"where": ""}],
    ids=["the board has restarted", "nothing heard for hours", "the same user's that runs no more"],
)
def test_whoever_is_gone_is_passed_over(
    fake: FakeBoard, changes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "touched" in changes:
        monkeypatch.setattr(lock, "_FORGOTTEN_S", 1)
        changes = {"touched": "0"}
    if "where" in changes:
        told = dict(line.split("=", 1) for line in Holder.here("x").text().splitlines())
        changes = {"where": told["where"]}
    sign(fake, **changes)
    assert held_now(fake, PurePosixPath(fake.root)) is None
    outcome, step = work(fake)
    assert (outcome.error, step.seen) == (None, [True])
    assert fake.tree() == {}


def test_a_lock_that_was_never_signed_is_passed_over(fake: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_SIGNED_S", 0.0)
    (fake.root / PLACE).mkdir()
    assert held_now(fake, PurePosixPath(fake.root)) is not None  # it may be signed in a moment
    assert work(fake)[0].error is None


def test_a_link_that_breaks_leaves_it_and_the_same_user_goes_on(fake: FakeBoard) -> None:
    class Cut(Step):
        def apply(self) -> str:
            fake.cut_at = 0
            raise HostUnreachable(self.title)

        def undo(self) -> None:
            raise HostUnreachable(self.title)

    outcome = run_alone(fake.board, "install", [Cut(fake)], lambda _: None, dry=False)
    assert outcome.left == ["step"]
    assert (fake.root / PLACE / "holder").is_file()
    fake.cut_at = None
    assert work(fake)[0].error is None
    assert fake.tree() == {}


def test_whoever_lost_it_does_no_further_step(fake: FakeBoard) -> None:
    step = Step(fake)

    class Thief(Step):
        def apply(self) -> str:
            holder = fake.root / PLACE / "holder"
            holder.write_text(holder.read_text().replace("id=", "id=f"))
            return ""

    outcome = run_alone(fake.board, "install", [Thief(fake), step], lambda _: None, dry=False)
    assert "somebody else has begun to work there meanwhile" in str(outcome.error)
    assert (fake.root / PLACE).is_dir()  # the other one's
    assert True not in step.seen[:-1]


def test_what_lies_there_is_bounded_and_does_not_reach_the_terminal(fake: FakeBoard) -> None:
    sign(fake, by="x\x1b[2J" + "y" * 5000)
    with pytest.raises(DeployError) as caught:
        work(fake)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_board_that_is_deployed_to_is_not_timed(fake: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    sign(fake)
    monkeypatch.setattr("edgewright.deploy.remote_bench.Layout.top", PurePosixPath(fake.root))
    with pytest.raises(DeployError, match="another deployment is at work there"):
        BoardBench(LocalHost(), "echo edgewright").__enter__()
    (fake.root / PLACE / "holder").write_text("boot=other\nid=0123456789abcdef\n")
    with BoardBench(LocalHost(), "echo edgewright"):
        pass
