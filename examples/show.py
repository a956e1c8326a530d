"""Prints the reports of one example."""

from __future__ import annotations

from types import ModuleType

import jaxsat


def show(example: ModuleType) -> None:
    for fault in (None, *example.FAULTS):
        fn, args = example.build(fault)
        print(f"=== {fault or 'healthy'}\n{jaxsat.probe(fn, *args)}\n")
