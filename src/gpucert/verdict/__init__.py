"""Judging a record: a pure function from facts, limits and policy to a verdict. No hardware, no clock, no files."""
