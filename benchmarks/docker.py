"""Docker as a peer, through its Engine API: a daemon of our own, where Debian's docker.io is installed.

It has a network namespace, directories and a socket of its own, no bridge and no packet filter: it meets neither
the host nor another daemon. Each call is one HTTP request on a connection that stays open, as a program would do it.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import dock

API = "/v1.41"
PATIENCE_S = 60.0
LIMITS = {"NetworkMode": "none", "Memory": 2**30, "NanoCpus": 10**9, "PidsLimit": 2048}


class Docker:
    """A client of the daemon at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.connect(str(self.path))
        return connection

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of one request."""
        return self._ask(self._connection, method, path, body)

    @staticmethod
    def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> Any:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        connection.request(method, API + path, data, {"Content-Type": kind} if data is not None else {})
        response = connection.getresponse()
        text = response.read()
        if response.status >= 400:
            raise RuntimeError(f"docker: {method} {path}: {text.decode(errors='replace')}")
        return json.loads(text) if text and response.headers.get_content_type() == "application/json" else text

    def create(self, *command: str, binds: tuple[str, ...] = (), log: dict[str, str] | None = None) -> str:
        """A container's id."""
        config = LIMITS | {"Binds": list(binds), "LogConfig": {"Type": "json-file", "Config": log or {}}}
        body = {"Image": "busybox", "Cmd": list(command), "HostConfig": config}
        made: str = self.call("POST", "/containers/create", body)["Id"]
        return made

    def start(self, container: str) -> None:
        """From the call to a command that has been executed."""
        self.call("POST", f"/containers/{container}/start")

    def wait(self, container: str) -> None:
        """Until it has ended."""
        self.call("POST", f"/containers/{container}/wait")

    def remove(self, container: str) -> None:
        """Running or not."""
        self.call("DELETE", f"/containers/{container}?force=1")

    def execute(self, container: str, *command: str, tty: bool = False) -> int:
        """The exit code of a further command, once its output has ended."""
        wish = {"Cmd": list(command), "Tty": tty, "AttachStdout": True, "AttachStderr": True}
        made = self.call("POST", f"/containers/{container}/exec", wish)["Id"]
        own = self._connect()  # the answer is the output, until the daemon closes
        self._ask(own, "POST", f"/exec/{made}/start", {"Tty": tty})
        own.close()
        code: int = self.call("GET", f"/exec/{made}/json")["ExitCode"]
        return code


@contextmanager
def daemon() -> Iterator[Docker | None]:
    """A daemon with the image ``busybox``; None where there is none to be had. Nothing is left of it."""
    if not shutil.which("dockerd"):
        yield None
        return
    root = Path(tempfile.mkdtemp(prefix="wharfie-bench-docker-", dir="/var/tmp"))
    run = Path(tempfile.mkdtemp(prefix="wharfie-bench-docker-", dir=dock.RUN_DIRECTORY))
    command = ["unshare", "-m", "-n", "--propagation", "private", "dockerd", "--bridge=none", "--iptables=false",
               "--ip6tables=false", "--storage-driver", "overlay2", "--cgroup-parent", f"/{root.name}",
               "--data-root", str(root / "data"), "--exec-root", str(run / "exec"), "--pidfile", str(run / "pid"),
               "--host", f"unix://{run}/docker.sock"]  # fmt: skip
    with open(root / "daemon.log", "wb") as messages:
        process = subprocess.Popen(command, stdout=messages, stderr=subprocess.STDOUT)
    try:
        docker = _client(process, run / "docker.sock", root / "daemon.log")
        docker.call(
            "POST", "/images/create?fromSrc=-&repo=busybox&tag=latest", dock.rootfs(root / "b.tar").read_bytes()
        )
        try:
            yield docker
        finally:
            for container in docker.call("GET", "/containers/json?all=1"):
                docker.remove(container["Id"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        for group in Path("/sys/fs/cgroup").glob(f"*/{root.name}"):
            os.rmdir(group)
        shutil.rmtree(root)
        shutil.rmtree(run)


def _client(process: subprocess.Popen[bytes], path: Path, messages: Path) -> Docker:
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            docker = Docker(path)
            docker.call("GET", "/version")
            return docker
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.05)
    raise RuntimeError(f"dockerd did not start: {messages.read_text()[-2000:]}")
