"""Did this gate come as it was foretold, and what is foretold of the next one?

The forecast of the next gate is written here, so that it is sealed with this gate's dossier, before the next tenth is
trained. At the next gate this command scores it, beside naive forecasts and whatever people have revealed. An outcome
further out than the level says makes the gate *surprised*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenth.forecasts import record as records
from tenth.forecasts import scored
from tenth.forecasts.automatic import automatic
from tenth.forecasts.record import AUTOMATIC
from tenth.forecasts.scored import Row

from .sealed import EvidenceError, Sealed, write

USUAL = "bits_per_byte"
COLUMNS = ["of", "by", "foretold", "from", "to", "came", "CRPS", "chance of something as far out"]
QUANTILES = ("0.05", "0.5", "0.95")


def main(sealed: Sealed, of: Sequence[str] = (), level: float = 0.01) -> None:
    """`of`: "panel.metric" of panels that stand before this one in the charter; by default every bits_per_byte.

    `level`: how often a gate may be called surprised although the forecaster is calibrated, over all questions.
    """
    record = records.read(sealed.folder)
    now = records.measured(sealed.out.parent)
    questions = list(of) or sorted(name for name in now if name.endswith(f".{USUAL}"))
    if (missing := [name for name in questions if name not in now]) or not questions:
        raise EvidenceError(
            "Nothing was foretold.", f"no panel before this one measures {', '.join(missing) or USUAL}",
            "name figures as PANEL.METRIC, of panels that stand above this one in the charter",
        )  # fmt: skip
    record.outcomes[sealed.gate] = now
    rows = [row for row in scored.rows(record) if row.question in questions and row.came is not None]
    here = [row for row in rows if row.gate == sealed.gate]
    far = [row for row in here if row.by == AUTOMATIC and (row.p_value or 0.0) < level / len(questions)]
    following = {name: automatic(scored.history(record, name, sealed.gate + 1)) for name in questions}
    told = {name: dict(one.record()) for name, one in following.items() if one}
    details = {"forecast": {"gate": sealed.gate + 1, "quantiles": told}, "scores": [vars(row) for row in rows]}
    write(sealed, _headline(here, far, level), _metrics(here), details, _tables(here, rows, told), surprised=bool(far))


def _headline(here: Sequence[Row], far: Sequence[Row], level: float) -> str:
    mine = [row for row in here if row.by == AUTOMATIC]
    if not mine:
        return "No forecast of this gate yet; one of the next is filed"
    if far:
        names = ", ".join(f"{row.question} came {row.came:.4g}" for row in far)
        return f"Surprised: {names}, further out than {level:.1%} of what was foretold"
    row = mine[0]
    return f"{row.question} came {row.came:.4g}, foretold {row.middle:.4g} ({row.low:.4g} to {row.high:.4g})"


def _metrics(here: Sequence[Row]) -> dict[str, float]:
    return {f"{row.question}.{row.by}.crps": row.crps for row in here if row.crps is not None}


def _tables(here: Sequence[Row], rows: Sequence[Row], told: dict[str, Any]) -> list[dict[str, Any]]:
    """This gate's forecasts, what is foretold of the next one, and how everybody did so far."""
    lines = [
        [row.question, row.by, row.middle, row.low, row.high, row.came, row.crps, row.p_value]
        for row in here if row.middle is not None
    ]  # fmt: skip
    totals = [
        [by, total["resolved"], total["crps"], total["log_score"], total["inside"], total["skill"], total["brier"]]
        for by, total in scored.totals(rows).items()
    ]
    return [
        {"title": "Foretold of this gate, and what came", "columns": COLUMNS, "rows": lines},
        {"title": "Foretold of the next gate", "columns": ["of", *QUANTILES],
         "rows": [[name, *(one[level] for level in QUANTILES)] for name, one in told.items()]},
        {"title": "So far", "columns": ["by", "resolved", "CRPS", "log score", "inside 90 %", "skill", "Brier"],
         "rows": totals},
    ]  # fmt: skip
