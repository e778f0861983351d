"""Installing on a board made of a folder: idempotent, undone when it fails, mended when it is run again."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from bundles import detector_parts, write_classifier, write_detector
from fake_board import FakeBoard

from edgewright.bundle.writer import write_bundle
from edgewright.deploy import lock
from edgewright.deploy.board import Board
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.install import Deployment, uninstall
from edgewright.deploy.layout import Layout
from edgewright.deploy.lock_scripts import TOUCH
from edgewright.deploy.plan import Outcome, Plan, Seen, State
from edgewright.deploy.request import Journal, Packed, Request, needed_bytes, pack
from edgewright.deploy.service import ServiceManager
from edgewright.deploy.settings import Settings
from edgewright.deploy.steps.release import Release, ReleaseStep
from edgewright.deploy.steps.remove import GoneStep
from edgewright.deploy.steps.tidy import TidyStep
from edgewright.device.config import load_config
from edgewright.device_profiles.profile import load_profile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "rtsp://cam:hunter2@10.0.0.9/stream"


def verification(packed: Packed, difference: float = 0.0) -> dict[str, Any]:
    rows = [
        {"variant": "float32-onnx", "output": output.name, "frames": 2, "max_difference": difference}
        for output in packed.manifest.variants[0].outputs
    ]
    return {"digest": packed.digest, "checks": rows, "skipped": {}, "engines": {"float32-onnx": "onnxruntime 1"}}


def packed(folder: Path, version: str = "1.0.0") -> Packed:
    manifest, payload = detector_parts()
    target = folder / f"{version}.edge"
    if not target.exists():
        folder.mkdir(exist_ok=True)
        write_bundle(target, replace(manifest, version=version), payload)
    return pack(target, folder)


class Site:
    """A board and what is installed on it."""

    def __init__(self, folder: Path, **answers: Any) -> None:
        self.folder = folder
        self.fake = FakeBoard(folder / "board", **answers)
        self.said: list[str] = []

    def install(self, version: str = "1.0.0", *, difference: float = 0.0, dry: bool = False, **changes: Any) -> Outcome:
        bundle = packed(self.folder / "bundles", version)
        environment = self.fake.environment(verify=verification(bundle, difference), status=3 if difference else 0)
        request = Request(bundle, load_profile("x86-64"), environment=environment, settings=Settings(source=SECRET))
        board = self.fake.board
        service = ServiceManager(board, settle_s=0.0, sleep=lambda _: None)
        deployment = Deployment(board, replace(request, **changes), service=service)
        return deployment.install(lambda result: self.said.append(f"{result.title}: {result.words}"), dry=dry)

    def active(self) -> str:
        return (self.fake.root / "var/lib/edgewright/bundles/active").readlink().name

    def uninstall(self, **how: bool) -> Outcome:
        return uninstall(self.fake.board, lambda result: self.said.append(result.words), **how)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def states(outcome: Outcome) -> set[State]:
    return {result.state for result in outcome.results}


def test_installs_starts_and_does_nothing_the_second_time(site: Site) -> None:
    first = site.install()
    assert first.error is None
    assert first.changed
    root = site.fake.root
    assert (root / "opt/edgewright/current/bin/python").exists()
    assert "user" in site.fake.told("user") or "edgewright" in site.fake.told("user")
    assert "video" in site.fake.told("groups_of_user")
    assert "restart --no-block edgewright.service" in site.fake.told("systemctl.log")
    assert "daemon-reload" in site.fake.told("systemctl.log")
    assert (root / "etc/edgewright/device.toml").stat().st_mode & 0o777 == 0o640
    assert (
        "ExecStart=/opt/edgewright/current/bin/edgewright run"
        in (root / "etc/systemd/system/edgewright.service").read_text()
    )
    before, log = site.fake.tree(), site.fake.told("systemctl.log").count("restart")
    second = site.install()
    assert not second.changed
    assert states(second) == {State.UNCHANGED}
    assert site.fake.tree() == before
    assert site.fake.told("systemctl.log").count("restart") == log


def test_the_settings_are_what_the_device_reads_and_no_secret_is_shown(site: Site) -> None:
    zone = "door=0.1,0.2;0.5,0.2;0.5,0.9"
    settings = Settings(
        SECRET, name='the "gate" \\ \x7f ü', broker="mqtts://u:pw2@broker", device="g", zones=(zone,), threads=1
    )
    site.install(settings=settings)
    config = load_config(site.fake.root / "etc/edgewright/device.toml")
    assert config.source.uri == SECRET
    assert config.source.name == settings.name
    assert config.sync.broker == settings.broker
    assert config.rules.zones == (zone,)
    assert str(config.model.bundle) == "/var/lib/edgewright/bundles/active"
    assert not any(secret in line for line in site.said for secret in ("hunter2", "pw2"))
    assert not any(secret in word for argv in site.fake.commands for word in argv for secret in ("hunter2", "pw2"))


def test_the_settings_of_the_owner_are_kept(site: Site) -> None:
    site.install()
    path = site.fake.root / "etc/edgewright/device.toml"
    path.write_text(path.read_text() + "# mine\n")
    outcome = site.install(settings=Settings(source="0", broker="mqtt://x"))
    assert path.read_text().endswith("# mine\n")
    assert any("--source, --broker not used" in line for line in site.said)
    # Changed by hand and not yet in use: the service is started anew.
    assert outcome.changed
    assert not site.install().changed


def test_a_first_installation_needs_to_know_what_to_watch(site: Site) -> None:
    outcome = site.install(settings=Settings())
    assert "say --source URI" in str(outcome.error)
    assert site.fake.told("user") == ""


def test_a_dry_run_names_every_step_and_changes_nothing(site: Site) -> None:
    before = site.fake.tree()
    outcome = site.install(dry=True)
    assert outcome.changed
    assert {result.title for result in outcome.results} >= {
        "service user", "folders", "release", "settings", "bundle", "proof", "unit", "journal limits", "activation",
    }  # fmt: skip
    assert site.fake.tree() == before
    assert site.fake.told("user") == ""
    assert [line.split()[0] for line in site.fake.told("systemctl.log").splitlines()] == ["show"]


def test_an_upgrade_keeps_the_former_bundle_and_removes_older_ones(site: Site) -> None:
    for version in ("1", "2", "3"):
        assert site.install(version).error is None
    kept = {packed(site.folder / "bundles", version).digest[:12] for version in ("2", "3")}
    bundles = site.fake.root / "var/lib/edgewright/bundles"
    assert {path.stem for path in bundles.glob("*.edge")} == kept
    assert (bundles / "previous").readlink().stem == packed(site.folder / "bundles", "2").digest[:12]


def test_a_bundle_that_the_board_computes_otherwise_is_refused_and_the_former_stays(site: Site) -> None:
    site.install("1")
    before, former = site.fake.tree(), site.active()
    log = site.fake.told("systemctl.log")
    outcome = site.install("2", difference=0.5)
    assert "is off by 0.5 on the board" in str(outcome.error)
    assert outcome.left == []
    assert site.fake.tree() == before
    assert site.active() == former
    assert site.fake.told("systemctl.log") == log


def test_a_service_that_does_not_come_up_goes_back_to_what_ran_before(site: Site) -> None:
    site.install("1")
    before, former = site.fake.tree(), site.active()
    site.fake.say("crashes", f"{packed(site.folder / 'bundles', '2').digest[:12]}.edge")
    site.fake.say("journal", "Traceback\x1b[31m\nno camera")
    outcome = site.install("2")
    assert "did not come up: it ended by itself (exit-code, status 2)" in str(outcome.error)
    assert "no camera" in str(outcome.error)
    assert "\x1b" not in str(outcome.error)
    assert site.active() == former
    assert site.fake.tree() == before
    assert site.fake.told("active").strip() == "active"  # started again
    assert not site.install("1").changed


def test_other_bytes_of_the_bundle_in_use_go_back_to_the_former_ones(site: Site) -> None:
    assert site.install().error is None
    file = packed(site.folder / "bundles").file
    with zipfile.ZipFile(file) as old:
        entries = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(file, "w") as new:
        for name, data in entries.items():
            new.writestr(zipfile.ZipInfo(name, (1990, 1, 1, 0, 0, 0)), data)
    before = site.fake.tree()
    site.fake.say("crashes", site.active())
    settings = (site.fake.root / "etc/edgewright/device.toml").read_text() + "\n# changed\n"
    outcome = site.install(config=settings)
    assert "did not come up" in str(outcome.error)
    assert outcome.left == []
    assert any(result.title == "bundle" and result.state is State.UNDONE for result in outcome.results)
    assert site.fake.tree() == before
    site.fake.say("crashes", "")
    assert site.install().error is None
    assert not list((site.fake.root / "opt/edgewright/incoming").iterdir())


class CutHost(FakeBoard):
    """Sending breaks off at the second file."""

    def __init__(self, folder: Path, how: BaseException) -> None:
        super().__init__(folder)
        self.how = how
        self.sent: list[str] = []

    def send(
        self,
        local: Path,
        remote: PurePosixPath,
        *,
        root: bool = False,
        on_bytes: Callable[[int, int], None] | None = None,
    ) -> None:
        if len(self.sent) == 1:
            raise self.how
        self.sent.append(local.name)
        super().send(local, remote, root=root, on_bytes=on_bytes)


@pytest.mark.parametrize("how", [KeyboardInterrupt(), HostUnreachable("cut")], ids=["Ctrl-C", "link"])
def test_wheels_that_arrived_before_a_break_are_not_sent_again(tmp_path: Path, how: BaseException) -> None:
    fake = CutHost(tmp_path / "board", how)
    files = []
    for name in ("a-1-py3-none-any.whl", "b-1-py3-none-any.whl"):
        files.append(tmp_path / name)
        files[-1].write_bytes(name.encode() * 1000)
    step = ReleaseStep(fake.board, Release("1-x", "/bin/false", tuple(files), ("a==1",)))
    with pytest.raises((KeyboardInterrupt, HostUnreachable)):
        step.apply()
    step.undo()
    arrived = fake.root / "opt/edgewright/incoming/wheels-1-x"
    assert [path.name for path in arrived.iterdir()] == [files[0].name]
    fake.sent.clear()
    with pytest.raises((KeyboardInterrupt, HostUnreachable, DeployError), match="making an environment|^$|cut"):
        step.apply()
    assert fake.sent == [files[1].name]
    # What arrived altered is sent again.
    (arrived / files[0].name).write_bytes(b"other")
    fake.sent.clear()
    with pytest.raises(DeployError, match="making an environment"):
        step.apply()
    assert fake.sent == [files[0].name]
    step.undo()
    assert not arrived.exists()


def test_wheels_that_do_not_fit_do_not_stay(tmp_path: Path) -> None:
    fake = CutHost(tmp_path / "board", DeployError("no space left on device"))
    files = [tmp_path / "a-1-py3-none-any.whl", tmp_path / "b-1-py3-none-any.whl"]
    for file in files:
        file.write_bytes(bytes(1000))
    step = ReleaseStep(fake.board, Release("1-x", "/bin/false", tuple(files), ("a==1",)))
    with pytest.raises(DeployError, match="no space left"):
        step.apply()
    step.undo()
    assert not (fake.root / "opt/edgewright/incoming/wheels-1-x").exists()


@pytest.mark.parametrize(("journal", "storage"), [(Journal.PERSISTENT, "auto"), (Journal.VOLATILE, "volatile")])
def test_the_journal_lies_where_it_was_asked_for(site: Site, journal: Journal, storage: str) -> None:
    assert site.install(journal=journal).error is None
    text = (site.fake.root / "etc/systemd/journald.conf.d/edgewright.conf").read_text()
    assert f"\nStorage={storage}\n" in text


def broken_release(fake: FakeBoard) -> Path:
    """In use, and its interpreter starts no more."""
    place = fake.root / "opt/edgewright/releases/1-x"
    (place / "bin").mkdir(parents=True)
    (fake.root / "opt/edgewright/incoming").mkdir()
    (place / "bin/python").write_text("#!/bin/sh\nexit 1\n")
    (place / "bin/python").chmod(0o755)
    (place / "release.json").write_text("{}")
    (fake.root / "opt/edgewright/current").symlink_to("releases/1-x")
    return place


class FailingStep:
    title = "failing"

    def check(self) -> Seen:
        return Seen(done=False, words="fail")

    def apply(self) -> str:
        raise DeployError(self.title)

    def undo(self) -> None:
        pass


def test_a_release_in_use_that_cannot_be_made_anew_stays(tmp_path: Path) -> None:
    fake = FakeBoard(tmp_path)
    broken_release(fake)
    before = fake.tree()
    outcome = Plan([ReleaseStep(fake.board, Release("1-x", "/bin/false"))], lambda _: None).run()
    assert "making an environment" in str(outcome.error)
    assert fake.tree() == before


def test_a_release_made_anew_steps_back_when_a_later_step_fails(tmp_path: Path) -> None:
    fake = FakeBoard(tmp_path / "board")
    broken_release(fake)
    before = fake.tree()
    release = Release("1-x", "/bin/false", environment=fake.environment(verify={}))
    outcome = Plan([ReleaseStep(fake.board, release), FailingStep()], lambda _: None).run()
    assert [result.state for result in outcome.results] == [State.CHANGED, State.FAILED, State.UNDONE, State.UNDONE]
    assert fake.tree() == before
    Plan([ReleaseStep(fake.board, release), TidyStep(fake.board)], lambda _: None).run()
    assert [path.name for path in (fake.root / "opt/edgewright/releases").iterdir()] == ["1-x"]
    assert (fake.root / "opt/edgewright/current").resolve() == (tmp_path / "board/env").resolve()


def test_an_environment_that_is_not_there_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    fake = FakeBoard(tmp_path / "board")
    before = fake.tree()
    release = Release("1-x", "/bin/false", environment=PurePosixPath("/opt/nowhere"))
    for dry in (True, False):
        outcome = Plan([ReleaseStep(fake.board, release)], lambda _: None).run(dry=dry)
        assert "/opt/nowhere (--python-env) does not start edgewright; install it there" in str(outcome.error)
        assert fake.tree() == before


def test_a_link_where_a_folder_of_the_service_is_leads_the_superuser_nowhere(site: Site) -> None:
    site.install()
    victim = site.fake.root / "victim"
    victim.mkdir(mode=0o777)
    victim.chmod(0o777)
    bundles = site.fake.root / "var/lib/edgewright/bundles"
    bundles.rename(bundles.with_name("moved"))
    bundles.symlink_to("../../../victim")
    assert "/var/lib/edgewright/bundles is a link" in str(site.install().error)
    assert victim.stat().st_mode & 0o777 == 0o777
    assert not list(victim.iterdir())


def test_settings_of_no_bytes_are_written_anew(site: Site) -> None:
    site.install()
    path = site.fake.root / "etc/edgewright/device.toml"
    path.write_bytes(b"")
    assert site.install().error is None
    assert load_config(path).source.uri == SECRET


def test_a_service_that_does_not_stop_is_told(site: Site) -> None:
    site.install()
    site.fake.say("stubborn", "yes")
    with pytest.raises(DeployError, match="does not stop .it is active"):
        ServiceManager(site.fake.board).stop()


def test_a_first_service_that_does_not_come_up_leaves_nothing(site: Site) -> None:
    before = site.fake.tree()
    site.fake.say("crashes", f"{packed(site.folder / 'bundles', '1').digest[:12]}.edge")
    assert site.install("1").error is not None
    assert site.fake.tree() == before
    assert site.fake.told("user") == ""
    assert site.fake.told("active").strip() == "inactive"


def test_a_link_lost_in_the_middle_is_mended_by_running_again(site: Site) -> None:
    site.install("1")
    begun = len(site.fake.commands)
    site.install("2")
    needed = len(site.fake.commands) - begun
    for number, part in enumerate((0.02, 0.3, 0.55, 0.75, 0.95)):
        wanted = str(number + 3)
        former = site.active()
        site.fake.cut_at = len(site.fake.commands) + int(needed * part)
        try:
            assert isinstance(site.install(wanted).error, HostUnreachable)
        except HostUnreachable:  # before the first step
            assert part < 0.1
        now = f"{packed(site.folder / 'bundles', wanted).digest[:12]}.edge"
        assert site.active() in {former, now}
        site.fake.cut_at = None
        assert site.install(wanted).error is None
        assert site.active() == now
        assert not site.install(wanted).changed
    assert not list(site.fake.root.rglob("*.part"))
    assert not list((site.fake.root / "opt/edgewright/incoming").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_of_its_own_is_emptied_and_stays_mounted(tmp_path: Path) -> None:
    fake = FakeBoard(tmp_path / "board")
    place = fake.board.layout.state
    there = fake.root / place.relative_to("/")
    there.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(there)], check=True)
    try:
        (there / "bundles").mkdir()
        (there / "bundles/.hidden").write_text("x")
        (there / "elsewhere").symlink_to(tmp_path)
        step = GoneStep(fake.board, "data", [place])
        assert not step.check().done
        assert f"{there} is a mount point and was emptied" in step.apply()
        assert list(there.iterdir()) == []
        assert step.check().done
        assert fake.root.is_dir()
    finally:
        subprocess.run(["umount", str(there)], check=True)
    assert not step.check().done  # an empty folder goes
    step.apply()
    assert not there.exists()


def test_uninstall_leaves_the_data_and_purge_leaves_nothing(site: Site) -> None:
    before = site.fake.tree()
    site.install()
    assert site.uninstall(dry=True).changed
    assert site.uninstall().error is None
    left = site.fake.tree().keys() - before.keys()
    assert any("bundles" in path for path in left)
    assert not any("opt/edgewright" in path or "etc/edgewright" in path or ".service" in path for path in left)
    assert site.fake.told("user") == ""
    assert not site.uninstall().changed
    site.uninstall(purge=True)
    assert not [path for path in site.fake.tree().keys() - before.keys() if "edgewright" in path]


def test_a_user_of_that_name_that_is_another_one_is_left_alone(site: Site) -> None:
    site.fake.say("user", "edgewright:x:1000:1000:Ed Wright:/home/ed:/bin/bash")
    assert "that edgewright did not make" in str(site.install().error)
    site.uninstall()
    assert "Ed Wright" in site.fake.told("user")


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"machine": "aarch64"}, "is of kind aarch64, the profile x86-64 is for x86_64"),
        ({"systemd": False}, "say --service none"),
        ({"skew": "-86400"}, "s behind this machine's"),
        ({"mounts": "disk / ext4 ro 0 0"}, "read-only"),
        ({"pythons": ("/usr/bin/python3 3.9.2 64 yes",)}, "edgewright needs 3.10 to 3.13"),
    ],
)
def test_a_board_that_cannot_be_used_is_told_before_anything_changes(
    tmp_path: Path, answers: dict[str, Any], words: str
) -> None:
    site = Site(tmp_path, **answers)
    before = site.fake.tree()
    with pytest.raises(DeployError, match=words):
        site.install()
    assert site.fake.tree() == before


def test_a_bundle_without_a_variant_for_the_board_is_told(site: Site) -> None:
    profile = load_profile("x86-64")
    assert profile.backends is not None
    only = replace(profile, name="tflite-only", backends=replace(profile.backends, value=("litert-xnnpack",)))
    with pytest.raises(DeployError, match="has no variant for tflite-only: it has float32-onnx"):
        site.install(profile=only)


def test_a_board_without_systemd_gets_no_unit(tmp_path: Path) -> None:
    site = Site(tmp_path, systemd=False)
    assert site.install(service=False).error is None
    assert not (site.fake.root / "etc/systemd/system/edgewright.service").exists()
    assert not site.install(service=False).changed


def test_a_bundle_without_golden_answers_is_refused(site: Site, tmp_path: Path) -> None:
    bundle = pack(write_classifier(tmp_path / "c.edge"), tmp_path)
    with pytest.raises(DeployError, match="carries no golden answers"):
        site.install(bundle=bundle)


def test_a_folder_bundle_becomes_one_file(tmp_path: Path) -> None:
    folder, file = write_detector(tmp_path / "folder"), write_detector(tmp_path / "file.edge")
    (tmp_path / "scratch").mkdir()
    made = pack(folder, tmp_path / "scratch")
    assert made.file.suffix == ".edge"
    assert made.digest == pack(file, tmp_path).digest


def stop_in(monkeypatch: pytest.MonkeyPatch, how: BaseException) -> None:
    """Tidying breaks off when it has removed something."""
    real = TidyStep.apply

    def apply(step: TidyStep) -> str:
        real(step)
        raise how

    monkeypatch.setattr(TidyStep, "apply", apply)


@pytest.mark.parametrize("how", [DeployError("slow card"), KeyboardInterrupt()])
def test_tidying_that_breaks_off_leaves_the_new_in_use(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: BaseException
) -> None:
    site.install("1")
    site.install("2")
    stop_in(monkeypatch, how)
    if isinstance(how, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            site.install("3")
    else:
        outcome = site.install("3")
        assert (outcome.error, outcome.left) == (None, [])
        assert outcome.warnings == [f"tidying was left for the next time: {how}"]
    bundles = site.fake.root / "var/lib/edgewright/bundles"
    digests = [packed(site.folder / "bundles", version).digest[:12] for version in ("1", "2", "3")]
    assert not (bundles / f"{digests[0]}.edge").exists()  # what an undone activation would have named as previous
    assert [(bundles / link).resolve().stem for link in ("active", "previous")] == [digests[2], digests[1]]
    assert (bundles / "active").resolve().is_file()
    assert (site.fake.root / "opt/edgewright/current/bin/python").exists()
    assert site.fake.told("active").strip() == "active"
    assert site.fake.told("systemctl.log").count("restart --no-block edgewright.service") == 3


def test_a_service_that_was_not_there_before_is_not_there_after_a_failure(site: Site) -> None:
    site.install("1", service=False)
    before = site.fake.tree()
    site.fake.say("crashes", f"{packed(site.folder / 'bundles', '2').digest[:12]}.edge")
    outcome = site.install("2")
    assert "did not come up" in str(outcome.error)
    assert outcome.left == []
    assert site.fake.tree() == before
    assert site.fake.told("active").strip() == "inactive"


@pytest.mark.parametrize(
    ("enabled", "running"),
    [(True, False), (False, True), (False, False)],
    ids=["stopped", "not started at boot", "neither"],
)
def test_a_failed_upgrade_leaves_the_service_as_its_owner_had_it(site: Site, *, enabled: bool, running: bool) -> None:
    site.install("1")
    run = site.fake.board.must
    if not enabled:
        run(["systemctl", "disable", "edgewright.service"], "disabling")
    if not running:
        run(["systemctl", "stop", "edgewright.service"], "stopping")
    before = site.fake.tree()
    site.fake.say("crashes", f"{packed(site.folder / 'bundles', '2').digest[:12]}.edge")
    outcome = site.install("2")
    assert "did not come up" in str(outcome.error)
    assert outcome.left == []
    assert site.fake.tree() == before
    assert ServiceManager(site.fake.board).is_enabled() is enabled
    assert site.fake.told("active").strip() == ("active" if running else "inactive")


def test_the_bundle_is_counted_where_it_arrives_and_where_it_stays(tmp_path: Path) -> None:
    bundle = packed(tmp_path / "bundles")
    size = bundle.file.stat().st_size
    request = Request(bundle, load_profile("x86-64"), environment=PurePosixPath("/env"))
    larger = replace(bundle, file=tmp_path / "larger.edge")
    larger.file.write_bytes(bytes(size + 1000))
    for there in (True, False):
        small, large = (needed_bytes(each, release_there=there) for each in (request, replace(request, bundle=larger)))
        assert [more - less for more, less in zip(large, small, strict=True)] == [1000, 1000]
    assert needed_bytes(request, release_there=True)[0] == size


def test_a_bundle_that_does_not_fit_does_not_stay_in_part(site: Site) -> None:
    assert site.install("1").error is None
    before = site.fake.tree()
    part = f".{packed(site.folder / 'bundles', '2').digest[:12]}.edge"
    full = 'echo "mv: No space left on device" >&2; exit 1'
    site.fake.replace("mv", f'case "$*" in *"{part}"*) {full} ;; esac; exec /bin/mv "$@"')
    outcome = site.install("2")
    assert "No space left on device" in str(outcome.error)
    assert outcome.left == []
    assert site.fake.tree() == before


def test_the_lock_is_kept_while_files_are_sent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_TOUCHED_S", 0.0)
    assert site.install().error is None
    sent = next(number for number, argv in enumerate(site.fake.commands) if argv[0] == "send")
    assert site.fake.commands[sent + 1][2] == TOUCH


def test_an_empty_environment_in_a_root_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    fake = FakeBoard(tmp_path / "board")
    (fake.root / "srv/env/bin").mkdir(parents=True)
    board = Board(fake, Layout(PurePosixPath(fake.root)), system=False)
    board.outside = sys.executable
    before = fake.tree()
    release = Release("1-x", "/srv/env/bin/python", environment=PurePosixPath("/srv/env"))
    with pytest.raises(DeployError, match=r"/srv/env \(--python-env\) does not start edgewright; install it there"):
        ReleaseStep(board, release).check()
    assert fake.tree() == before
