"""How fast this machine multiplies: small networks of one kind of operator, run by the very engines that run bundles.

Every kernel is a short and a long chain of the same operator (``scripts/make_kernels`` makes them). The time of the long
one less that of the short one is the operators alone; what it costs to enter and leave a network cancels out. Chains take
turns, so that what else the machine does hits all of them alike, and medians are taken over the turns.

Keys of the result, by backend, where ``P`` is ``float32`` or ``int8``:

- ``P_pointwise_W_gmacs``, ``P_dense3_W_gmacs``, ``P_depthwise3_W_gmacs``, ``P_depthwise5_W_gmacs``: billions of
  multiplications a second of a 1 x 1, a dense 3 x 3 and a channel-wise convolution with ``W`` channels;
- ``P_stem_gmacs``: of a first convolution, from 3 channels to 32, stride 2;
- ``P_connected_1024_gmacs``: of a fully connected layer, which is bound by reading its weights;
- ``P_add_25k_gbs``, ``P_add_800k_gbs``: billions of bytes a second, read and written, of a sum of two tensors;
- ``P_operator_us``: microseconds that any operator costs however small, and ``P_run_us`` that any run costs.

Example:
    >>> probe_kernels(threads=1)["onnxruntime-cpu"]["int8_pointwise_64_gmacs"]  # doctest: +SKIP
    118.3
"""

from __future__ import annotations

import io
import json
import statistics
import time
import zipfile
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.manifest import Format
from edgewright.runtime.backends.choice import PROCESSOR, why_no_engine
from edgewright.runtime.backends.opening import open_backend
from edgewright.runtime.errors import BackendError
from edgewright.runtime.probing.pinned import pinned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.runtime.backends.base import Backend

__all__ = ["KERNELS_FILE", "ProbeSettings", "StoredKernel", "probe_kernels", "stored_kernels"]

KERNELS_FILE = "kernels.zip"
_INDEX = "index.json"
_SMALLEST = "operator"
_MOST_RUNS = 32


@dataclass(frozen=True)
class ProbeSettings:
    """How long and how to probe.

    Attributes:
        seconds: After these no further round is begun, but each chain has ``fewest`` turns a pass in any case.
        passes: So often everything is gone through: what disturbs the machine for some seconds meets only one pass.
        rounds: Turns of each chain in a pass.
        fewest: Turns of each chain in a pass on a machine too slow for all.
        turn_ms: A turn repeats its chain for so long, and counts the median.
    """

    seconds: float = 20.0
    passes: int = 3
    rounds: int = 11
    fewest: int = 2
    turn_ms: float = 1.0


@dataclass(frozen=True)
class StoredKernel:
    """A pair of chains in the packed file.

    Attributes:
        key: Key of the result.
        format: Which engine runs it.
        work: By how much the long chain is longer: multiplications, bytes, or operators.
        short: Name of the short chain.
        long: Name of the long one.
    """

    key: str
    format: Format
    work: int
    short: str
    long: str

    @property
    def precision(self) -> str:
        """``float32`` or ``int8``."""
        return self.key.partition("_")[0]


@dataclass(frozen=True)
class _Chain:
    """A loaded chain.

    Attributes:
        backend: It, in its engine.
        feeds: What it is fed.
        runs: So often it is run in a turn.
    """

    backend: Backend
    feeds: Mapping[str, NDArray[np.generic]]
    runs: int = 2

    def turn(self) -> float:
        """Runs it a few times; the median, microseconds."""
        times = []
        for _ in range(self.runs):
            started = time.perf_counter_ns()
            self.backend.run(self.feeds)
            times.append((time.perf_counter_ns() - started) / 1000)
        return statistics.median(times)


