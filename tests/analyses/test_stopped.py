"""An analysis that is stopped, and started again."""

import sys

import pytest

from analyses.shared import command


def test_a_run_that_was_stopped_while_it_drew_does_not_block_the_next(tmp_path, monkeypatch):
    name = "activations_saturate"
    words = [name, "--activations", "tanh", "--output", str(tmp_path), "--formats", "png"]
    monkeypatch.setattr(sys, "argv", words)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(command, "_save", stop)
        with pytest.raises(KeyboardInterrupt):
            command.run_named(name)
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.zarr"]
    command.run_named(name)
    assert (tmp_path / f"{name}_data.csv").exists()
