"""What a board has and runs after a deployment, asked of the board itself, and the commands that come next."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import EdgewrightError
from edgewright.deploy.interpreter import HOMELESS, interpreter
from edgewright.deploy.layout import SERVICE, USER
from edgewright.deploy.service import ServiceManager
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.deploy.board import Board
    from edgewright.deploy.request import Request

__all__ = ["Summary", "Way", "look"]

_ASK_S = 120.0
# The very choice that the service makes when it starts. Paths are another root's where one is being built.
_CHOOSE = """
import json, sys
from pathlib import Path
from edgewright.bundle.reader import open_bundle
from edgewright.device.board import engine_threads
from edgewright.device.config import load_config
from edgewright.device_profiles.profile import load_profile
from edgewright.runtime.backends.choice import backends_for, engine_options, engine_version
from edgewright.runtime.choose import choose
def there(place):
    return Path(sys.argv[1]) / str(place).lstrip("/")
model = load_config(there(sys.argv[2])).model
profile = model.profile if model.profile is None or "/" not in model.profile else str(there(model.profile))
board = None if profile is None else load_profile(profile)
options = engine_options(board, model.delegate, model.delegate_options)
with open_bundle(there(model.bundle)) as bundle:
    picks = None if model.picks is None else there(model.picks)
    choice = choose(bundle, model.variant, engine_threads(model.threads, board), options=options, picks=picks)
    form = next(each.format for each in bundle.manifest.variants if each.name == choice.variant)
backend = choice.backend or next(iter(backends_for(form, options)), None)
engine = None if backend is None else engine_version(backend)
print(json.dumps({"variant": choice.variant, "why": choice.why, "engine": engine, "notes": choice.notes}))
"""
_LONGEST = 200


@dataclass(frozen=True)
class Way:
    """How the board is reached from where the command was given; empty words for this very machine.

    Attributes:
        target: ``USER@HOST``.
        port: The one that was named.
        identity: The key that was named.
        options: Of ssh.
    """

    target: str = ""
    port: int | None = None
    identity: str | None = None
    options: tuple[str, ...] = ()

    @property
    def flags(self) -> str:
        """Of edgewright's own verbs, as a shell reads them."""
        words = [] if self.port is None else ["--port", str(self.port)]
        words += [] if self.identity is None else ["--identity", self.identity]
        return shlex.join([*words, *(word for option in self.options for word in ("--ssh-option", option))])

    @property
    def ssh(self) -> str:
        """The ssh command, as a shell reads it."""
        words = ["ssh"] + ([] if self.port is None else ["-p", str(self.port)])
        words += [] if self.identity is None else ["-i", self.identity]
        return shlex.join([*words, *(f"-o{option}" for option in self.options), self.target])


