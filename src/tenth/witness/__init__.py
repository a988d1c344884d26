"""Witnesses: colleagues who keep the newest head of a log elsewhere and cosign only heads that go on from it.

With them a log that was cut back, or that was shown to two people in two versions, is found out (promise 7). Outside
the trusted core: the supervisor asks nobody, and never waits for a witness. docs/witnesses.md.
"""
