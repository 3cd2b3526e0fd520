"""The last hour of figures: rates from counters, a bound for all of it, and nothing invented."""

from __future__ import annotations

import math

from engine import Counters, Figure
from engine.cgroups.counters import Io, Pressure
from engine.metrics import history
from engine.metrics.history import History


def counters(read: int) -> Counters:
    return Counters(None, None, Io(read, 2 * read, 0, 0), 1, None, Pressure(0, 0, 12.5, 0.0), None, None)


def test_traffic_is_a_rate_and_what_is_not_counted_is_no_number() -> None:
    kept = History()
    kept.add({"a": Figure(None, 10, 1)}, {"a": counters(1000)}, now_s=100.0)
    kept.add({"a": Figure(0.5, 20, 2)}, {"a": counters(5000)}, now_s=102.0)
    found = kept.of("a")
    assert list(found.times) == [100.0, 102.0]
    assert math.isnan(found.points["cpu"][0])
    assert found.points["cpu"][1] == 0.5
    assert (found.points["read"][1], found.points["written"][1]) == (2000.0, 4000.0)
    assert found.points["cpu_pressure"][1] == 12.5
    assert math.isnan(found.points["memory_pressure"][1])
    assert list(kept.of("a", 100.0).times) == [102.0]
    assert len(kept.of("b").times) == 0


def test_counters_that_begin_again_make_no_rate_below_zero() -> None:
    kept = History()
    kept.add({"a": Figure(0.1, 1, 1)}, {"a": counters(5000)}, now_s=1.0)
    kept.add({"a": Figure(0.1, 1, 1)}, {"a": counters(10)}, now_s=2.0)
    assert kept.of("a").points["read"][1] == 0.0


def test_all_of_it_is_bounded_and_what_is_long_gone_goes() -> None:
    kept = History()
    many = 100
    history_points = history.POINTS
    try:
        history.POINTS = many * 60
        for second in range(300):
            kept.add({f"c{each}": Figure(0.1, 1, 1) for each in range(many)}, {}, now_s=float(second))
        held = sum(len(kept.of(f"c{each}").times) for each in range(many))
        assert held <= many * (60 + history._SLACK)
        kept.add({"new": Figure(0.1, 1, 1)}, {}, now_s=5000.0)
        assert len(kept.of("c1").times) == 0
    finally:
        history.POINTS = history_points


def test_the_average_moves_slowly_and_ends_with_the_container() -> None:
    kept = History()
    for second in range(30):
        kept.add({"a": Figure(1.0, 100, 1)}, {}, now_s=float(second))
    kept.add({"a": Figure(0.0, 100, 1)}, {}, now_s=31.0)
    assert 0.85 < kept.averages("cpu")["a"] < 1.0
    assert kept.averages("memory")["a"] == 100
    kept.add({}, {}, now_s=32.0)
    assert kept.averages("cpu") == {}
