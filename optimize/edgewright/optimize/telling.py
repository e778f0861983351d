"""What the report tells of a run beyond the verdict: tables that are measured for it alone, and how the result came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.chain.effort import FORMS, Chain
from edgewright.optimize.chain.mixed import OUT_OF_TIME, sqnr_rows
from edgewright.optimize.errors import OptimizeError
from edgewright.optimize.parity.measure import layer_rows, output_rows
from edgewright.optimize.recipe import recipe_text, reproduced_by
from edgewright.optimize.report.story import Story
from edgewright.optimize.target import predict_boards
from edgewright.optimize.variants.form import FLOAT, plain_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgewright.bundle.manifest import Format
    from edgewright.optimize.chain.run import ChainResult, State
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.compression.run import Stepped
    from edgewright.optimize.loading import Loaded
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.shipping import Choice, FormFigures
    from edgewright.optimize.target import Target

__all__ = ["Found", "Teller", "reproduced", "says_nothing_of_boards"]


@dataclass(frozen=True, eq=False)
class Found:
    """What a run came to.

    Attributes:
        chained: The search's result.
        target: The board it is for.
        rows: First figures of every form, by format.
        choice: The form of the first format, and why.
        parity: Whether the forms say the same.
        path: What became of the network after every training step.
        steps: The training steps.
    """

    chained: ChainResult
    target: Target
    rows: Mapping[Format, Sequence[FormFigures]]
    choice: Choice
    parity: Mapping[str, list[dict[str, Any]]]
    path: Sequence[Mapping[str, Any]] = ()
    steps: tuple[Stepped, ...] = ()


class Teller:
    """Measures what only the report wants; a run that is measured and judged does not end for want of it."""

    def __init__(self, request: OptimizeRequest, chain: Chain, bench: Workbench) -> None:
        """Measures nothing yet.

        Args:
            request: Of the run.
            chain: A brief one leaves out what is slow to measure.
            bench: Runs candidates; knows the deadline, and whom to tell.
        """
        self._request, self._chain, self._bench = request, chain, bench

    def parity(
        self, draft: Path, loaded: Loaded, small: Loaded, axes: Mapping[str, Mapping[str, tuple[int, ...]]]
    ) -> Mapping[str, list[dict[str, Any]]]:
        """Whether the forms say the same, output by output and layer by layer.

        Args:
            draft: The bundle with all forms.
            loaded: The network as it was given.
            small: The network that was quantized.
            axes: How the tensors of TFLite files lie, by form.
        """
        with self._bench.progress.stage("compare source, ONNX and TFLite"):
            outputs = self._if_it_can(lambda: output_rows(draft, loaded.source))
            layers = []
            if axes and not self._chain.brief:
                # Layers are those of the network that was quantized.
                its = {name: lie for name, lie in axes.items() if not small.steps or FLOAT not in name}
                layers = self._if_it_can(lambda: layer_rows(draft, small.source, small.prepared, its))
        return {"outputs": outputs, "layers": layers}

    def story(self, found: Found, roles: Roles) -> Story:
        """How the result came about.

        Args:
            found: The result.
            roles: The pictures.
        """
        chained, best, search = found.chained, found.chained.best, self._request.search
        details = chained.details
        return Story(
            trials=[trial.values() for trial in chained.trials],
            forms=[row.values() for rows in found.rows.values() for row in rows],
            parity=found.parity,
            path=found.path,
            training=[*(step.to_json() for step in found.steps), *details.get("training", ())],
            choice=found.choice.why,
            recipe=recipe_text(reproduced(self._request.recipe, best, found.choice)),
            pictures={"calibration": roles.calibrated.to_json(), "selection": roles.selected.to_json()},
            stability=chained.stability,
            sensitivity=self._sensitivity(chained),
            heads=details.get("heads", ()),
            boards=self._boards(chained),
            target={
                "profile": search.profile,
                "scheme": found.target.scheme.name,
                "reasons": list(found.target.reasons),
                "engine": search.engine.value,
                "effort": search.effort.value if search.chain is None else "by hand",
            },
        )

    def _sensitivity(self, chained: ChainResult) -> Mapping[str, Any] | None:
        known: Mapping[str, Any] | None = chained.details.get("sensitivity")
        if known is not None or self._chain.brief:
            return known
        tensors = self._if_it_can(lambda: sqnr_rows(self._bench, chained.best))
        return {"regions": [], "tensors": tensors} if tensors else None

    def _boards(self, chained: ChainResult) -> list[dict[str, Any]]:
        profile = self._request.search.profile
        if says_nothing_of_boards(self._chain, profile):
            return []
        return self._if_it_can(lambda: predict_boards(chained.best.graph, self._bench, profile))

    def _if_it_can(self, compute: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        if self._bench.deadline.passed:
            self._bench.progress.note(f"a table was left out of the report: {OUT_OF_TIME}")
            return []
        try:
            return compute()
        except OptimizeError as error:
            self._bench.progress.note(f"left out of the report: {error}")
            return []


def reproduced(values: Mapping[str, Any], best: State, choice: Choice) -> dict[str, Any]:
    """The settings that make the shipped file again.

    Args:
        values: The settings of the run, by key.
        best: The search's winner.
        choice: The form that is shipped.
    """
    form = None if choice.gated else plain_name(choice.name)
    further = (form,) if form in FORMS else ()
    return reproduced_by(values, (*best.names, *further) if best.by_passes else None, best.keep_float, form)


def says_nothing_of_boards(chain: Chain, profile: str | None) -> bool:
    """Whether no other board is emulated: a brief chain for this machine.

    Args:
        chain: Of the run.
        profile: The board it is for.
    """
    return chain.brief and profile is None
