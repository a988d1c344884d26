"""What a model may write to attack its reader comes out as inert text: nothing runs, nothing loads, nothing hides."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from core.live import Live
from web.served import Person, Served, poll

CORPUS = {
    "terminal": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m",
    "script": "<script>document.title='owned'</script>",
    "image": "<img src=x onerror=\"document.title='owned'\">",
    "svg": "<svg onload=document.title='owned'><script>alert(1)</script></svg>",
    "attribute": '" onmouseover="document.title=\'owned\'" x="',
    "end of data": "</script><script>document.title='owned'</script>",
    "template": "{{ 7*7 }} ${7*7} {% raw %}",
    "script url": "[click](javascript:document.title='owned') javascript:document.title='owned'",
    "data url": "data:text/html,<script>top.document.title='owned'</script>",
    "fake button": "<button class=pull>Pull the cord</button> <a href=/sign-out>Consent</a>",
    "fake form": "<form action=/api><input name=note autofocus></form>",
    "frame": "<iframe src='https://example.org'></iframe><object data=x></object><embed src=x>",
    "style": "<style>body{display:none}</style><link rel=stylesheet href=//example.org/x.css>",
    "base": "<base href='https://example.org/'><meta http-equiv=refresh content='0;url=https://example.org'>",
    "bidi": "safe\u202etxt.exe\u202c \u2066hidden\u2069 \u200f",
    "zero width": "pa\u200bss\u200dwo\ufeffrd\u2060",
    "tags": "".join(chr(0xE0000 + ord(char)) for char in "approve this"),
    "marks": "Z" + "\u0335\u0321\u0322" * 200 + "algo",
    "controls": "line\rover\x08\x08\x00\x7f\x85\u2028\u2029end",
    "mathml": "<math><mtext></p><style><img src=x onerror=alert(1)></style></mtext></math>",
    "one long line": "A" * 16_000,
    "many lines": "\n" * 3_000 + "end",
    "wide": "\ufdfd" * 400,
    "json": '{"index":0,"event":"consented"}\n\n{"seq":1e999}',
    "event stream": "data: [{}]\n\nevent: owned\nid: 0:0:0\n\n",
}
FORBIDDEN = "\x1b\x07\x08\x00\x7f\x85\u202e\u202c\u2066\u2069\u200f\u200b\u200d\ufeff\u2060\u2028\u2029\r"


@pytest.fixture
def hostile(live: Callable[..., Live]) -> Live:
    """A run whose model, trainer and reviewers wrote all of this, and whose dossier holds it."""
    texts = list(CORPUS.values())
    table = {"headline": CORPUS["script"], "metrics": {CORPUS["image"]: 1.0, "x": CORPUS["svg"]}}
    table |= {"tables": [{"title": CORPUS["style"], "columns": [CORPUS["base"]], "rows": [[text] for text in texts]}]}
    write = "import json, os, pathlib; out = pathlib.Path(os.environ['TENTH_OUT']); "
    write += f"(out / 'summary.json').write_text(json.dumps({table!r}))"
    run = live(
        trainer="mouth.py",
        env={"TEXTS": json.dumps(texts)},
        samples_per_minute=60_000,
        evidence=[("panel", ["python3", "-c", write])],
    )
    run.start()
    run.consent()
    run.until("GATE", gate=1)
    run.submit(run.sign("objected", "bob", run.status(), note=CORPUS["image"] + CORPUS["bidi"]))
    return run


def look(person: Person, page: Any) -> str:
    """The page's text, once it has been proved that nothing of the corpus came alive."""
    page.wait_for_timeout(400)
    assert page.title() != "owned"
    alive = "script:not([src]):not([type='application/json']), iframe, object, embed, base, math, form[action='/api']"
    inside = "pre *:not(b, span, ins, del), .claim-cell *, .events .event *"
    assert page.evaluate(f'[...document.querySelectorAll("{alive}, {inside}")].map((n) => n.outerHTML)') == []
    handlers = (
        "[...document.querySelectorAll('*')].filter((n) => [...n.attributes].some((a) => /^on/.test(a.name))).length"
    )
    assert page.evaluate(handlers) == 0
    assert page.locator("button.pull").count() == 1
    loaded = page.evaluate("performance.getEntriesByType('resource').map((e) => new URL(e.name).hostname)")
    assert set(loaded) <= {"localhost"}
    text = page.evaluate("[...document.querySelectorAll('main, .strip')].map((n) => n.textContent).join()")
    assert not set(text) & set(FORBIDDEN), sorted(map(ascii, set(text) & set(FORBIDDEN)))
    assert person.complaints == []
    return str(text)


def test_the_corpus_comes_out_as_text(
    hostile: Live, serve: Callable[..., Served], person: Callable[..., Person]
) -> None:
    served = serve(hostile)
    ada = person(served, "ada")
    page = ada.tab(f"/r/{hostile.name}")
    poll(page, f"document.querySelectorAll('.sample').length === {len(CORPUS)}")
    text = look(ada, page)
    for shown in (
        "<script>document.title",
        "\\x1b]0;owned\\x07",
        "safe\\u202etxt",
        "pa\\u200bss",
        "<button class=pull>",
    ):
        assert shown in text, shown
    page.keyboard.press("s")
    poll(page, "document.querySelectorAll('.sample .bits4').length > 10")
    assert "pa\\u200bss" in look(ada, page)
    page.keyboard.press("s")

    gate = ada.tab(f"/r/{hostile.name}/gate")
    gate.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    text = look(ada, gate)
    assert "<img src=x onerror" in text
    assert "<base href=" in text

    log = ada.tab(f"/r/{hostile.name}/log")
    for button in log.locator(".events .show").all()[:4]:
        button.click()
    log.locator(".entry").first.wait_for()
    text = look(ada, log)
    assert "\\u202e" in text

    found = ada.tab("/")
    look(ada, found) if found.locator("button.pull").count() else None


def test_a_line_of_a_megabyte_is_not_shown_whole(
    live: Callable[..., Live], serve: Callable[..., Served], person: Callable[..., Person]
) -> None:
    """No trainer can send one; whoever can write the folder can. The page still comes, and says what it left out."""
    run = live(samples_per_minute=60_000).begin()
    sample = {"gate": 0, "step": 1, "time": "2026-11-21T00:00:00.000Z", "prompt": "", "temperature": 1}
    lines = [json.dumps({**sample, "text": "B" * size}) for size in (1_000_000, 2_000_000)]
    (run.path / "samples" / "000001.jsonl").write_text(
        "\n".join([*lines, json.dumps({**sample, "text": "fine"})]) + "\n"
    )
    ada = person(serve(run), "ada")
    page = ada.tab(f"/r/{run.name}")
    poll(page, "document.querySelectorAll('.sample').length === 2")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("e")
    shown = poll(
        page, "[...document.querySelectorAll('pre')].map((n) => n.textContent).find((t) => t.includes('more]'))"
    )
    assert len(shown) < 9_000
    (run.path / "samples" / "000001.jsonl").unlink()
