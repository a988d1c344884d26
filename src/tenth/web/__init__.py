"""The control room: web pages where people watch, stop, review and consent. It has no authority (docs/control-room.md).

Does not protect against: whoever controls the machine that serves it, which can show one thing and have another signed
with a passkey.
"""
