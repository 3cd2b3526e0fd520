"""What happened, found again."""

from __future__ import annotations

import threading
import time

from engine import Engine, EventFilter, acting
from engine.config import Config


def test_events_are_found_by_what_is_asked_the_newest_first(config: Config) -> None:
    with Engine(config) as engine:
        with acting("sailor"):
            engine.create_volume("rope")
        middle = time.time_ns()
        engine.create_volume("a_sail")
        engine.remove_volume("rope")

        def found(**wish: object) -> list[tuple[str, str, str]]:
            return [(e.action, e.name, e.by) for e in engine.find_events(EventFilter(**wish))]  # type: ignore[arg-type]

        everything = [("remove", "rope", ""), ("create", "a_sail", ""), ("create", "rope", "sailor")]
        assert found() == everything
        assert found(by="sailor") == everything[2:]
        assert found(name="A_S") == [everything[1]]
        assert found(name="%") == found(name="r_pe") == [], "it is no pattern"
        assert found(object_id="rope") == [everything[0], everything[2]]
        assert found(until_ns=middle) == everything[2:]
        assert found(since_ns=middle) == everything[:2]
        assert found(kind="image") == []
        assert found(action="create", kind="volume") == everything[1:]
        newest = engine.find_events(EventFilter(), 1)
        assert [(e.action, e.name) for e in newest] == [("remove", "rope")]
        assert found(before=newest[0].seq) == everything[1:]


def test_who_acts_is_each_threads_own(config: Config) -> None:
    with Engine(config) as engine:
        with acting("sailor"):
            other = threading.Thread(target=engine.create_volume, args=("theirs",))
            other.start()
            other.join()
        engine.create_volume("later")
        assert [event.by for event in engine.find_events(EventFilter())] == ["", ""]
