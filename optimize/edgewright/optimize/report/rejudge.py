"""A recorded report held against another contract; nothing is measured again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import BundleError
from edgewright.optimize.contract import Figures, Measured, judge, together
from edgewright.optimize.doubts import doubts_of
from edgewright.optimize.judge import unchanged_figures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.contract import Contract, Verdict

__all__ = ["figures_of", "rejudge"]


def rejudge(data: Mapping[str, Any], contract: Contract) -> Verdict:
    """Judges what a report holds by a contract of today; every format must keep it.

    Args:
        data: The report's JSON values.
        contract: The promises.

    Raises:
        BundleError: The report does not hold its figures in the form this version writes.
    """
    parts = [data, *data.get("further_formats", ())]
    # The name of the format only matters where there are two; reports of before had none.
    return together({str(part.get("format", "onnx")): judge(contract, figures_of(part)) for part in parts})


def figures_of(data: Mapping[str, Any]) -> Figures:
    """The figures that contracts are about.

    Args:
        data: The report's JSON values.

    Raises:
        BundleError: They are not there, or no intervals.
    """
    try:
        speed, judged = data["speed"], data["judged"]["name"]
        if data["judged"]["float_shipped"]:
            return unchanged_figures(int(data["size"]["float_bytes"]), labelled=data["labelled"] is not None)
        frames = {row["name"]: row["frames"] for row in speed["variants"]}
        ratios = [{**row, "samples": frames[judged]} for row in speed["ratios"] if row["variant"] == judged]
        labelled = data["labelled"] or {}
        return Figures(
            drop=_measured(labelled.get("headline")),
            agreement=_measured(data["agreement"]["headline"]),
            speedup=_measured(ratios[0] if ratios and not data["judged"]["foreign"] else None),
            size=Measured.exact(int(data["size"]["judged_bytes"])),
            doubts=doubts_of(labelled.get("doubt"), foreign=bool(data["judged"]["foreign"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"the bundle's report holds no figures to judge ({type(error).__name__}: {error}); make the bundle again"
        raise BundleError(msg) from error


def _measured(row: Mapping[str, Any] | None) -> Measured | None:
    if row is None or row["value"] is None:
        return None
    value, low, high = (float(row[key]) for key in ("value", "low", "high"))
    # Reports of earlier versions do not tell how many samples would be enough.
    enough, span = row.get("enough"), row.get("span")
    return Measured(
        value=value,
        low=low,
        high=high,
        samples=int(row["samples"]),
        enough=None if enough is None else int(enough),
        still=row.get("still") is True,
        span=None if span is None else (int(span[0]), int(span[1])),
    )
