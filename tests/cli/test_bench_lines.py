"""What `edgewright bench` says of a result on a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from board_results import result

from edgewright.cli.bench_lines import result_lines
from edgewright.runtime.results.schema import BoardAccuracy, Figure


def said(name: str) -> list[str]:
    return list(result_lines(result(name)))


def test_a_machine_that_is_called_by_its_processor_is_named_once() -> None:
    first = said("Cortex-A76")[0]
    assert first.count("Cortex-A76") == 1
    assert said("gate 1")[0].startswith("gate 1: Cortex-A76 (4 x aarch64")


def test_one_thread_and_several_are_told_in_words() -> None:
    made = result()
    assert any(line.startswith("1 thread pinned to 3,") for line in result_lines(made))
    two = replace(made, setting=replace(made.setting, threads=2, pinned=()))
    assert any(line.startswith("2 threads, load") for line in result_lines(two))


@pytest.mark.parametrize(
    ("reference", "words"),
    [(0.62, "60.0 on the board, 62.0 of float here; 2.00 points"), (None, "lost against float here")],
)
def test_what_the_boards_answers_are_worth(reference: float | None, words: str) -> None:
    accuracy = BoardAccuracy(
        "int8", "ap50", "AP", "float here", Figure(0.6, 0.5, 0.7, 30), reference, Figure(2.0, -1.0, 5.0, 30), "c"
    )
    assert any(words in line for line in result_lines(result(accuracy=(accuracy,))))
