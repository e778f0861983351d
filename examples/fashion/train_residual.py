"""Trains the residual network (or the small one) on Fashion-MNIST from scratch, with the toolkit's own trainer.

    python -m examples.fashion.train_residual --pictures pictures --out residual.npz

Mirrored and shifted pictures, cross entropy with smoothed labels, SGD with a cosine rate. A run that was killed goes on
where it was when the same command is given again. Same machine, versions and number of threads give the same weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch  # noqa: TID253 - this script trains a PyTorch network

from edgewright.bundle.arrays import npz_bytes
from edgewright.bundle.atomic import write_bytes
from edgewright.bundle.errors import EdgewrightError
from edgewright.optimize.progress import open_progress
from edgewright.optimize.training.losses import Supervised, top1_metric
from edgewright.optimize.training.sets import Distort, TrainingData, open_training_set
from edgewright.optimize.training.sets.pictures import PictureSet
from edgewright.optimize.training.settings import OptimizerName, TrainSettings
from edgewright.optimize.training.trainer import Trainer
from examples.fashion.model import build
from examples.fashion.residual import STUDENT_WIDTHS, WIDTHS, ResidualNet

if TYPE_CHECKING:
    from edgewright.optimize.spec import SourceModel

__all__ = ["DISTORT", "RECIPE", "untrained"]

RECIPE = TrainSettings(
    epochs=6.0, batch=128, rate=0.1, optimizer=OptimizerName.SGD, weight_decay=5e-4, warmup=0.1, evaluations=1
)
"""How the networks are trained unless told otherwise."""
DISTORT = Distort(mirror=True, shift=2)
_SMOOTHING = 0.1


def untrained(*, small: bool, seed: int) -> SourceModel:
    """A network with its first weights."""
    torch.manual_seed(seed)
    widths, name = (STUDENT_WIDTHS, "fashion-student") if small else (WIDTHS, "fashion-residual")
    return build(ResidualNet(widths), name)


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Train a residual network on Fashion-MNIST.")
    parser.add_argument(
        "--pictures", type=Path, required=True, help="folder that python -m examples.fashion.data filled"
    )
    parser.add_argument("--out", type=Path, required=True, help="weights file to write (.npz)")
    parser.add_argument("--small", action="store_true", help="the small network")
    parser.add_argument("--epochs", type=float, default=RECIPE.epochs)
    parser.add_argument("--seed", type=int, default=RECIPE.seed)
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=RECIPE.checkpoint_minutes, metavar="M", help="between checkpoints"
    )
    parser.add_argument("--float32", action="store_true", help="no bfloat16, for processors without it")
    options = parser.parse_args()
    recipe = dataclasses.replace(
        RECIPE,
        epochs=options.epochs,
        seed=options.seed,
        threads=options.threads,
        mixed=not options.float32,
        checkpoint_minutes=options.checkpoint_minutes,
    )
    torch.set_num_threads(options.threads)
    try:
        with open_progress() as progress:
            source = untrained(small=options.small, seed=options.seed)
            data = TrainingData(str(options.pictures / "train.npz"), distort=DISTORT)
            pictures = open_training_set(data, source.spec, progress=progress)
            trainer = Trainer(recipe, folder=options.out.with_suffix(".checkpoints"), progress=progress)
            objective = Supervised(source.spec, source.output_names, smoothing=_SMOOTHING)
            trainer.fit(source.module, pictures, objective, title=source.spec.name)
            arrays = {name: value.numpy() for name, value in source.module.state_dict().items()}
            options.out.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(options.out, npz_bytes(arrays))
            test = open_training_set(TrainingData(str(options.pictures / "test.npz")), source.spec, progress=progress)
    except EdgewrightError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    if not isinstance(test, PictureSet):
        return 1
    right = top1_metric(test, source.spec, source.output_names)(source.module)
    sys.stdout.write(f"{options.out}: {100 * right:.2f} % of {len(test)} test pictures right\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
