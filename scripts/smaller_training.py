"""The trainings of ``scripts/prove_smaller``: a student alone and distilled, and a network trained with simulated integers.

Both go through the packages that ``edgewright optimize`` goes through, and are looked at on the test pictures once they are
over: by the PyTorch module, and as the exported file through the ``Session`` that devices run.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch  # noqa: TID253 - this script trains PyTorch networks
from examples.fashion.data import SIDE
from examples.fashion.residual import factory
from examples.fashion.train_residual import DISTORT, untrained
from smaller_figures import all_of, paired_difference, rounded

from edgewright.bundle.arrays import npz_bytes, read_npz
from edgewright.bundle.atomic import write_bytes
from edgewright.bundle.manifest import Format
from edgewright.bundle.reader import open_bundle
from edgewright.optimize.calibration import RangeChoice, calibrate
from edgewright.optimize.compression.learning import hold_out
from edgewright.optimize.distillation import DistilSettings, Teacher, distilled
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.progress import open_progress
from edgewright.optimize.pruning.network import cost_of_module
from edgewright.optimize.qat.train import QatSettings, QatStart, train_quantized
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.sources import load_source
from edgewright.optimize.training.losses import Supervised, top1_metric
from edgewright.optimize.training.sets import TrainingData, open_training_set
from edgewright.optimize.training.sets.pictures import PictureSet
from edgewright.optimize.training.settings import OptimizerName, TrainSettings
from edgewright.optimize.training.trainer import Trainer
from edgewright.runtime.backends.opening import open_backend
from edgewright.runtime.bench_ratio import ratio_of
from edgewright.runtime.session import Session, open_session
from edgewright.runtime.types import Classification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.optimize.progress import Progress
    from edgewright.optimize.sources import FloatModel
    from edgewright.optimize.spec import ModelSpec, SourceModel
    from edgewright.optimize.training.types import Objective

__all__ = ["prove_distilled", "simulate", "time_files"]

STUDENT = TrainSettings(
    epochs=3.0,
    batch=128,
    rate=0.1,
    optimizer=OptimizerName.SGD,
    weight_decay=5e-4,
    warmup=0.1,
    evaluations=0,
    mixed=True,
    threads=1,
)
"""Of the student, alone and taught; chosen, as what follows, on another seed and on training pictures held out."""
TAUGHT = DistilSettings(labels=0.3, logits=1.0, temperature=4.0)
SMOOTHING = 0.1  # of the labels of the student alone
STUDENT_MACS = 0.1  # of the teacher's, at most
SIMULATION_APART = 0.1  # points between PyTorch and the file
BROKEN, RESTORED = 3.0, 1.0  # points that plain INT8 loses, and that training may lose
_OPENINGS, _BLOCKS, _FRAMES = 12, 6, 50


def prove_distilled(pictures: Path, weights: Path, work: Path, seeds: Sequence[int], epochs: float) -> dict[str, Any]:
    """The student alone and taught, from the same first weights, over the same distorted pictures in the same order.

    Args:
        pictures: Folder that ``examples.fashion.data`` filled.
        weights: Of the teacher.
        work: For checkpoints and weights; what is there already is taken.
        seeds: One pair of trainings each.
        epochs: Of each training.

    Returns:
        JSON values; accuracies in percent of all test pictures.
    """
    settings = dataclasses.replace(STUDENT, epochs=epochs)
    torch.set_num_threads(1)
    teacher = Teacher(factory(weights))
    example = torch.zeros(1, 3, SIDE, SIDE)
    student = untrained(small=True, seed=1)
    costs = [cost_of_module(module, example, "network").macs for module in (student.module, teacher.module)]
    macs = costs[0] / costs[1]
    rows: list[dict[str, Any]] = []
    with open_progress() as progress:
        train = _opened(TrainingData(str(pictures / "train.npz"), distort=DISTORT), student.spec, progress)
        test = _opened(TrainingData(str(pictures / "test.npz")), student.spec, progress)
        look = top1_metric(test, student.spec, student.output_names)
        makers: dict[str, Callable[[SourceModel], Objective]] = {
            "alone": lambda source: Supervised(source.spec, source.output_names, smoothing=SMOOTHING),
            "distilled": lambda source: distilled(source, teacher, TAUGHT),
        }
        for seed in seeds:
            row: dict[str, Any] = {"seed": seed}
            for name, make in makers.items():
                source = untrained(small=True, seed=seed)
                trainer = Trainer(dataclasses.replace(settings, seed=seed), folder=work / "students", progress=progress)
                trainer.fit(source.module, train, make(source), title=f"{name}-{seed}")
                _save(source, work / f"{name}-{seed}.npz")
                row[name] = round(100 * look(source.module), 2)
            rows.append(row)
        taught = round(100 * look(teacher.module), 2)
    apart = paired_difference([row["distilled"] for row in rows], [row["alone"] for row in rows])
    files = {name: _file_top1(work / f"{name}-{seeds[0]}.npz", pictures) for name in makers}
    return {
        "proved": all_of([macs <= STUDENT_MACS, apart[1] > 0]),
        "macs_of_teachers": round(macs, 4),
        "teacher": taught,
        "epochs": epochs,
        "seeds": rows,
        "alone": round(statistics.fmean(row["alone"] for row in rows), 2),
        "distilled": round(statistics.fmean(row["distilled"] for row in rows), 2),
        "points_gained": rounded(apart),
        "files_of_first_seed": files,
    }


def simulate(pictures: Path, weights: Path) -> dict[str, Any]:
    """Trains with simulated integers from plain INT8, and compares what PyTorch says at the end with the file's answers.

    Args:
        pictures: Folder that ``examples.fashion.data`` filled.
        weights: Of the depthwise network.

    Returns:
        JSON values; accuracies in percent of all test pictures.
    """
    torch.set_num_threads(1)
    model = load_source("examples.fashion.model:factory", weights=weights)
    prepared = prepare_graph(model.model, model.feeds).model
    shown = _tensor(_split(pictures / "calibrate.npz")[0])
    plain = RangeChoice.parse("minmax")
    feeds = {model.inputs[0].name: shown}
    ranges = calibrate(prepared, lambda: _one_by_one(feeds), choices=[plain]).ranges(plain, symmetric=False)
    start = QatStart(prepared, ranges, quantize_graph(prepared, ranges))
    seen: list[float] = []
    with open_progress() as progress:
        train, _ = hold_out(_opened(TrainingData(str(pictures / "train.npz")), model.spec, progress))
        test = _opened(TrainingData(str(pictures / "test.npz")), model.spec, progress)
        look = top1_metric(test, model.spec, [output.name for output in model.outputs])

        def watch(module: torch.nn.Module) -> float:
            # Called once, after the last step: nothing is chosen by it.
            seen.append(100 * look(module))
            return seen[-1]

        settings = QatSettings(train=TrainSettings(epochs=1.0, weight_decay=0.0, threads=1, evaluations=1))
        started = time.monotonic()
        result = train_quantized(start, train, settings, decode=model.spec.decode, evaluate=watch, progress=progress)
        seconds = time.monotonic() - started
    answers = {
        "plain": _top1(_session(model, start.graph.model, start.graph.engine), pictures),
        "file": _top1(_session(model, result.graph.model, result.graph.engine), pictures),
        "float_graph": _top1(_session(model, result.model), pictures),
    }
    apart = abs(seen[-1] - answers["file"])
    return {
        "proved": len(seen) == 1 and apart <= SIMULATION_APART + 1e-9,
        "simulated": round(seen[-1], 2),
        **answers,
        "points_apart": round(apart, 3),
        "constants_put_right": result.replaced,
        "steps": result.trained.steps,
        "seconds": round(seconds),
    }


def time_files(first: Path, second: Path, pictures: Path) -> list[float]:
    """How many times faster the ``int8`` file of the second bundle is than that of the first, with its interval.

    Both are opened anew several times and take turns, so that neither where one happens to lie in memory nor what else
    the machine does decides.
    """
    images = _split(pictures / "test.npz")[0][:_FRAMES]
    frames = [cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) for image in images]
    medians: dict[str, list[float]] = {"first": [], "second": []}
    for opening in range(_OPENINGS):
        sessions = {
            name: open_session(open_bundle(path), "int8", 1)
            for name, path in zip(medians, (first, second), strict=True)
        }
        for block in range(_BLOCKS):
            for name in sorted(sessions, reverse=bool((opening + block) % 2)):
                times = []
                for frame in frames:
                    started = time.perf_counter()
                    sessions[name].infer(frame)
                    times.append(time.perf_counter() - started)
                medians[name].append(statistics.median(times))
        for session in sessions.values():
            session.close()
    ratio = ratio_of("first", "second", medians)
    return [ratio.value, ratio.low, ratio.high]


def _opened(data: TrainingData, spec: ModelSpec, progress: Progress) -> PictureSet:
    found = open_training_set(data, spec, progress=progress)
    if not isinstance(found, PictureSet):
        msg = f"{data.source} holds no pictures"
        raise TypeError(msg)
    return found


def _save(source: SourceModel, path: Path) -> None:
    write_bytes(path, npz_bytes({name: value.numpy() for name, value in source.module.state_dict().items()}))


def _file_top1(weights: Path, pictures: Path) -> float:
    """Of the exported student."""
    model = load_source("examples.fashion.residual:student", weights=weights)
    return _top1(_session(model, model.model), pictures)


def _session(model: FloatModel, file: bytes, engine: Mapping[str, Any] | None = None) -> Session:
    """An ONNX file, fed and read as the model's spec says."""
    spec = model.spec
    return Session(open_backend(Format.ONNX, file, engine=engine), spec.preprocess, spec.decode, spec.arrays)


def _top1(session: Session, pictures: Path) -> float:
    """Percent of all test pictures, one by one."""
    images, labels = _split(pictures / "test.npz")
    right = 0
    for image, label in zip(images, labels, strict=True):
        answer = session.infer(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
        right += isinstance(answer, Classification) and int(answer.class_ids[0]) == int(label)
    session.close()
    return round(100 * right / len(labels), 2)


def _split(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    arrays = read_npz(path.read_bytes(), str(path))
    return arrays["images"], arrays["labels"]


def _tensor(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 28, 28) uint8 to (n, 3, 28, 28) float, 0..1, as the network takes them."""
    return np.repeat(images[:, None].astype(np.float32) / np.float32(255.0), 3, axis=1)


def _one_by_one(feeds: Mapping[str, NDArray[np.float32]]) -> Iterator[dict[str, NDArray[np.float32]]]:
    ((name, values),) = feeds.items()
    for row in range(len(values)):
        yield {name: values[row : row + 1]}
