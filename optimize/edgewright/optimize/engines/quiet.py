"""Keeps libraries that talk about themselves off the user's terminal while they work for us."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["quiet"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences ``logging`` and ``warnings`` until the block ends.

    neural-compressor gives its logger a handler and a level of its own when it is imported, and PyTorch's exporters
    have a dozen loggers; only the floor below which nothing is logged at all survives that.
    """
    floor = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(floor)
