"""Drills: whether the people who look at the evidence would notice, measured."""
