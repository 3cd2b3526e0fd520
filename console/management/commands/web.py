"""``manage.py web``: migrate, say where to look, and serve pages and websockets in this process."""

from __future__ import annotations

import gc
import logging
import resource
import tempfile
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import get_resolver

from console import gateway, jobs, ownlog, recorder
from console.migration import migrate


class Command(BaseCommand):
    """Serves until SIGTERM or SIGINT, and then ends with code 0. Containers do not notice."""

    help = "Serve the console's pages."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to listen: the supervisor hands over a socket that is already bound."""
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--fd", type=int, help="an inherited socket that already listens")
        where.add_argument("--endpoint", help="a Twisted endpoint, as tcp:8000:interface=127.0.0.1 or ssl:…")

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # five for each container that is measured
        settings.PATHS.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.PATHS.tmp.mkdir(mode=0o700, exist_ok=True)
        ownlog.keep()
        tempfile.tempdir = str(settings.PATHS.tmp)  # bodies are spooled there; /tmp is memory on many hosts
        migrate()
        gateway.engine().tidy()
        for left in settings.PATHS.tmp.glob("tmp*.upload*"):  # as Django names them, of a process that was killed
            left.unlink(missing_ok=True)
        jobs.recover()
        # Beside the pages: nobody should wait for a hundred starts to see how they go.
        threading.Thread(target=gateway.engine().revive, daemon=True).start()
        threading.Thread(target=recorder.recorder().run, daemon=True).start()
        self._serve(options["endpoint"], options["fd"])

    def _greet(self) -> None:
        from console.accounts.models import User
        from console.management.commands.setup_link import new_setup_url

        self.stdout.write(
            f"Wharfie listens on {'https' if settings.SECURE and not settings.BEHIND_PROXY else 'http'}://{settings.LISTEN}"
        )
        if not User.objects.exists():
            self.stdout.write(f"Choose your user name and password here, within 30 minutes:\n  {new_setup_url()}")
        self.stdout.flush()

    def _serve(self, endpoint: str | None, fd: int | None) -> None:
        gc.collect()  # what beginning has left; what is imported now stays, as in manage.py
        gc.disable()
        from console.asgi import application
        from console.server import Server

        get_resolver().url_patterns  # noqa: B018 - read for the views it imports: not while the first reader waits
        gc.freeze()
        gc.enable()

        logging.getLogger("daphne").setLevel(logging.ERROR)
        host, _colon, port = settings.LISTEN.rpartition(":")
        if fd is not None:
            where = f"fd:fileno={fd}"
        else:
            where = endpoint or f"tcp:{port}:interface={host.strip('[]').replace(':', chr(92) + ':')}"
        server = Server(
            application,
            endpoints=[where],
            http_timeout=None,  # an upload of an image takes as long as it takes
            # Held both ways: what a page may say, its consumer limits further.
            websocket_max_message_size=4 * 2**20,
            websocket_max_frame_size=4 * 2**20,
            application_close_timeout=5,
            server_name="",  # which server answers only helps whoever looks for its holes
            verbosity=0,
            ready_callable=lambda: server.listening_addresses and self._greet(),
        )
        server.run()
        if not server.listening_addresses:
            raise CommandError(f"cannot listen on {where}")
