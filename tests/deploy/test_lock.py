"""One deployment at a time: who comes second is told, and who is gone stands in nobody's way."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
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
from edgewright.deploy.one_at_a_time import run_under
from edgewright.deploy.plan import Outcome, Seen
from edgewright.deploy.remote_bench import BoardBench
from edgewright.deploy.uninstall import uninstall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    return run_under(BoardLock(fake.board, "install"), [step], lambda _: None, dry=dry), step


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

    outcome = run_under(BoardLock(fake.board, "install"), [Cut(fake)], lambda _: None, dry=False)
    assert outcome.left == ["step"]
    assert (fake.root / PLACE / "holder").is_file()
    fake.cut_at = None
    assert work(fake)[0].error is None
    assert fake.tree() == {}


class Meanwhile(Step):
    """While it works, something happens."""

    title = "meanwhile"

    def __init__(self, fake: FakeBoard, event: Callable[[], object]) -> None:
        super().__init__(fake)
        self._event = event

    def apply(self) -> str:
        self._event()
        return super().apply()


def three(fake: FakeBoard, event: Callable[[], object]) -> tuple[Outcome, list[Step], list[str]]:
    """A step that is done, one in which something happens, and one that comes after that."""
    steps = [Step(fake), Meanwhile(fake, event), Step(fake)]
    started: list[str] = []
    lock = BoardLock(fake.board, "install")
    outcome = run_under(lock, list(steps), lambda _: None, after_undo=lambda: started.append("former"), dry=False)
    return outcome, steps, started


def taken_over(fake: FakeBoard, *, ended: bool) -> None:
    """Another one comes hours later, and is at work still or has ended."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(lock, "_FORGOTTEN_S", 0)
        with BoardLock(fake.board, "install"):
            place = next(fake.root.rglob(PLACE))
            shutil.copytree(place, Path(folder) / PLACE)
        if not ended:
            shutil.copytree(Path(folder) / PLACE, place)
            signature = place / "holder"
            signature.write_text(re.sub("where=.*", "where=elsewhere", signature.read_text()))


@pytest.mark.parametrize("run", [True, False], ids=["with run", "without run"])
@pytest.mark.parametrize("ended", [True, False], ids=["has ended", "at work"])
def test_whoever_lost_it_does_no_further_step_and_takes_nothing_back(
    fake: FakeBoard, *, ended: bool, run: bool
) -> None:
    if run:
        (fake.root / "run").mkdir()
    outcome, steps, started = three(fake, lambda: taken_over(fake, ended=ended))
    assert "somebody else has begun to work there meanwhile" in str(outcome.error)
    assert [len(step.seen) for step in steps] == [1, 1, 0]
    assert started == []
    assert "step (somebody else has worked there since" in outcome.left[0]
    assert outcome.left[1:] == ["meanwhile", "step"]
    assert (held_now(fake, PurePosixPath(fake.root)) is not None) is not ended  # the other one's


@pytest.mark.parametrize("run", [True, False], ids=["with run", "without run"])
def test_a_board_that_restarted_in_the_middle_is_told_and_all_is_taken_back(fake: FakeBoard, *, run: bool) -> None:
    if run:
        (fake.root / "run").mkdir()
    outcome, steps, started = three(fake, fake.restart)
    assert "the board restarted in the middle; run this again, and it goes on" in str(outcome.error)
    assert outcome.left == []
    place = fake.root / ("run" if run else ".") / PLACE
    assert [len(step.seen) for step in steps] == [2, 2, 1]
    assert run or all(step.seen[-1] for step in steps)  # undone while nobody else may begin
    assert started == ["former"]
    assert not place.exists()


@pytest.mark.parametrize("ended", [True, False], ids=["has ended", "at work"])
def test_whoever_worked_since_the_board_restarted_is_left_alone(fake: FakeBoard, *, ended: bool) -> None:
    (fake.root / "run").mkdir()
    (fake.root / "opt/edgewright").mkdir(parents=True)

    def event() -> None:
        fake.restart()
        taken_over(fake, ended=ended)

    outcome, steps, started = three(fake, event)
    assert "somebody else has begun" in str(outcome.error)
    assert [len(step.seen) for step in steps] == [1, 1, 0]
    assert started == []
    assert len(outcome.left) == 3


def test_one_that_was_removed_by_hand_while_nobody_else_came_is_taken_again_to_undo(fake: FakeBoard) -> None:
    (fake.root / "run").mkdir()
    outcome, _, started = three(fake, lambda: shutil.rmtree(fake.root / "run" / PLACE))
    assert "removed by hand" in str(outcome.error)
    assert (outcome.left, started) == ([], ["former"])


