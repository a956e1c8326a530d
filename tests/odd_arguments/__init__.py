"""Odd arguments to the whole public API: run ``python -m tests.odd_arguments``."""
