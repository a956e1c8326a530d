"""Models of four frameworks, each healthy and made ill on purpose: `python -m examples.nnx_mlp` prints its reports.

Every module has `build(fault=None) -> (loss function, its arguments)`, `FAULTS` (fault -> the code that a report should
find) and `SITES` (how many records a report has).
"""
