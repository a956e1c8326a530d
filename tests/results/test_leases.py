"""Leases: two processes never compute the same chunk, and what the dead have taken is free."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from jaxsat.results.leases import Leases


def test_leases_of_the_dead_and_the_silent_are_free(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", f"""
from jaxsat.results.leases import Leases
leases = Leases({str(tmp_path)!r}).__enter__()
print(leases.take("a"), flush=True)
input()
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert other.stdout.readline() == "True\n"
    with Leases(tmp_path) as mine:
        assert not mine.take("a")
        assert mine.held_by_others() == ["a"]
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()
        assert mine.held_by_others() == []
        assert mine.take("a")
        (tmp_path / "b").write_text(json.dumps({"host": "elsewhere", "pid": 1, "born": "0"}))
        assert not mine.take("b")
        os.utime(tmp_path / "b", (time.time() - 1000,) * 2)
        assert mine.take("b")
        assert not mine.take("b"), "its own"
    assert not list(tmp_path.iterdir())


def test_the_heartbeat_keeps_a_lease(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxsat.results.leases.HEARTBEAT", 0.02)
    with Leases(tmp_path) as mine:
        mine.take("a")
        os.utime(tmp_path / "a", (0, 0))
        deadline = time.time() + 10
        while (tmp_path / "a").stat().st_mtime == 0 and time.time() < deadline:
            time.sleep(0.01)
        assert (tmp_path / "a").stat().st_mtime > 0


def test_an_error_while_leaving_does_not_hide_what_ended_the_work(tmp_path, monkeypatch):
    """The folder is a file now: leases can neither be touched nor given back."""
    monkeypatch.setattr("jaxsat.results.leases.HEARTBEAT", 0.01)

    def work():
        with Leases(tmp_path / "leases") as mine:
            mine.take("a")
            shutil.rmtree(tmp_path / "leases")
            (tmp_path / "leases").write_text("")
            time.sleep(0.05)
            assert mine._heart.is_alive()
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        work()
