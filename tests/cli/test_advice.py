"""Does a person learn what is missing on their machine, and what to do about it?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenth.cli.begin.advice import Machine, advice, of_this_machine
from tenth.quarantine import leash, sandbox

WHOLE = Machine(
    bubblewrap="works",
    apparmor=False,
    switched_off=None,
    install="apt install bubblewrap",
    landlock=7,
    filtered=True,
    cgroup=True,
    systemd=True,
    root=False,
)


def test_where_everything_holds_there_is_nothing_to_do() -> None:
    assert advice(WHOLE) == []


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({"bubblewrap": "missing"}, "apt install bubblewrap"),
        ({"bubblewrap": "forbidden", "apparmor": True}, "AppArmor profile"),
        ({"bubblewrap": "forbidden", "switched_off": "/proc/sys/user/max_user_namespaces"}, "to 15000"),
        ({"bubblewrap": "forbidden"}, "container"),
        ({"bubblewrap": "missing", "landlock": 0}, "Linux 5.13"),
        ({"filtered": False}, "x86_64"),
        ({"cgroup": False}, "systemd-run --user --scope -p Delegate=yes"),
        ({"cgroup": False, "root": True}, "systemd-run --scope"),
        ({"cgroup": False, "systemd": False}, "cgroup v2"),
        ({"cgroup": False, "landlock": 5}, "Linux 6.12"),
    ],
)
def test_whatever_is_missing_has_its_remedy(missing: dict[str, object], words: str) -> None:
    rows = advice(replace(WHOLE, **missing))  # type: ignore[arg-type]
    assert any(words in do for _, do in rows), rows
    assert all(what and do for what, do in rows)


def test_it_looks_at_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    monkeypatch.setattr(leash, "cgroup_parent", lambda: None)
    here = of_this_machine()
    assert here.bubblewrap in ("missing", "forbidden")
    assert not here.cgroup
    assert len(advice(here)) >= 2
