"""The quarantine: what every untrusted child is kept in, and what that holds on this machine."""
