"""Installing: the order of the steps, over SSH or on the board itself.

Example:
    >>> with SshHost("pi@gate-1.local") as host:                                     # doctest: +SKIP
    ...     deployment = Deployment(Board(host, Layout()), request)
    ...     outcome = deployment.install(on_result=print)
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edgewright.deploy.asking import read_facts
from edgewright.deploy.errors import DeployError
from edgewright.deploy.facts import Python
from edgewright.deploy.judging import Wanted, why_not
from edgewright.deploy.layout import USER
from edgewright.deploy.lock import BoardLock
from edgewright.deploy.one_at_a_time import run_under
from edgewright.deploy.plan import State, StepResult
from edgewright.deploy.request import Journal, formats_for, needed_bytes, release_for
from edgewright.deploy.root_facts import environment_in, runs_here
from edgewright.deploy.root_tree import refuse_ways_out
from edgewright.deploy.service import ServiceManager
from edgewright.deploy.steps.activate import ActivateStep
from edgewright.deploy.steps.bundle import BundleStep
from edgewright.deploy.steps.config import ConfigStep
from edgewright.deploy.steps.file import FileStep
from edgewright.deploy.steps.folders import FoldersStep
from edgewright.deploy.steps.offline import EnabledStep, sysusers_text, tmpfiles_text
from edgewright.deploy.steps.proof import ProofStep
from edgewright.deploy.steps.release import ReleaseStep
from edgewright.deploy.steps.tidy import TidyStep
from edgewright.deploy.steps.user import UserStep
from edgewright.deploy.uninstall import uninstall
from edgewright.deploy.unit import UnitPaths, render_journald, render_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.deploy.board import Board
    from edgewright.deploy.facts import Facts
    from edgewright.deploy.plan import Outcome, Step
    from edgewright.deploy.request import Request

__all__ = ["Deployment", "start_by_hand", "uninstall"]

_VENDOR = """
import importlib.metadata, os
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
print(importlib.metadata.version("onnxruntime-gpu"))
import onnxruntime
print(*onnxruntime.get_available_providers())
"""
_VENDOR_BACKENDS = {"onnxruntime-cuda", "onnxruntime-tensorrt"}


class Deployment:
    """One bundle on one board.

    Attributes:
        facts: What the board said of itself; None before ``look``.
        notes: What its owner should know.
        release: Name of the release; empty before ``look``.
    """

    def __init__(
        self,
        board: Board,
        request: Request,
        *,
        on_bytes: Callable[[str, int, int], None] | None = None,
        service: ServiceManager | None = None,
    ) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            request: What is wanted.
            on_bytes: Told of the name of a file that is sent, its bytes sent, and their number.
            service: Watches the service; None takes one with the usual patience.
        """
        self._board = board
        self._request = request
        self._on_bytes = on_bytes
        self._lock = BoardLock(board, "install")
        self._service = (service or ServiceManager(board)) if request.service and board.system else None
        self.facts: Facts | None = None
        self.notes: list[str] = []
        self.release = ""

    def install(
        self,
        on_result: Callable[[StepResult], None],
        *,
        on_begin: Callable[[str], None] | None = None,
        dry: bool = False,
    ) -> Outcome:
        """Does what is missing.

        Args:
            on_result: Told of every step as it ends.
            on_begin: Told the title of every step that begins to work.
            dry: Only look.

        Raises:
            HostUnreachable: The board cannot be talked to.
            DeployError: It is not as it must be; nothing was changed.
        """
        steps = self._steps()
        on_result(StepResult("board", State.UNCHANGED, str(self.facts)))
        activation = next(step for step in steps if isinstance(step, ActivateStep))
        return run_under(
            self._lock,
            steps,
            on_result,
            # Once the new is in use, the former must not be put back: tidying may have removed what that needs.
            afterwards=[TidyStep(self._board)],
            after_undo=activation.start_former,
            on_begin=on_begin,
            dry=dry,
        )

    def _steps(self) -> list[Step]:
        board, request, layout = self._board, self._request, self._board.layout
        formats = formats_for(request.bundle, request.profile)
        if request.bundle.manifest.golden is None:
            msg = (
                f"{request.bundle.file.name} carries no golden answers, so nothing could show that {board.name} computes "
                f"the same; make it again with edgewright optimize"
            )
            raise DeployError(msg)
        if not board.system:
            refuse_ways_out(layout)
        facts = self.facts = read_facts(board, time.time)
        release_name, release = self._release(facts)
        self.release = release_name
        told = layout.profile if request.profile_text is not None else request.profile.name
        profile_there = layout.on(layout.profile) if request.profile_text is not None else told
        bundle = request.bundle
        steps: list[Step] = [UserStep(board)] if board.system else []
        steps += [
            FoldersStep(board, units=request.service),
            release,
            ConfigStep(board, request.settings, str(told), request.config),
        ]
        if request.profile_text is not None:
            steps.append(FileStep(board, "profile", layout.profile, request.profile_text))
        steps += [
            BundleStep(board, bundle.file, bundle.digest, self._sent),
            ProofStep(
                board,
                release=release_name,
                manifest=bundle.manifest,
                digest=bundle.digest,
                formats=[form.value for form in formats],
                arguments=["--profile", str(profile_there), *self._engine_cache()],
            ),
            *self._service_steps(),
            ActivateStep(
                board, release=release_name, digest=bundle.digest, service=self._service, wait_s=request.wait_s
            ),
        ]
        if bundle.manifest.provenance.verdict in {"FAIL", "INCONCLUSIVE"}:
            self.notes.append(
                f"this bundle's contract ended {bundle.manifest.provenance.verdict}; see 'edgewright report'"
            )
        return steps

    def _sent(self, name: str, sent: int, total: int) -> None:
        self._lock.keep()
        if self._on_bytes is not None:
            self._on_bytes(name, sent, total)

    def _release(self, facts: Facts) -> tuple[str, ReleaseStep]:
        board, request = self._board, self._request
        vendor = request.environment is None and self._has_vendor_engine(facts)
        house = request.wheelhouse
        version = None if house is None or request.environment is not None else house.python
        wanted = Wanted(
            architecture=None if request.profile.architecture is None else request.profile.architecture.value,
            profile=request.profile.name,
            python=version,
            needed_bytes=needed_bytes(request),
            service=self._service is not None or (facts.is_folder and request.service),
            root=board.system,
            new_environment=request.environment is None,
            longest_skew_s=request.longest_skew_s,
            online=house is None,
        )
        python = facts.python_for(version)
        if facts.is_folder:
            python = self._python_of_root(python)
        release = None
        if python is not None:
            incoming = board.layout.on(board.layout.incoming)
            release = release_for(request, facts, python, incoming, vendor_engine=vendor)
            if board.run(["test", "-e", str(board.layout.on(board.layout.release(release.name)))]).ok:
                wanted = replace(wanted, needed_bytes=needed_bytes(request, release_there=True))
        reasons = why_not(board.name, facts, wanted)
        if reasons or release is None:
            raise DeployError("\n".join(reasons))
        if vendor:
            self.notes.append("the system's own onnxruntime-gpu is used; no other is installed beside it")
        offline = (
            f"make a wheelhouse here and give it along: edgewright wheelhouse wheels --profile {request.profile.name} "
            f"--python {python.short if python else '3.11'}  then --wheelhouse wheels"
            if house is None
            else "make the wheelhouse again"
        )
        return release.name, ReleaseStep(board, release, on_bytes=self._sent, help_offline=offline)

    def _python_of_root(self, python: Python | None) -> Python | None:
        """The interpreter that a root's release gets; what runs it from here is noted on the board."""
        board, environment = self._board, self._request.environment
        if environment is None:
            board.outside = None if python is None else python.runs or None
            return python
        inside = environment_in(board, environment)
        if inside is None:
            self.notes.append(f"{environment} does not lie in the root; it has to lie on the board when that starts")
            return python or Python(f"{environment}/bin/python", "", 64, makes_environments=False)
        place, version = inside
        board.outside = runs_here(board, version)
        if not board.outside:
            msg = (
                f"{board.name}: {environment} is for Python {version}, and this machine has none to try it with; install "
                f"that here (sudo apt install python{version} python{version}-venv), or boot that system and use "
                f"'edgewright deploy'"
            )
            raise DeployError(msg)
        return Python(place, version, 64, makes_environments=False, runs=board.outside)

    def _has_vendor_engine(self, facts: Facts) -> bool:
        """Whether the system's Python has an ONNX Runtime that computes on the board's graphics processor."""
        backends = self._request.profile.backends
        if facts.is_folder or facts.python is None or backends is None or not _VENDOR_BACKENDS & set(backends.value):
            return False
        done = self._board.host.run([facts.python.path, "-I", "-c", _VENDOR], timeout_s=120.0)
        if done.ok and ("CUDAExecutionProvider" in done.out or "TensorrtExecutionProvider" in done.out):
            return True
        house = self._request.wheelhouse
        if house is None or not any(wheel.name.startswith("onnxruntime_gpu-") for wheel in house.files):
            self.notes.append(
                "no onnxruntime-gpu of the vendor was found for the system's Python, so models run on the processor; "
                "install NVIDIA's wheel there, or put it into the wheelhouse (--wheel FILE)"
            )
        return False

    def _engine_cache(self) -> list[str]:
        """TensorRT's engines, compiled for the proof, serve the service, too."""
        backends = self._request.profile.backends
        compiles = backends is not None and "onnxruntime-tensorrt" in backends.value
        return ["--engine-cache", str(self._board.layout.on(self._board.layout.engines))] if compiles else []

    def _service_steps(self) -> list[Step]:
        board, request, layout = self._board, self._request, self._board.layout
        if not request.service:
            return []
        unit = render_unit(
            UnitPaths(layout.current / "bin" / "edgewright", layout.config, layout.state), request.profile
        )
        journald = render_journald(request.journal_mb, volatile=request.journal is Journal.VOLATILE)
        service = self._service
        steps: list[Step] = [
            FileStep(board, "unit", layout.unit, unit, afterwards=None if service is None else service.reload),
            FileStep(
                board,
                "journal limits",
                layout.journald,
                journald,
                afterwards=None if service is None else service.reload_journal,
            ),
        ]
        if not board.system:
            steps += [
                FileStep(board, "service user", layout.sysusers, sysusers_text(layout)),
                FileStep(board, "owners", layout.tmpfiles, tmpfiles_text(layout)),
                EnabledStep(board),
            ]
        return steps


def start_by_hand(board: Board) -> str:
    """The command that runs the camera where no service does."""
    layout = board.layout
    command = f"{layout.current}/bin/edgewright run --config {layout.config}"
    return f"sudo runuser -u {USER} -- {command}" if board.system else command
