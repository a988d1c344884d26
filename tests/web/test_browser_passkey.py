"""A signatory with a passkey: made on the page, put into a charter; used to object, consent, adjust, reopen, close."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.live import Live
from tenth.keys import PublicKey
from web.served import Person, Served, poll


def authenticator(person: Person, page: Any, *, verified: bool = True) -> Any:
    """A device with passkeys, as the browser's own virtual one."""
    session = person.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": verified, "automaticPresenceSimulation": True}
    found = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session, found["authenticatorId"]


def make_passkey(person: Person) -> str:
    """The key as the page shows it, to be put into a charter."""
    page = person.page
    page.goto(f"{person.served.origin}/person")
    page.get_by_role("button", name="Make a passkey").click()
    page.locator("#line").wait_for()
    return str(page.locator("#line").inner_text().splitlines()[-1].removeprefix('key = "').removesuffix('"'))


def give_passkey(run: Live, line: str) -> None:
    """In the charter of a run that is not begun yet, ada signs with this."""
    text = run.charter()
    files = next(one for one in text.splitlines() if one.endswith(' ada"'))
    run.charter = lambda: text.replace(files, f'key = "{line}"')  # type: ignore[method-assign]


def speak(page: Any, verb: str, **fields: str) -> str:
    """Say it with the passkey; what the page then says."""
    act = page.locator(f"[data-act={verb}]")
    act.locator("> summary").click()
    for name, text in fields.items():
        act.locator(f"[name={name}]").fill(text)
    act.locator("button[type=submit]").click()
    said = poll(page, "document.querySelector('.said').textContent")
    page.evaluate("document.querySelectorAll('.act').forEach((one) => { one.open = false; })")
    return str(said)


def test_a_signatory_with_a_passkey(
    live: Callable[..., Live], serve: Callable[..., Served], person: Callable[..., Person], tmp_path: Path
) -> None:
    waiting = live(signatories=("bob",)).begin()  # a run of somebody else: the server shows it meanwhile
    served = serve(waiting)
    ada = person(served, "ada")
    page = ada.page
    session, device = authenticator(ada, page)

    line = make_passkey(ada)
    assert PublicKey.of_person(line).site == "localhost"

    run = live(env={"STEPS": 300}, samples_per_minute=60_000)
    give_passkey(run, line)
    run.begin()
    moved = waiting.path.parent / run.name
    run.start()
    run.until("GATE")
    moved.symlink_to(run.path)
    page.goto(f"{served.origin}/")
    page.locator(f".run[data-run={run.name}]").click(timeout=20_000)
    page.wait_for_url("**/gate")

    assert speak(page, "object", note="<i>no</i>").startswith("Signed.")
    ada.until(page, "ada objected")
    assert speak(page, "consent").startswith("Signed.")
    ada.until(page, "waiting for bob")
    said = next(entry for entry in run.entries() if entry["event"] == "objected")
    assert said["body"]["envelope"]["signatures"][0]["keyid"] == PublicKey.of_person(line).fingerprint

    run.consent("bob")
    run.until("GATE", gate=1)
    page.locator("#fresh a").click()
    ada.until(page, "Gate 1 of 10", "h2")
    assert speak(page, "adjust", settings="optim.lr = 0.25").startswith("Signed.")
    page.locator("#fresh a").click()
    ada.until(page, "optim.lr = 0.25", "#changes")

    # somebody who is there but is not recognised signs nothing
    session.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    assert not speak(page, "consent").startswith("Signed.")
    session.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": True})
    assert run.status()["consents"] == []

    # a server that drafts something else than the page shows gets no signature
    def other(route: Any) -> None:
        answer = route.fetch()
        draft = answer.json()
        import base64

        statement = json.loads(base64.b64decode(draft["payload"]))
        statement["subject"][0]["digest"]["sha256"] = "0" * 64
        draft["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        route.fulfill(response=answer, json=draft)

    page.route("**/draft", other)
    assert "other digests" in speak(page, "consent")
    page.unroute("**/draft")

    page.locator("button.pull").click()
    ada.until(page, "halted")
    assert speak(page, "reopen").startswith("Signed.")
    ada.until(page, "at a gate")
    assert speak(page, "close").startswith("Signed.")
    ada.until(page, "closed")
    moved.unlink()
    # Chromium recommends a second kind of key; the law knows one
    ada.complaints = [words for words in ada.complaints if "pubKeyCredParams" not in words]
