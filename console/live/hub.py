"""One hub per process: the engine's news and numbers, read once, for every open page.

    engine events --fd--> hub.news    --> topics that tell of changes    the sequence number: they fetch what they show
    recorder's ticks ---> hub.ticks   --> topics of figures              whole snapshots: losing one is harmless
    a Source, 1 s ------> hub.source  --> topics that read for one page  the same
    log segments --fd---> hub.follow  --> topics that follow a log       only "there is more": each reads for itself

All of it runs in the event loop; what may block runs in threads. Nothing runs while nobody watches.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from console import gateway, recorder
from console.live.source import Source

if TYPE_CHECKING:
    from console.live.consumer import LiveConsumer
    from engine import LogWatch

SETTLE_S = 0.15  # events come in bursts (create, start, …): one "changed" for each burst

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


class Hub:
    """Who watches what, and the sources that feed them."""

    def __init__(self) -> None:
        self.news: set[Callable[[int], None]] = set()  # called with the newest event's number
        self.ticks: set[Callable[[recorder.Tick], None]] = set()
        self._loop = asyncio.get_running_loop()
        self._clients: set[LiveConsumer] = set()
        self._subscription: Any = None
        self._recorder: recorder.Recorder | None = None
        self._watch: LogWatch | None = None
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._settling: asyncio.Task[None] | None = None
        self._sources: dict[str, Source[Any]] = {}
        self._lock = asyncio.Lock()

    async def join(self, client: LiveConsumer) -> None:
        """Begin to serve a client; the first one opens the engine's subscription."""
        async with self._lock:
            if self._subscription is None:
                self._subscription = await asyncio.to_thread(gateway.engine().subscribe)
                self._loop.add_reader(self._subscription.fileno(), self._on_events)
                self._recorder = recorder.recorder()
                self._recorder.watch(self._hear)
            self._clients.add(client)

    async def leave(self, client: LiveConsumer) -> None:
        """Stop serving a client; the last one closes every source."""
        async with self._lock:
            self._clients.discard(client)
            if self._clients or self._subscription is None:
                return
            self._loop.remove_reader(self._subscription.fileno())
            self._subscription.close()
            self._subscription = None
            if self._recorder:
                self._recorder.leave(self._hear)
                self._recorder = None
            for source in self._sources.values():
                source.close()
            if self._settling:
                self._settling.cancel()
                self._settling = None
            if self._watch:
                self._loop.remove_reader(self._watch.fileno())
                self._watch.close()
                self._watch = None

    def source(self, name: str, make: Callable[[], Callable[[], Any]], period_s: float) -> Source[Any]:
        """What is read once for all pages; the first who asks for the name makes it."""
        if name not in self._sources:  # and those that nobody watches any more, of containers long gone, go
            self._sources = {each: source for each, source in self._sources.items() if source.watched}
            self._sources[name] = Source(make, period_s)
        return self._sources[name]

    def follow(self, container_id: str, wake: asyncio.Event) -> None:
        """Set ``wake`` whenever the container's log may have grown or ended."""
        if self._watch is None:
            self._watch = gateway.engine().log_watch()
            self._loop.add_reader(self._watch.fileno(), self._on_logs)
        if not self._watchers.get(container_id):
            self._watch.add(container_id)
        self._watchers.setdefault(container_id, set()).add(wake)

    def unfollow(self, container_id: str, wake: asyncio.Event) -> None:
        """Undo `follow`."""
        waiting = self._watchers.get(container_id, set())
        waiting.discard(wake)
        if not waiting and self._watchers.pop(container_id, None) is not None and self._watch:
            self._watch.discard(container_id)

    def _hear(self, tick: recorder.Tick) -> None:
        """In the recorder's thread."""
        with contextlib.suppress(RuntimeError):  # the loop ended meanwhile, and its sockets with it
            self._loop.call_soon_threadsafe(self._on_tick, tick)

    def _on_tick(self, tick: recorder.Tick) -> None:
        for listener in list(self.ticks):
            listener(tick)

    def _on_logs(self) -> None:
        if self._watch:
            for container_id in self._watch.changed():
                for wake in self._watchers.get(container_id, ()):
                    wake.set()

    def _on_events(self) -> None:
        self._subscription.drain()
        for waiting in self._watchers.values():  # an end is news for whoever follows that log
            for wake in waiting:
                wake.set()
        if self._settling is None:
            self._settling = self._loop.create_task(self._tell())

    async def _tell(self) -> None:
        await asyncio.sleep(SETTLE_S)
        self._settling = None  # from here on another event begins another burst
        seq = await asyncio.to_thread(gateway.engine().last_event)
        for listener in list(self.news):
            listener(seq)


def hub() -> Hub:
    """The hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
