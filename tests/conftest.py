"""Shared by all tests: nothing here touches the network or the user's own files."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent

# Shared machines pause at will: a slow example is no failure here, speed lives in scripts/bench.
settings.register_profile("edgewright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgewright")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")


# Files that take longest, longest first. Handed out first, so that at the end no worker waits for another's last file;
# what is not named takes less than these, and comes after them.
_LONG = (
    "e2e/test_demo.py",
    "e2e/test_docs_examples.py",
    "e2e/test_docs_accuracy.py",
    "deploy/test_over_ssh.py",
    "optimize/pipeline/test_pipeline.py",
    "e2e/test_docs_formats.py",
    "optimize/sources/tensorflow/test_tensorflow.py",
    "e2e/test_small_demo.py",
    "optimize/sources/tensorflow/test_person_detector.py",
    "deploy/test_wheelhouse.py",
    "optimize/compression/test_steps_of_a_recipe.py",
    "optimize/pipeline/test_formats.py",
    "optimize/pipeline/test_recipes.py",
    "e2e/test_docs_boards.py",
    "optimize/pipeline/test_boards.py",
    "optimize/chain/test_run.py",
    "optimize/pipeline/test_doubts.py",
    "deploy/test_install_verb.py",
    "deploy/test_install.py",
    "deploy/test_bench_over_ssh.py",
    "cli/test_bench_remote.py",
    "cli/test_doctor.py",
    "cli/test_doctor_remote.py",
    "optimize/estimate/test_kernels_file.py",
    "device/test_run_command.py",
    "optimize/tflite/test_real_models.py",
    "examples/test_plain_onnx.py",
    "optimize/engines/test_torch_flow.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the tests of a file keep their order."""
    ranks = {HERE / name: rank for rank, name in enumerate(_LONG)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """A shell that starts a run in the background has it ignore Ctrl-C, and the tests of Ctrl-C with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def _step_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Finished steps of the optimizer are shared by the tests of one module, and by nothing else; so are picks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWRIGHT_PICKS", str(tmp_path_factory.mktemp("picks") / "picks.json"))
        patch.setenv("EDGEWRIGHT_CACHE", str(tmp_path_factory.mktemp("steps")))
        yield
