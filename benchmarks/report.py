"""Write docs/benchmarks.md from the records in ``benchmarks/results``: no number in it is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from record import QUIET, RESULTS, ROOT, holds

ORDER: tuple[str, ...] = ("pull", "quarantine", "escapes", "jail", "cheats", "pull_cli", "log_appends", "faults")
ORDER += ("verify", "sealing", "oversight_cost", "control_room", "feedback", "resume", "checkpoint", "transfer")
ORDER += ("data_preparation", "generation", "trainer_step", "organisms", "packet", "capabilities")
ORDER += ("alarms", "alarms_in_training")
ORDER += ("forecasts", "selfplay", "preferences", "ablations", "peers/run", "peers/gpu")
"""Their place in the document."""
LONG: tuple[str, ...] = ("faults", "control_room", "organisms", "packet", "alarms", "alarms_in_training", "forecasts")
LONG += ("selfplay", "preferences", "ablations", "transfer", "peers/run", "peers/gpu")
"""Too long to be measured by default."""
SIGNS = {"<=": "≤", ">=": "≥"}
NAMES = {"per_second": "mean", "ratio_of_medians": "ratio of medians", "pairs_p50": "median of the pairs"}
NAMES |= {"pairs_min": "least", "pairs_max": "most", "min": "least", "max": "most"}

HEAD = """\
# Benchmarks

Written by `benchmarks/report.py` from the records in `benchmarks/results`; `make bench` measures everything again, in
about ten minutes, and each command measures one question. The records hold the single values, options and commit.

