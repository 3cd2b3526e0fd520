"""The few figures, read again and again from files that stay open."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cgroups.meter import Meter, Place

STAT = "anon 7\ninactive_file_more 9\ninactive_file 30\nlast 1\n"


def meter(tmp_path: Path, inactive: bytes) -> Meter:
    (tmp_path / "cpu").write_text("usage_usec 5\nuser_usec 3\n")
    (tmp_path / "held").write_text("100\n")
    (tmp_path / "stat").write_text(STAT)
    (tmp_path / "pids").write_text("2\n")
    (tmp_path / "oom").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")
    return Meter(
        Place(str(tmp_path / "cpu"), b"usage_usec", 1000),
        Place(str(tmp_path / "held")),
        Place(str(tmp_path / "stat"), inactive),
        Place(str(tmp_path / "pids")),
        Place(str(tmp_path / "oom"), b"oom_kill"),
    )


@pytest.mark.parametrize(
    ("key", "held"), [(b"inactive_file", 70), (b"anon", 93), (b"last", 99), (b"absent", 100), (b"inactive", 100)]
)
def test_a_number_is_found_by_its_whole_key_wherever_it_is(tmp_path: Path, key: bytes, held: int) -> None:
    made = meter(tmp_path, key)
    used = made.read()
    made.close()
    assert used == (5000, held, 2, 4)


def test_it_is_read_anew_each_time_and_never_below_nothing(tmp_path: Path) -> None:
    made = meter(tmp_path, b"inactive_file")
    made.read()
    (tmp_path / "held").write_text("10\n")
    (tmp_path / "pids").write_text("3\n")
    assert (made.read().memory_bytes, made.read().pids) == (0, 3)
    made.close()


def test_what_is_not_there_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    place = Place(str(tmp_path / "held"))
    (tmp_path / "held").write_text("1\n")
    with pytest.raises(FileNotFoundError):
        Meter(place, place, place, place, Place(str(tmp_path / "absent")))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