def test_who_had_it_last_is_forgotten_with_the_last_of_what_is_installed(fake: FakeBoard) -> None:
    (fake.root / "run").mkdir()
    (fake.root / "opt/edgewright").mkdir(parents=True)
    with BoardLock(fake.board, "install"):
        pass
    assert [path.name for path in (fake.root / "run").iterdir()] == ["edgewright-deploy.last"]
    with BoardLock(fake.board, "uninstall"):
        (fake.root / "opt/edgewright").rmdir()
    assert not list((fake.root / "run").iterdir())


def holder(fake: FakeBoard) -> Path:
    return Path(fake.root / PLACE / "holder")


def aged(fake: FakeBoard) -> None:
    holder(fake).write_text(re.sub("touched=.*", "touched=7", holder(fake).read_text()))


def test_long_work_touches_it_now_and_then(fake: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = BoardLock(fake.board, "install")
    mine.keep()  # not held yet
    with mine:
        aged(fake)
        mine.keep()
        assert "touched=7\n" in holder(fake).read_text()
        monkeypatch.setattr(lock, "_TOUCHED_S", 0.0)
        mine.keep()
        assert "touched=7\n" not in holder(fake).read_text()
        fake.cut_at = 0
        mine.keep()  # for the work itself to notice
        fake.cut_at = None
        taken_over(fake, ended=False)
        with pytest.raises(DeployError, match="somebody else has begun"):
            mine.keep()
    asked = len(fake.commands)
    mine.keep()
    assert len(fake.commands) == asked


def test_on_a_full_disk_it_is_still_ours(fake: FakeBoard) -> None:
    with BoardLock(fake.board, "install") as mine:
        (fake.root / PLACE / holder(fake).read_text().split("\n")[0].removeprefix("id=")).mkdir()  # cannot be written
        aged(fake)
        mine.touch()
        mine.regain()
        assert "touched=7\n" in holder(fake).read_text()


def test_one_that_is_signed_at_the_last_moment_is_given_back(fake: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_SIGNED_S", 0.0)
    (fake.root / PLACE).mkdir()
    now = f"boot={fake.told('boot_id').strip()}\\ntouched=99999999"
    sign_it = f"printf 'id=0123456789abcdef\\nby=late@desk\\n{now}\\n' > \"$R/{PLACE}/holder\""
    fake.replace("mv", f'[ "$2" != "$R/{PLACE}" ] || {sign_it}; exec /bin/mv "$@"')
    with pytest.raises(DeployError, match="late@desk"):
        work(fake)
    assert "id=0123456789abcdef" in holder(fake).read_text()
    assert fake.tree().keys() == {PLACE, f"{PLACE}/holder"}


def test_one_that_is_given_back_does_not_land_in_that_of_a_third(fake: FakeBoard) -> None:
    sign(fake, boot="of a former start")
    fresh = f"boot={fake.told('boot_id').strip()}\\ntouched=99999999"
    other = f"printf 'id=0123456789abcdef\\n{fresh}\\n'"
    third = f"printf 'id=fedcba9876543210\\nby=third@desk\\n{fresh}\\n'"
    there = f'"$R/{PLACE}"'
    fake.replace(
        "mv",
        f'if [ "$2" = {there} ]; then {other} > {there}/holder; /bin/mv "$@"; mkdir {there}; {third} > {there}/holder; '
        f'else exec /bin/mv "$@"; fi',
    )
    with pytest.raises(DeployError, match="third@desk"):
        work(fake)
    assert "id=fedcba9876543210" in holder(fake).read_text()
    assert fake.tree().keys() == {PLACE, f"{PLACE}/holder"}


def test_whoever_signs_second_does_not_have_it(fake: FakeBoard) -> None:
    """Its folder was taken away, and another one's lies there, before it had signed."""
    other = "printf 'id=0123456789abcdef\\nby=first@desk\\nboot=%s\\ntouched=99999999\\n'"
    fake.replace(
        "mkdir", f'/bin/mkdir "$@" && {other} "$(cat "$S/boot_id")" > "$R/{PLACE}/holder"'
    )  # fmt: skip
    with pytest.raises(DeployError, match="first@desk"):
        work(fake)
    assert "id=0123456789abcdef" in holder(fake).read_text()
    assert fake.tree().keys() == {PLACE, f"{PLACE}/holder"}


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
