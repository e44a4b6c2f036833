"""Benchmark of a running server: ask over HTTP, judge here with the hidden tests, compare modes."""
