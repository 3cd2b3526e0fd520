"""One hub per process: the engine's news and numbers, read once, for every open page.

    engine events --fd--> hub --> pages that watch containers      "changed": they fetch what they show
    engine.sample --1 s-> hub --> pages that watch numbers         whole snapshots: losing one is harmless
    log segments  --fd--> hub --> pages that follow a log          only "there is more": each page reads for itself

All of it runs in the event loop; what may block runs in threads. Nothing runs while nobody watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from console import gateway
from console.live.numbers import Rates, choose
from engine import errors

if TYPE_CHECKING:
    from console.live.consumer import LiveConsumer
    from engine import LogWatch

log = logging.getLogger(__name__)

PERIOD_S = 1.0
SETTLE_S = 0.15  # events come in bursts (create, start, …): one "changed" for each burst

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


class Hub:
    """Who watches what, and the sources that feed them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._clients: set[LiveConsumer] = set()
        self._subscription: Any = None
        self._watch: LogWatch | None = None
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._settling: asyncio.TimerHandle | None = None
        self._sampler: asyncio.Task[None] | None = None
        self._news: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    async def join(self, client: LiveConsumer) -> None:
        """Begin to serve a client; the first one opens the engine's subscription."""
        async with self._lock:
            if self._subscription is None:
                self._subscription = await asyncio.to_thread(gateway.engine().subscribe)
                self._loop.add_reader(self._subscription.fileno(), self._on_events)
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
            if self._sampler:
                self._sampler.cancel()
                self._sampler = None
            if self._watch:
                self._loop.remove_reader(self._watch.fileno())
                self._watch.close()
                self._watch = None

    def clients_of(self, session_key: str) -> list[LiveConsumer]:
        """The sockets that a session has open."""
        return [client for client in self._clients if client.session_key == session_key]

    def want_numbers(self) -> None:
        """Make sure that the sampler runs."""
        if self._sampler is None or self._sampler.done():
            self._sampler = self._loop.create_task(self._sample())

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
            self._settling = self._loop.call_later(SETTLE_S, self._tell)

    def _tell(self) -> None:
        self._settling = None
        for client in self._clients:
            if client.watches_containers:
                self._later(client.push({"topic": "containers"}))

    def _later(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._news.add(task)
        task.add_done_callback(self._news.discard)

    async def _sample(self) -> None:
        rates = Rates()
        while any(client.stats_ids or client.watches_host for client in self._clients):
            began = self._loop.time()
            try:
                figures, host = await asyncio.to_thread(_read_numbers, rates)
            except errors.EngineError as error:
                log.warning("sampling: %s", error)
                figures, host = {}, {}
            for client in list(self._clients):
                frame: dict[str, Any] = {"topic": "stats", "of": choose(figures, client.stats_ids)}
                if client.watches_host:
                    frame["host"] = host
                if client.stats_ids or client.watches_host:
                    self._later(client.push(frame))
            await asyncio.sleep(max(0.2, PERIOD_S - (self._loop.time() - began)))


def _read_numbers(rates: Rates) -> tuple[dict[str, Any], dict[str, Any]]:
    import psutil  # loaded with the first watcher

    engine = gateway.engine()
    memory = psutil.virtual_memory()
    host = {
        "cpu": round(psutil.cpu_percent() * (psutil.cpu_count() or 1) / 100, 2),
        "cpus": psutil.cpu_count() or 1,
        "mem": memory.total - memory.available,
        "limit": memory.total,
    }
    return rates.update(engine.sample(engine.running())), host


def hub() -> Hub:
    """The hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())


def on_sign_out(sender: Any, request: Any, **_kwargs: Any) -> None:
    """Close the sockets of the session that ends; called in a request's thread."""
    key = request.session.session_key
    for loop, found in list(_hubs.items()):
        for client in found.clients_of(key) if key else ():
            with contextlib.suppress(RuntimeError):  # the loop ended meanwhile, and its sockets with it
                asyncio.run_coroutine_threadsafe(client.close(code=client.SIGNED_OUT), loop)
