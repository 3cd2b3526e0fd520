"""`manage.py serve` as a person meets it: what it refuses, what it says, what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, build_opener

import pytest

from console import supervisor
from console.listeners import who_listens
from engine import Config, ContainerSpec, Engine
from engine.linux import process, unix
from engine.storage.paths import Paths
from tests.conftest import eventually, wait_readable
from tests.console.serving import Serve

TOP = Path(__file__).resolve().parents[2]


def status_of(url: str, context: ssl.SSLContext | None = None) -> int:
    """The status of a page, redirects not followed."""
    from urllib.request import HTTPSHandler

    class Stay(HTTPRedirectHandler):
        def redirect_request(self, *_arguments: object) -> None:  # type: ignore[override]
            return None

    opener = build_opener(Stay, HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


def gone(pidfd: int) -> bool:
    try:
        return wait_readable(pidfd, 15)
    finally:
        os.close(pidfd)


def test_serve_takes_no_arguments(capfd: pytest.CaptureFixture[str]) -> None:
    assert supervisor.main(["--port", "80"]) == 2
    assert "usage" in capfd.readouterr().err


def test_who_is_not_root_is_told_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert supervisor.main([]) == 1
    assert "sudo make run" in capsys.readouterr().err


def test_a_page_answers_and_the_end_leaves_no_process(serve: Serve) -> None:
    url = serve.until(r"listens on (http://\S+)\s")
    assert status_of(url) == 302
    children = [os.pidfd_open(serve.child(name)) for name in ("launcher", "web")]
    assert serve.end(signal.SIGINT) == 0
    assert serve.text.endswith("console stopped\n")
    assert all(map(gone, children))


def test_a_killed_web_process_comes_back(serve: Serve) -> None:
    serve.until(r"listens on (http://\S+)\s")
    os.kill(serve.child("web"), signal.SIGKILL)
    serve.until(r"web process was killed by signal 9; starting it again in 0\.1 s")
    url = serve.until(r"(?s)starting it again.*listens on (http://\S+)\s")
    assert status_of(url) == 302


def test_a_killed_launcher_comes_back(serve: Serve, config: Config) -> None:
    serve.until(r"listens on (http://\S+)\s")
    old = serve.child("launcher")
    os.kill(old, signal.SIGKILL)
    serve.until("launcher process was killed by signal 9")
    with Engine(config) as engine:
        engine.make_starter_image()  # unpacked by the new one: this engine starts none itself
    assert serve.end() == 0


def test_a_killed_supervisor_takes_web_along_and_the_next_one_takes_over(serve: Serve, config: Config) -> None:
    serve.until(r"listens on (http://\S+)\s")
    web, launcher = (os.pidfd_open(serve.child(name)) for name in ("web", "launcher"))
    serve.process.kill()
    assert gone(web)
    following = Serve(config)
    try:
        assert status_of(following.until(r"listens on (http://\S+)\s")) == 302
    finally:
        assert following.end() == 0
    assert gone(launcher)


def test_a_logout_changes_nothing(config: Config) -> None:
    master, terminal = os.openpty()
    serve = Serve(config, terminal)
    try:
        url = serve.until(r"listens on (http://\S+)\s")
        web = serve.child("web")
        serve.process.send_signal(signal.SIGHUP)
        assert status_of(url) == 302
        assert serve.child("web") == web
    finally:
        assert serve.end() == 0
        os.close(terminal)
        os.close(master)


def test_told_to_reload_it_has_another_web_process_and_no_page_is_refused(serve: Serve) -> None:
    url = serve.until(r"listens on (http://\S+)\s")
    web, launcher = serve.child("web"), serve.child("launcher")
    serve.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: not os.path.exists(f"/proc/{web}"), timeout_s=15)
    assert status_of(url) == 302, "who comes meanwhile waits at the socket, which is the supervisor's"
    assert serve.child("web") != web
    assert serve.child("launcher") == launcher


def test_the_own_certificate_is_served_and_its_fingerprint_told(config: Config) -> None:
    serve = Serve(config, WHARFIE_TLS="self")
    try:
        told = serve.until(r"fingerprint \(SHA-256\): (\S+)")
        url = serve.until(r"listens on (https://\S+)\s")
        host, _colon, port = url.removeprefix("https://").partition(":")
        assert eventually(lambda: who_listens(int(port)))  # with TLS the web process binds by itself
        pem = ssl.get_server_certificate((host, int(port)), timeout=10)
        seen = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        assert told.replace(":", "").lower() == seen
        trusted = ssl.create_default_context(cafile=str(config.root / "tls/certificate.pem"))
        assert status_of(url, trusted) == 302
    finally:
        serve.end()


def test_told_to_reload_it_shows_a_renewed_certificate(config: Config, tmp_path: Path) -> None:
    names = {part: tmp_path / f"{part}.pem" for part in ("cert", "key")}

    def renew() -> None:
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=console", "-days", "2"]
        subprocess.run([*make, "-keyout", names["key"], "-out", names["cert"]], check=True, stderr=subprocess.DEVNULL)

    renew()
    serve = Serve(config, WHARFIE_TLS_CERT=str(names["cert"]), WHARFIE_TLS_KEY=str(names["key"]))
    try:
        host, _colon, port = serve.until(r"listens on https://(\S+)\s").partition(":")

        def shows() -> bool:
            try:
                seen = ssl.get_server_certificate((host, int(port)), timeout=10)
            except OSError:  # the web process binds by itself, and has not yet
                return False
            return seen.strip() == names["cert"].read_text().strip()

        assert eventually(shows)
        renew()
        assert not shows()
        serve.process.send_signal(signal.SIGHUP)
        assert eventually(shows, timeout_s=30)
    finally:
        serve.end()


def test_a_setup_link_from_another_shell_leads_to_where_the_console_serves(config: Config) -> None:
    serve = Serve(config, WHARFIE_TLS="self")
    try:
        url = serve.until(r"listens on (https://\S+)\s")
        bare = {"WHARFIE_ROOT": str(config.root), "WHARFIE_RUN": str(config.run), "PATH": os.environ["PATH"]}
        command = [sys.executable, "manage.py", "setup_link"]
        link = subprocess.run(command, cwd=TOP, env=bare, capture_output=True, text=True, check=True).stdout.strip()
        assert link.startswith(f"{url}/setup/")
        assert status_of(link, ssl.create_default_context(cafile=str(config.root / "tls/certificate.pem"))) == 200
    finally:
        serve.end()


def test_containers_outlive_the_console_and_are_counted(engine: Engine, config: Config) -> None:
    engine.make_starter_image()
    container = engine.create(ContainerSpec(image="wharfie/starter", command=("sleep", "1000")))
    serve = Serve(config)
    serve.until(r"listens on (http://\S+)\s")
    engine.start(container.id)
    assert serve.end() == 0
    assert "console stopped; 1 container still runs; `sudo make down` stops them\n" in serve.text
    assert [running.id for running in engine.running()] == [container.id]
    following = Serve(config)
    following.until(r"listens on (http://\S+)\s")
    engine.stop(container.id, 0)
    assert following.end() == 0
    assert following.text.endswith("console stopped\n")


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM", "PIPE"])
def test_a_signal_to_the_web_process_ends_no_container(engine: Engine, config: Config, name: str) -> None:
    """It may end the web process; then there is another one, and it answers."""
    engine.make_starter_image()
    container = engine.start(engine.create(ContainerSpec("wharfie/starter", command=("sleep", "1000"))).id)
    serve = Serve(config)
    try:
        url = serve.until(r"listens on (http://\S+)\s")
        assert status_of(url) == 302
        os.kill(serve.child("web"), getattr(signal, f"SIG{name}"))

        def answers() -> bool:
            try:
                return status_of(url) == 302
            except OSError:  # it is just ending
                return False

        assert eventually(answers, timeout_s=30)
        assert engine.inspect(container.id).pid == container.pid
    finally:
        assert serve.end() == 0


def test_the_supervisor_is_small(serve: Serve) -> None:
    """It reads no more than the interpreter: neither enum nor re, which most of the standard library needs."""
    serve.until(r"listens on (http://\S+)\s")
    command = Path(f"/proc/{serve.process.pid}/cmdline").read_bytes().split(b"\0")
    assert command[1:4] == [b"-S", b"-E", b"-s"]
    code = "import sys; sys.path.insert(0, '.'); import console.supervisor; print(*sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-S", "-E", "-s", "-c", code], cwd=TOP, capture_output=True, text=True, check=True
    )
    assert not {"enum", "re", "socket", "json", "dataclasses", "pathlib", "django"} & set(modules.stdout.split())


def test_nobody_answers_where_no_launcher_is(config: Config) -> None:
    assert supervisor.answering(str(Paths(config).launcher_socket)) == 0
    assert supervisor.answering("/nowhere/launcher.sock") == 0


def test_a_killed_launcher_whose_child_listens_a_moment_longer_is_not_taken_over(tmp_path: Path) -> None:
    path, (told, tell), (wait, end) = str(tmp_path / "launcher.sock"), os.pipe(), os.pipe()
    launcher = os.fork()
    if launcher == 0:
        listener = unix.bind(path)
        listener.listen()
        os.write(tell, b"!")
        os.close(end)
        if os.fork() == 0:
            os.read(wait, 1)
        os._exit(0)
    os.read(told, 1)
    os.waitpid(launcher, 0)
    try:
        assert supervisor.answering(path) == launcher
        watched = supervisor.Supervisor(str(tmp_path), path, -1, [sys.executable, "-c", ""], [])
        watched.start(watched.launcher)
        assert watched.launcher.pid not in (0, launcher)
        assert not watched.launcher.adopted
        watched.launcher.ended()
    finally:
        for descriptor in (told, tell, wait, end, watched.lifeline, watched._lifeline_writer):
            os.close(descriptor)


def test_run_records_of_other_processes_do_not_count(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    own = {"pid": os.getpid(), "start_time": process.start_time(os.getpid()), "boot_id": process.boot_id()}
    for name, record in {
        "own": own,
        "dead": own | {"pid": dead.pid},
        "pid-used-again": own | {"start_time": 1},
        "before-a-reboot": own | {"boot_id": "another"},
        ".half-written": own,
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    (tmp_path / "damaged.json").write_text("{")
    assert supervisor.count_running(str(tmp_path)) == 1
    assert supervisor.count_running(str(tmp_path / "absent")) == 0
