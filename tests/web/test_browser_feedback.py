"""Judging in the browser: keys only, blind and in an order drawn by lot, signed there, undone by a later event."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from core.live import Live, wait_for
from tenth.feedback import batch
from tenth.feedback.agreement import agreement
from tenth.feedback.desk import Desk, people
from tenth.feedback.table import Table, standing
from tenth.feedback.views import VIEWS
from web.served import Client, Person, Served, poll
from web.test_browser_access import findings
from web.test_browser_hostile import CORPUS, FORBIDDEN

PAIRS = 12
LOOK = """[document.getElementById('ask').textContent,
    document.querySelectorAll('#ask pre *:not(b), #ask [onload], #ask [onerror]').length, document.title]"""


def item(number: int) -> dict[str, Any]:
    return {"kind": "pair", "prompt": f"prompt {number}", "a": f"this is a{number}", "b": f"this is b{number}"}


def table_of(run: Live) -> Table:
    """Read anew, every signature checked."""
    from tenth import charter

    table = Table(run.path, run.name, people(charter.parse((run.path / "charter.toml").read_bytes())))
    table.update()
    return table


def shown(page: Any) -> dict[str, str]:
    texts = {name: page.locator(f"#{name} pre").text_content() for name in ("first", "second")}
    return {**texts, "prompt": page.locator("#ask b").text_content()}


def press(page: Any, key: str) -> None:
    """A key, and what it does to what is shown."""
    before = page.locator("#ask").text_content()
    page.keyboard.press(key)
    poll(page, f"document.getElementById('ask').textContent !== {json.dumps(before)}")


def kept(run: Live, page: Any, number: int) -> Table:
    """The table, once it holds so many events."""
    wait_for(lambda: len(table_of(run).events) >= number, f"{number} events; {page.locator('#said').text_content()}")
    table = table_of(run)
    assert len(table.events) == number
    return table


@pytest.fixture
def run(live: Callable[..., Live]) -> Live:
    return live().start()


def test_keys_only(run: Live, serve: Callable[..., Served], person: Callable[..., Person]) -> None:
    """Every answer by one key; what was signed is what was pressed; undo, edit, and a second window."""
    Desk(run.path, run.name, {}).table.add([item(number) for number in range(PAIRS)])
    served = serve(run)
    lin = person(served, "lin")
    page = lin.tab(f"/r/{run.name}/feedback")
    page.locator("#second pre").wait_for()
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)
        assert findings(page) == []
    said = []
    for key in ("1", "2", "0", "b", "s", "f"):
        said.append((key, shown(page)))
        press(page, key)
    table = kept(run, page, 7)
    (by,) = table.annotators
    assert by.startswith("lin-")
    for (key, seen), event in zip(said, table.events[1:], strict=True):
        judged = table.items[event.subject]
        assert seen == {
            "first": judged[event.facts["shown"][0]],
            "second": judged[event.facts["shown"][1]],
            "prompt": judged["prompt"],
        }
        wanted = {
            "1": event.facts["shown"][0],
            "2": event.facts["shown"][1],
            "0": "tie",
            "b": "bad",
            "s": "skip",
            "f": "flag",
        }
        assert event.answer == wanted[key]
        assert 0 <= event.facts["seconds"] < 60

    again = said[-1][1]
    press(page, "u")
    assert shown(page) == again
    press(page, "1")
    table = kept(run, page, 9)
    assert [event.event for event in table.events[-2:]] == ["undone", "judged"]
    assert [event.answer in ("a", "b") for event in standing(table.events)[-1:]] == [True]

    seen = shown(page)
    page.keyboard.press("e")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("12: as it should be")  # keys are letters now
    press(page, "Control+Enter")
    table = kept(run, page, 10)
    assert table.events[-1].facts["text"] == "12: as it should be"
    (row,) = VIEWS["sft"](table.events, table.items)
    assert row == {"prompt": seen["prompt"], "completion": "12: as it should be"}
    assert agreement(table.events, table.items).judgements == 7

    second = lin.tab(f"/r/{run.name}/feedback")  # another tab: the same key, the same chain
    second.locator("#second pre").wait_for()
    press(second, "2")
    kept(run, second, 11)
    page.keyboard.press("2")
    page.locator("#said", has_text="not kept").wait_for()
    assert len(table_of(run).events) == 11
    lin.complaints[:] = [words for words in lin.complaints if "409" not in words]  # the refusal that was asked for

    name, told = batch.write(table_of(run), batch.Made("dpo", 0, table_of(run).counts))
    run.say("adjusted", "ada", patch={"recipe": {batch.KEY: [name]}})
    run.until("GATE")
    gate = lin.tab(f"/r/{run.name}/gate")
    wanted = f"feedback batch {name[:16]}: {told}"
    wait_for(lambda: gate.reload() and wanted in gate.locator("#changes").text_content(), "the gate's page to tell")


def test_what_cannot_be_shown_as_it_is_is_edited_from_the_beginning(
    run: Live, serve: Callable[..., Served], person: Callable[..., Person]
) -> None:
    """What stands for it on the page would become what the model is to write."""
    Desk(run.path, run.name, {}).table.add([{"kind": "pair", "prompt": "p", "a": "hid\u202eden", "b": "plain"}])
    page = person(serve(run), "lin").tab(f"/r/{run.name}/feedback")
    page.locator("#second pre").wait_for()
    odd, even = ("e", "E") if "u202e" in shown(page)["first"] else ("E", "e")
    for key, begun in ((even, "plain"), (odd, "")):
        page.keyboard.press(key)
        assert page.locator("#ask textarea").input_value() == begun
        assert ("from the beginning" in page.locator("#ask figcaption").all_text_contents()[key == "E"]) == (not begun)
        page.keyboard.press("Escape")
    page.keyboard.press(odd)
    page.keyboard.press("Control+Enter")  # nothing was written
    page.keyboard.press(odd)
    page.keyboard.type("new")
    press(page, "Control+Enter")
    assert kept(run, page, 2).events[-1].facts["text"] == "new"


def test_it_is_blind_and_the_order_is_by_lot(
    run: Live, serve: Callable[..., Served], client: Callable[..., Client]
) -> None:
    """What a page is sent tells neither which sample is which, nor which answer is known; readers are sent nothing."""
    rows = [{**item(number), **({"gold": "a"} if number % 2 else {})} for number in range(300)]
    Desk(run.path, run.name, {}).table.add(rows)
    served = serve(run)
    lin = client(served, "lin")
    first = 0
    for _ in range(20):
        status, found = lin.json("GET", f"/api/r/{run.name}/feedback?by=lin-000000&kind=pair")
        assert status == 200
        for one in found["asks"]:
            assert set(one) == {"item", "shown", "prompt", "first", "second", "spelled"}
            first += "a" in one["first"].removeprefix("this is ")
    assert 38 <= first <= 82  # of 120
    assert client(served, "rea").json("GET", f"/api/r/{run.name}/feedback?by=rea-000000")[0] == 403
    assert lin.json("GET", f"/api/r/{run.name}/feedback?by=ada-000000")[0] == 409
    for odd in ({}, {"envelope": 1}, {"envelope": {"payload": "", "payloadType": "", "signatures": []}}):
        assert lin.json("POST", f"/api/r/{run.name}/feedback", odd)[0] == 409
    assert not (run.path / "feedback" / "events.jsonl").exists()


def test_hostile_text_is_inert(run: Live, serve: Callable[..., Served], person: Callable[..., Person]) -> None:
    texts = [text for text in CORPUS.values() if len(text) < 4_000]
    table = Desk(run.path, run.name, {}).table
    table.add([{"kind": "pair", "prompt": text, "a": text, "b": text + "!"} for text in texts])
    table.add([{"kind": "proposal", "text": text} for text in texts])
    ada = person(serve(run), "ada")
    for path, keys in (("feedback", "12b"), ("feedback/grade", "123")):
        page = ada.tab(f"/r/{run.name}/{path}")
        page.locator("#ask pre").first.wait_for()
        page_title = page.title()
        for _ in range(2_000):
            text, alive, title = page.evaluate(LOOK)
            assert (alive, title) == (0, page_title)
            assert not set(text) & set(FORBIDDEN)
            if "is left" in text:
                break
            page.keyboard.press(random.choice(keys))
        page.locator("#ask .none").wait_for()

    def graded() -> dict[str, str]:
        return {event.subject: event.answer for event in table_of(run).events if event.event == "graded"}

    assert wait_for(lambda: len(graded()) == len(texts), "the last grades to be kept")
    assert set(graded().values()) <= {"useful", "junk", "unsafe"}
