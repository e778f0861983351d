"""Trains the depthwise network on Fashion-MNIST, on the processor, in a few minutes.

    python -m examples.fashion.train --data ~/.cache/edgewright/samples/fashion --out fashion.npz

The recipe (``Recipe``) is fixed, the seed too; a weights file that is there and was made by the same recipe, data and
network is left alone. Same machine, same versions and same number of threads give the same weights; elsewhere sums run
in another order, and the accuracy differs by a few tenths of a point.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch  # noqa: TID253 - this script trains a PyTorch network
from torch import nn  # noqa: TID253

from edgewright.bundle.arrays import npz_bytes, read_npz
from edgewright.bundle.atomic import write_bytes
from edgewright.bundle.errors import EdgewrightError
from examples.fashion.branches import BranchedNet, fold
from examples.fashion.data import Split, load_split
from examples.fashion.model import RECIPE_KEY, DepthwiseNet, load_weights

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Recipe", "accuracy", "train"]

_TEST_BATCH = 500


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes:
        epochs: Passes over the training pictures.
        batch: Pictures a step.
        rate: Largest learning rate of Adam; it rises to it over the first 30 % and falls to nearly nothing after.
        pictures: Training pictures used, from the first.
        seed: Of initial weights and order.
    """

    epochs: int = 1
    batch: int = 64
    rate: float = 0.1
    pictures: int = 20_000
    seed: int = 2

    @property
    def digest(self) -> str:
        """SHA-256 over the recipe and the code of the network and of its training."""
        code = b"".join((Path(__file__).parent / f"{name}.py").read_bytes() for name in ("model", "branches", "train"))
        return sha256(repr(sorted(asdict(self).items())).encode() + code).hexdigest()


def train(data: Split, recipe: Recipe, on_step: Callable[[int, int, float], None]) -> DepthwiseNet:
    """Trains from scratch.

    Args:
        data: Training pictures.
        recipe: How.
        on_step: Told the steps done, their number, and the loss.

    Returns:
        The network in its inference form.
    """
    torch.manual_seed(recipe.seed)
    network = BranchedNet().train()
    count = min(recipe.pictures, len(data.labels))
    steps = recipe.epochs * (count // recipe.batch)
    optimizer = torch.optim.Adam(network.parameters(), recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    labels, order = torch.from_numpy(data.labels), np.random.default_rng(recipe.seed)
    for step in range(steps):
        position = step % (count // recipe.batch)
        if position == 0:
            shuffled = order.permutation(count)
        rows = shuffled[position * recipe.batch : (position + 1) * recipe.batch]
        loss = nn.functional.cross_entropy(network(_tensor(data.images[rows])), labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        on_step(step + 1, steps, float(loss.detach()))
    return fold(network.eval())


def accuracy(network: DepthwiseNet, data: Split) -> float:
    """Share of pictures whose best class is right, 0..1."""
    right = 0
    with torch.no_grad():
        for start in range(0, len(data.labels), _TEST_BATCH):
            best = network(_tensor(data.images[start : start + _TEST_BATCH])).argmax(1).numpy()
            right += int((best == data.labels[start : start + _TEST_BATCH]).sum())
    return right / len(data.labels)


def _tensor(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> torch.Tensor:
    """(n, 28, 28) uint8 to (n, 3, 28, 28) float, 0..1; the camera path delivers three channels."""
    grey = torch.from_numpy(images.astype(np.float32) / 255.0)
    return grey[:, None].expand(-1, 3, -1, -1)


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Train the depthwise network on Fashion-MNIST.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the .gz files of scripts/samples fashion")
    parser.add_argument("--out", type=Path, required=True, help="weights file to write (.npz)")
    defaults = Recipe()
    parser.add_argument("--epochs", type=int, default=defaults.epochs)
    parser.add_argument("--pictures", type=int, default=defaults.pictures, metavar="N", help="training pictures used")
    parser.add_argument("--rate", type=float, default=defaults.rate, help="largest learning rate")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    # More than one gains little on layers this small, and loses much where others use the processors too.
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--force", action="store_true", help="train although the weights are there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(epochs=options.epochs, rate=options.rate, pictures=options.pictures, seed=options.seed)
    try:
        test = load_split(options.data, "t10k")
        if not options.force and _trained_as(options.out, recipe):
            sys.stderr.write(f"{options.out} is there, trained by the same recipe\n")
            network = DepthwiseNet()
            network.load_state_dict(load_weights(options.out), strict=True)
            network.eval()
        else:
            network = train(load_split(options.data, "train"), recipe, _Shown())
            arrays = {name: value.numpy() for name, value in network.state_dict().items()}
            arrays[RECIPE_KEY] = np.frombuffer(recipe.digest.encode(), np.uint8)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(options.out, npz_bytes(arrays))
    except EdgewrightError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    right = accuracy(network, test)
    sys.stdout.write(f"{options.out}: {100 * right:.2f} % of {len(test.labels)} test pictures right\n")
    return 0


def _trained_as(path: Path, recipe: Recipe) -> bool:
    try:
        arrays = read_npz(path.read_bytes(), str(path))
    except (OSError, EdgewrightError):
        return False
    return RECIPE_KEY in arrays and arrays[RECIPE_KEY].tobytes() == recipe.digest.encode()


class _Shown:
    """Progress with the time left on standard error: redrawn on a terminal, a line every tenth elsewhere."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._loss = 0.0

    def __call__(self, done: int, total: int, loss: float) -> None:
        self._loss = loss if done == 1 else 0.98 * self._loss + 0.02 * loss
        terminal = sys.stderr.isatty()
        if done != total and done % (20 if terminal else max(1, total // 10)):
            return
        left = (time.monotonic() - self._started) / done * (total - done)
        line = f"step {done} of {total}, loss {self._loss:.3f}, {left:.0f} s left"
        sys.stderr.write(f"\r{line}   " + ("\n" if done == total else "") if terminal else f"{line}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
