"""The curves of a run in at most as many points as a page can draw, so that no spike is ever hidden.

Each bucket keeps its least, its greatest and its mean value, computed where the points are.
"""

from __future__ import annotations

from typing import Any

from tenth.web.index import Index

MOST = 1_300
"""Buckets: with least, greatest and mean under 4,000 points a view."""


def names(index: Index) -> list[str]:
    """Every series there is, loss first."""
    found = [row["series"] for row in index.rows("SELECT DISTINCT series FROM points ORDER BY series")]
    first = [name for name in FIRST if name in found]
    return first + [name for name in found if name not in first]


FIRST = ("loss", "lr", "learning_rate", "grad_norm", "gradient_norm", "tokens_per_second", "tenth/device_seconds")


def curve(index: Index, series: str, first: int | None = None, last: int | None = None) -> dict[str, Any]:
    """Columns ``step``, ``least``, ``mean``, ``greatest`` between two steps, both included."""
    ends = index.rows("SELECT min(step) AS a, max(step) AS b FROM points WHERE series = ?", (series,))[0]
    if ends["a"] is None:
        return {"series": series, "step": [], "least": [], "mean": [], "greatest": [], "points": 0}
    low = ends["a"] if first is None else first
    high = ends["b"] if last is None else last
    width = max(1, -(-(high - low + 1) // MOST))
    rows = index.rows(
        """SELECT min(step) AS s, min(value) AS a, avg(value) AS m, max(value) AS z, count(*) AS n FROM points
        WHERE series = ? AND step BETWEEN ? AND ? GROUP BY (step - ?) / ? ORDER BY s""",
        (series, low, high, low, width),
    )
    columns = {"step": "s", "least": "a", "mean": "m", "greatest": "z"}
    table = {name: [row[key] for row in rows] for name, key in columns.items()}
    return {"series": series, **table, "points": sum(row["n"] for row in rows)}


def sparkline(index: Index, series: str = "loss", most: int = 60) -> list[float]:
    """Means of ``most`` buckets."""
    found = curve(index, series)["mean"]
    stride = max(1, -(-len(found) // most))
    return [round(sum(part) / len(part), 6) for at in range(0, len(found), stride) if (part := found[at : at + stride])]
