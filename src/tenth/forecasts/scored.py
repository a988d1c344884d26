"""How did each forecast come, beside the naive ones, and how well does each forecaster know how sure they are?"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenth.forecasts.automatic import NAIVE, naive
from tenth.forecasts.record import HALTED, Filed, Record
from tenth.forecasts.told import Told, brier


@dataclass(frozen=True)
class Row:
    """One answer to one question. What is not known yet, or is of another kind of question, is None."""

    gate: int
    question: str
    by: str
    low: float | None = None
    """Quantiles 5, 50 and 95 %."""
    middle: float | None = None
    high: float | None = None
    chance: float | None = None
    came: float | None = None
    """The outcome; of a yes-or-no question 0 or 1."""
    crps: float | None = None
    log_score: float | None = None
    p_value: float | None = None
    """The chance of something as far out, as foretold."""
    brier: float | None = None


def rows(record: Record) -> list[Row]:
    """By gate and question; naive forecasts stand beside every question that somebody answered."""
    found: list[Row] = []
    gates = sorted({gate for _, gate in record.filed})
    for gate in gates:
        filed = [one for (_, other), one in sorted(record.filed.items()) if other == gate]
        questions = {name for one in filed for name in one.quantiles}
        for question in sorted(questions):
            came = record.outcomes.get(gate, {}).get(question)
            told = {one.by: one.quantiles[question] for one in filed if question in one.quantiles}
            told |= naive(history(record, question, gate))
            found += [of_quantiles(gate, question, by, one, came) for by, one in told.items()]
        found += [row for one in filed for row in _chances(one, record)]
        found += [Row(gate, "", one.by) for one in filed if one.content is None]
    return found


def history(record: Record, question: str, gate: int) -> list[float]:
    """The outcomes of the gates before, as far as they follow each other without a gap."""
    values: list[float] = []
    for number in range(gate - 1, 0, -1):
        if question not in record.outcomes.get(number, {}):
            break
        values.insert(0, record.outcomes[number][question])
    return values


def of_quantiles(gate: int, question: str, by: str, told: Told, came: float | None) -> Row:
    low, middle, high = (told.quantile(level) for level in (0.05, 0.5, 0.95))
    if came is None:
        return Row(gate, question, by, low, middle, high)
    scores = {"crps": told.crps(came), "log_score": told.log_score(came), "p_value": told.p_value(came)}
    return Row(gate, question, by, low, middle, high, came=came, **scores)


def _chances(filed: Filed, record: Record) -> Iterator[Row]:
    for question, chance in (filed.content or {}).get("chances", {}).items():
        happened = record.halted.get(filed.gate) if question == HALTED else None
        scores = {} if happened is None else {"came": float(happened), "brier": brier(chance, happened)}
        yield Row(filed.gate, question, filed.by, chance=chance, **scores)


def totals(found: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """For each forecaster what is resolved: mean scores, calibration, and skill against the best naive forecaster."""
    resolved: dict[str, list[Row]] = {}
    for row in found:
        if row.came is not None:
            resolved.setdefault(row.by, []).append(row)
    return {by: _total(mine, resolved) for by, mine in sorted(resolved.items())}


def _total(mine: Sequence[Row], resolved: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    told = [row for row in mine if row.crps is not None]
    where = {(row.gate, row.question) for row in told}
    beside = {name: _mean(r.crps for r in resolved.get(name, ()) if (r.gate, r.question) in where) for name in NAIVE}
    best = min((name for name in NAIVE if beside[name]), key=lambda name: beside[name] or 0.0, default=None)
    crps = _mean(row.crps for row in told)
    naive_one = mine[0].by in NAIVE
    return {
        "resolved": len(mine),
        "crps": crps,
        "log_score": _mean(row.log_score for row in told),
        "inside": _mean(float(row.low <= row.came <= row.high) for row in told if None not in (row.low, row.high)),  # type: ignore[operator]
        "brier": _mean(row.brier for row in mine),
        "best_naive": best,
        "skill": None if naive_one or best is None or crps is None else 1 - crps / (beside[best] or 1.0),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
