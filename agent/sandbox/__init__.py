"""Runs untrusted programs and says what they did."""