A figure is marked **under load** when others used more than {quiet:.0%} of the processors just before or just after it
was taken (`load` gives the load average before → after; part of the second is the benchmark's own). p50 is the median,
p99 the nearest-rank 99th percentile, n the number of measurements.
"""

Json = Any


def main() -> None:
    records = [json.loads(path.read_text()) for name in ORDER if (path := RESULTS / f"{name}.json").exists()]
    machines: list[Json] = []
    for record in records:
        if record["machine"] not in machines:
            machines.append(record["machine"])
    lines = [HEAD.format(quiet=QUIET), "## Figures", ""]
    lines += ["| figure | must reach | measured | | machine, load | command |", "|---|---|---|---|---|---|"]
    for record in records:
        where = f"{letter(machines, record)}, {load(record)}"
        for figure in record["figures"]:
            cells = [figure["what"], must(figure), measured(figure), verdict(figure), where, f"`{record['command']}`"]
            lines.append("| " + " | ".join(cells) + " |")
    for record in (one for one in records if one["name"] == "faults"):
        lines += ["", "## Faults", "", *fault_table(record)]
    lines += ["", "## Machines", ""]
    lines += [f"- {letters(number)}: {described(machine)}" for number, machine in enumerate(machines)]
    lines += ["", "## Records", "", "| record | taken | commit | seconds | processor time stolen by the host |"]
    lines += ["|---|---|---|---|---|"]
    lines += ["| " + " | ".join(about(record)) + " |" for record in records]
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(lines) + "\n")
    ablations = next((record for record in records if record["name"] == "ablations"), None)
    if ablations:
        write_between(ROOT / "docs" / "training.md", "ablations", ablation_table(machines, ablations))
    escapes = next((record for record in records if record["name"] == "escapes"), None)
    if escapes:
        write_between(ROOT / "docs" / "threat-model.md", "escapes", escape_table(escapes))
    print("docs/benchmarks.md is written")
    for record in records:
        for figure in record["figures"]:
            if figure["reached"] is False:
                print(f"missed: {figure['what']}: {measured(figure)}, must reach {must(figure)}")


def fault_table(record: Json) -> list[str]:
    """How many calls of each kind were spoiled, and in which ways."""
    points, asked, faults = (record["details"][name] for name in ("points", "asked", "faults"))
    kinds = sorted({kind for found in points.values() for kind in found})
    rows = [
        "Calls by which a program changes files, each spoiled in each way that fits it, by `benchmarks/faults.py`:",
        "",
    ]
    rows += ["| program | calls | faults injected | " + " | ".join(kinds) + " |", "|---" * (3 + len(kinds)) + "|"]
    for program, found in points.items():
        counts = [str(found.get(kind, "")) for kind in kinds]
        ways = ", ".join(f"{how} {faults[program].get(how, 0)} of {count}" for how, count in asked[program].items())
        rows.append(f"| {program} | {sum(found.values())} | {ways} | " + " | ".join(counts) + " |")
    return rows


def ablation_table(machines: list[Json], record: Json) -> list[str]:
    """One row for each trick: what a step or the loss becomes without it."""
    where = f"machine {letter(machines, record)} of [the benchmarks](benchmarks.md)"
    rows = [
        f"On {where}, commit {record['source']['commit']}:",
        "",
        "| without, or otherwise | measured |",
        "|---|---|",
    ]
    for figure in record["figures"]:
        value = next(value for name, value in figure["measured"].items() if name != "n")
        rows.append(f"| {figure['what']} | {value:g} {figure['unit']} |")
    return rows


def escape_table(record: Json) -> list[str]:
    """A column for each back-end and user, a row for each subject of attempts."""
    columns: dict[str, list[Json]] = record["details"]
    subjects = list(dict.fromkeys(one["about"] for probes in columns.values() for one in probes))
    rows = ["| Attempts at | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for subject in [*subjects, "all"]:
        cells = []
        for probes in columns.values():
            group = [one for one in probes if subject in (one["about"], "all")]
            out = [one["name"] for one in group if not one["contained"]]
            named = f"; not: {', '.join(out)}" if out and subject != "all" else ""
            cells.append(f"{len(group) - len(out)} of {len(group)}{named}")
        rows.append(f"| {subject} | " + " | ".join(cells) + " |")
    kernel, commit = record["machine"]["kernel"], record["source"]["commit"]
    return [*rows, "", f"Contained attempts, on Linux {kernel}, commit {commit}."]


def write_between(path: Path, name: str, lines: list[str]) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end -->``."""
    before, mark, rest = path.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not mark or not end:
        raise SystemExit(f"{path.name} has no place for {name}")
    path.write_text(before + mark + "\n".join(lines) + "\n" + end + after)


def must(figure: Json) -> str:
    return ", ".join(
        f"{NAMES.get(one['statistic'], one['statistic'])} {SIGNS[one['is']]} {one['bound']:g} {figure['unit']}".strip()
        for one in figure["must"]
    )


def measured(figure: Json) -> str:
    numbers = [f"{NAMES.get(name, name)} {value:g}" for name, value in figure["measured"].items() if name != "n"]
    return f"{', '.join(numbers)} {figure['unit']}".strip() + f"; n {figure['measured'].get('n', 1)}"


def verdict(figure: Json) -> str:
    if not figure["must"]:
        return ""
    missed = [one for one in figure["must"] if not holds(figure["measured"][one["statistic"]], one["is"], one["bound"])]
    return "**missed**" if missed else "reached"


def load(record: Json) -> str:
    before, after = record["load"]["before"], record["load"]["after"]
    words = f"load {before['load1']:g} → {after['load1']:g}"
    return words if record["load"]["quiet"] else f"**under load**, {words}"


def letters(number: int) -> str:
    return chr(ord("A") + number)


def letter(machines: list[Json], record: Json) -> str:
    return letters(machines.index(record["machine"]))


def described(machine: Json) -> str:
    kind = "virtual" if machine["virtual"] else "real"
    size = f"{machine['cores']} cores, {machine['memory_gib']} GiB, {kind}"
    return f"{machine['processor']}, {size}, Linux {machine['kernel']}, {machine['disk']}, Python {machine['python']}"


def about(record: Json) -> list[str]:
    commit = f"{record['source']['commit']}{' and changes' if record['source']['changed'] else ''}"
    return [record["name"], record["began"], commit, f"{record['seconds']:g}", f"{record['load']['stolen']:.1%}"]


if __name__ == "__main__":
    main()