@dataclass(frozen=True)
class Summary:
    """What is there now.

    Attributes:
        release: The environment in use.
        bundle: The bundle in use, by name and version, and where it lies.
        variant: What of it runs, on what, and why; empty when the board did not say.
        settings: Where they are.
        service: How it fares, or what starts the camera.
        former: The bundle that was in use before, by its place; None for none.
        commands: What to do next, by purpose.
        notes: What its owner should know.
    """

    release: str = ""
    bundle: str = ""
    variant: str = ""
    settings: str = ""
    service: str = ""
    former: str | None = None
    commands: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For people."""
        rows = {
            "release": self.release,
            "bundle": self.bundle,
            "variant": self.variant,
            "settings": self.settings,
            "service": self.service,
            **{purpose: command for purpose, command in self.commands.items() if command},
        }
        width = max(map(len, rows))
        return [f"  {name:{width}}  {words}" for name, words in rows.items() if words]


def look(board: Board, request: Request, release: str, way: Way, *, start: str, given: str) -> Summary:
    """Asks the board; a board that does not answer any more changes nothing of what was done.

    Args:
        board: Which.
        request: What was asked for.
        release: The release in use.
        way: How it is reached.
        start: The command that runs the camera where no service does.
        given: The bundle as it was named.
    """
    layout, manifest = board.layout, request.bundle.manifest
    bundle = f"{manifest.name} {manifest.version}, {layout.bundle(request.bundle.digest)}"
    told: dict[str, Any] = {}
    notes: list[str] = []
    former: str | None = None
    service = "started by systemd at the first boot of that system" if request.service else "none; start it by hand"
    try:
        former_bundle = board.links(layout.former_bundle)[0]
        former = None if former_bundle is None else str(layout.former_bundle)
        told = _chosen(board, release)
        if request.service and board.system:
            service = _state(board)
    except EdgewrightError as error:
        notes.append(f"all is done, but the board could not be asked how it fares now: {brief(str(error))}")
        service = "" if request.service and board.system else service
    variant = "" if not told else f"{told['variant']} on {told['engine'] or 'no engine'}: {told['why']}"
    return Summary(
        release=str(layout.release(release)),
        bundle=bundle,
        variant=variant,
        settings=str(layout.config),
        service=service,
        former=former,
        commands=_commands(board, request, way, _Words(start, given, former)),
        notes=(*notes, *told.get("notes", ())),
    )


def _chosen(board: Board, release: str) -> dict[str, Any]:
    """What the service chooses to run; empty when the release does not say."""
    layout = board.layout
    as_user = ["runuser", "-u", USER, "--"] if board.system else []
    python, *isolated = interpreter(board, layout.on(layout.release(release)))
    argv = [*as_user, *HOMELESS, python, "-B", *isolated, "-c", _CHOOSE, str(layout.root), str(layout.config)]
    done = board.run(argv, timeout_s=_ASK_S)
    line = next((line for line in reversed(done.out.splitlines()) if line.startswith("{")), "")
    try:
        told = json.loads(line) if done.ok and line else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(told, dict) or not {"variant", "why", "engine"} <= told.keys():
        return {}
    notes = told.get("notes")
    few = notes[:10] if isinstance(notes, list) else []
    words = {key: brief(str(told[key]), _LONGEST) if told[key] else "" for key in ("variant", "why", "engine")}
    return {**words, "notes": [brief(str(note), _LONGEST) for note in few]}


def _state(board: Board) -> str:
    state = ServiceManager(board).state()
    active, sub = state.get("ActiveState", "?"), state.get("SubState", "?")
    restarts = state.get("NRestarts", "0")
    more = "" if restarts == "0" else f", restarted by itself {restarts} times"
    return f"{SERVICE} is {brief(active, 40)} ({brief(sub, 40)}){more}"


@dataclass(frozen=True)
class _Words:
    """What commands name: what starts the camera by hand, the bundle as it was named, the former one there."""

    start: str
    given: str
    former: str | None


def _packages(request: Request) -> str:
    """Where a release takes its packages from, as it was said: an offline board has no other place."""
    if request.environment is not None:
        return f" --python-env {shlex.quote(str(request.environment))}"
    return "" if request.wheelhouse is None else f" --wheelhouse {shlex.quote(str(request.wheelhouse.folder))}"


def _commands(board: Board, request: Request, way: Way, words: _Words) -> dict[str, str]:
    """By purpose: start, log, doctor, bench, roll back."""
    layout, unit = board.layout, SERVICE.removesuffix(".service")
    at = f"{shlex.quote(way.target)} {way.flags}".strip() if way.target else ""
    far = bool(way.target)
    hand = {} if request.service else {"start": f"{way.ssh} {words.start}" if far else words.start}
    if not board.system:
        return hand
    program = layout.current / "bin" / "edgewright"
    log = "journalctl -u " + unit + " -f"
    profile = shlex.quote(request.profile.name if request.profile_text is None else "PROFILE.toml")
    verb = f"deploy {at}" if far else "install"
    fetch = f"{way.ssh} sudo cat {words.former}" if far else f"sudo cat {words.former}"
    commands = {
        **hand,
        "log": ("" if not request.service else f"{way.ssh} sudo {log}" if far else f"sudo {log}"),
        "doctor": f"edgewright doctor --remote {at}" if far else f"sudo {program} doctor --config {layout.config}",
        "bench": f"edgewright bench {shlex.quote(words.given)} --remote {at}"
        if far
        else f"sudo {program} bench {layout.active}",
        "roll back": f"{fetch} > former.edge && edgewright {verb} former.edge --profile {profile}{_packages(request)}"
        if words.former
        else "",
    }
    return {purpose: command for purpose, command in commands.items() if command}