def stored_kernels(packed: bytes) -> tuple[StoredKernel, ...]:
    """What a packed file holds."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        rows = json.loads(archive.read(_INDEX))["kernels"]
    return tuple(
        StoredKernel(row["key"], Format(row["format"]), row["work"], row["short"], row["long"]) for row in rows
    )


def probe_kernels(
    threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
    settings: ProbeSettings = ProbeSettings(),
) -> Mapping[str, Mapping[str, float]]:
    """Times the kernels on every engine of this machine's processor; some 10 seconds, on a slow board up to 30.

    The calling thread keeps to the last ``threads`` processors meanwhile.

    Args:
        threads: Given to the engines.
        on_progress: Called with the steps done and their number.
        settings: How long and how.

    Returns:
        Backend to key to figure, all above 0; without the backends whose engine is not installed, and without a kernel
        that an engine refuses or that drowned in noise.
    """
    packed = resources.files("edgewright.runtime.probing").joinpath(KERNELS_FILE).read_bytes()
    kernels = [kernel for kernel in stored_kernels(packed) if why_no_engine(kernel.format) is None]
    groups: dict[tuple[Format, str], list[StoredKernel]] = {}
    for kernel in kernels:
        groups.setdefault((kernel.format, kernel.precision), []).append(kernel)
    visits = [members for _ in range(settings.passes) for members in groups.values()]
    turns: dict[StoredKernel, list[tuple[float, float]]] = {kernel: [] for kernel in kernels}
    deadline = time.monotonic() + settings.seconds
    with pinned(threads), zipfile.ZipFile(io.BytesIO(packed)) as archive:
        for number, members in enumerate(visits):
            if on_progress is not None:
                on_progress(number, len(visits))
            until = time.monotonic() + (deadline - time.monotonic()) / (len(visits) - number)
            pairs = _visit(archive, members, replace(settings, seconds=until - time.monotonic()), threads)
            for kernel, more in pairs.items():
                turns[kernel] += more
    if on_progress is not None:
        on_progress(len(visits), len(visits))
    found: dict[str, dict[str, float]] = {}
    for kernel, taken in turns.items():
        if taken:
            found.setdefault(PROCESSOR[kernel.format].value, {}).update(_figures(kernel, taken))
    return found


def _visit(
    archive: zipfile.ZipFile, kernels: Sequence[StoredKernel], settings: ProbeSettings, threads: int
) -> Mapping[StoredKernel, list[tuple[float, float]]]:
    """One engine, one precision: all its chains are loaded together and take turns; microseconds, short and long."""
    until = time.monotonic() + settings.seconds
    chains: dict[StoredKernel, tuple[_Chain, _Chain]] = {}
    for kernel in kernels:
        short, long = (
            _open(archive.read(name), kernel.format, threads, settings) for name in (kernel.short, kernel.long)
        )
        if short is not None and long is not None:
            chains[kernel] = (short, long)
    turns: dict[StoredKernel, list[tuple[float, float]]] = {kernel: [] for kernel in chains}
    for done in range(settings.rounds):
        if done >= settings.fewest and time.monotonic() > until:
            break
        for kernel, (short, long) in chains.items():
            # Side by side in time: what slows one slows the other. Who goes first changes.
            if done % 2:
                before = short.turn()
                turns[kernel].append((before, long.turn()))
            else:
                after = long.turn()
                turns[kernel].append((short.turn(), after))
    for pair in chains.values():
        for chain in pair:
            chain.backend.close()
    return turns


def _figures(kernel: StoredKernel, turns: Sequence[tuple[float, float]]) -> dict[str, float]:
    """A kernel's figure; that of the smallest operator tells of the price of a run as well."""
    spent = statistics.median(after - before for before, after in turns)
    if spent <= 0:
        return {}
    if kernel.key.endswith("_us"):
        each = spent / kernel.work
        run = statistics.median(before for before, _ in turns) - 2 * each  # its short chain is two operators
        named = kernel.key.replace(_SMALLEST, "run")
        return {kernel.key: each} | ({named: run} if run > 0 else {})
    return {kernel.key: kernel.work / spent / 1000}  # per microsecond, in billions per second


def _open(model: bytes, form: Format, threads: int, settings: ProbeSettings) -> _Chain | None:
    try:
        backend = open_backend(form, model, threads=threads)
        chain = _Chain(backend, {spec.name: _picture(spec.shape, spec.dtype) for spec in backend.inputs})
        chain.turn()  # the first runs allocate
        once = chain.turn()
    except BackendError:
        return None  # an engine too old for one kernel can still tell of the others
    return replace(chain, runs=int(min(max(settings.turn_ms * 1000 / max(once, 1.0), 1), _MOST_RUNS)))


def _picture(shape: Sequence[int], dtype: str) -> NDArray[np.generic]:
    """Numbers between -1 and 1, or all integers: nothing so small that a processor would take its time."""
    waves = np.resize(np.sin(np.arange(251) * 0.7), shape)
    return np.asarray(waves if dtype.startswith("float") else waves * 100).astype(dtype)
