"""The command line: Docker's flags read as Docker reads them, exit codes that scripts can trust."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from console import commands
from console.commandline import main, parser
from engine import Config, ContainerSpec, Engine, Limits, NetworkMode, VolumeMount
from engine.errors import InvalidRequest
from tests.conftest import wait_readable
from tests.images import small_starter

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(config: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The command line works on this test's instance."""
    monkeypatch.setenv("WHARFIE_ROOT", str(config.root))
    monkeypatch.setenv("WHARFIE_RUN", str(config.run))
    return config


@pytest.fixture
def starter(here: Config, engine: Engine) -> Engine:
    small_starter(engine)
    return engine


def wharfie(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """The command line as a process, for signals."""
    command = [sys.executable, "manage.py", "wharfie", *arguments]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=TOP, text=True, **pipes, **options)  # type: ignore[call-overload, no-any-return]


def test_flags_of_run_become_a_spec(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FROM_SHELL", "yes")
    monkeypatch.delenv("ABSENT", raising=False)
    (tmp_path / "env").write_text("# comment\n\nFILE=1\n")
    flags = "run -d --name web -e A=1 -e FROM_SHELL -e ABSENT -u 1000:1000 -w /srv -m 64m --memory-swap 128m --cpus 1.5"
    flags += f" --pids-limit 50 --network host -v data:/data:ro -v more:/more --hostname box --env-file {tmp_path}/env"
    flags += " --stop-signal INT --stop-timeout 3 --label a=b --entrypoint /bin/sh debian:12 -c ls -d"
    assert commands.spec(parser().parse_args(flags.split())) == ContainerSpec(
        image="debian:12",
        name="web",
        command=("-c", "ls", "-d"),
        entrypoint=("/bin/sh",),
        env=("FILE=1", "A=1", "FROM_SHELL=yes"),
        user="1000:1000",
        workdir="/srv",
        hostname="box",
        network=NetworkMode.HOST,
        limits=Limits(memory_bytes=64 * 2**20, memory_swap_bytes=128 * 2**20, cpus=1.5, pids=50),
        volumes=(VolumeMount("data", "/data", read_only=True), VolumeMount("more", "/more")),
        stop_signal="INT",
        stop_timeout_s=3.0,
        labels={"a": "b"},
    )


def test_nothing_given_is_left_to_the_image() -> None:
    made = commands.spec(parser().parse_args(["create", "debian"]))
    assert made == ContainerSpec(image="debian")
    assert commands.spec(parser().parse_args(["create", "--entrypoint", "", "debian"])).entrypoint == ()


def test_an_entrypoint_is_split_into_words_as_in_the_page() -> None:
    made = commands.spec(parser().parse_args(["create", "--entrypoint", "sh -c 'a b'", "debian"]))
    assert made.entrypoint == ("sh", "-c", "a b")


@pytest.mark.parametrize(
    "text",
    ["x", "data:", "data:relative", "/host:/path", "./here:/path", "data:/path:rx", "data:/path:", ":/b", "a:/b:ro:z"],
)
def test_what_is_no_volume_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        VolumeMount.parse(text)
    assert refused.value.field == "volumes"


@pytest.mark.parametrize("flags", [["--label", "x"], ["--label", "=x"], ["--entrypoint", "'"], ["--env-file", "/no"]])
def test_what_makes_no_sense_is_refused_with_a_hint(flags: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        commands.spec(parser().parse_args(["create", *flags, "debian"]))
    assert refused.value.hint


def test_a_file_of_variables_that_is_no_text_is_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match="no text") as refused:
        commands.env_lines(tmp_path / "binary")
    assert refused.value.hint


def test_times_are_ages_or_dates() -> None:
    assert abs(commands.moment_ns("2h") - (time.time_ns() - 7200 * 10**9)) < 10**9
    assert commands.moment_ns("2026-01-31T12:00:00Z") == 1769860800 * 10**9
    with pytest.raises(InvalidRequest):
        commands.moment_ns("yesterday")


def test_a_table_holds_nothing_that_steers_a_terminal(starter: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    argv = ("sh", "-c", "\x1b]0;title\x07one\ntwo\x1b[2J\u202e")
    starter.create(ContainerSpec(image="wharfie/starter", name="evil", command=argv))
    assert main(["ps", "-a"]) == 0
    shown = capfd.readouterr().out
    assert len(shown.splitlines()) == 2
    assert "sh -c 'one two'" in shown
    assert not set(shown) & set("\x1b\x07\u202e")


def test_doctor_speaks_and_json_is_a_document_a_line(here: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "ok    root: " in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    checks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"name", "ok", "fatal", "text", "hint"} == set(checks[0])


def test_down_is_quiet_where_nothing_runs_and_makes_nothing(here: Config, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["down"]) == 0
    assert capfd.readouterr() == ("", "")
    assert list(here.root.iterdir()) == []


def test_an_error_says_what_to_do_and_exits_125(here: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nosuch"]) == 125
    error = capsys.readouterr().err
    assert error.startswith("wharfie: ")
    assert len(error.splitlines()) == 2


def test_detach_and_rm_exclude_each_other(here: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-d", "--rm", "x"]) == 125
    assert "-d and --rm" in capsys.readouterr().err


def test_run_ends_as_the_container_does(starter: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--rm", "wharfie/starter", "sh", "-c", "echo out; echo err >&2; exit 7"]) == 7
    assert capfd.readouterr() == ("out\n", "err\n")
    assert main(["run", "--rm", "wharfie/starter", "no-such-command"]) == 127
    assert main(["run", "--rm", "wharfie/starter", "/etc/passwd"]) == 126
    assert starter.containers() == []


def test_a_life_from_the_command_line(starter: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    def out(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        return capfd.readouterr().out

    identity = out(
        "run", "-d", "--name", "one", "wharfie/starter", "sh", "-c", "trap exit TERM; echo a; echo b; sleep 1000 & wait"
    ).strip()
    assert out("ps", "-q").strip() == identity[:12]
    assert json.loads(out("ps", "--json"))["name"] == "one"
    assert "running for" in out("ps")
    assert main(["rm", "one"]) == 125
    assert "one" in capfd.readouterr().err
    assert out("kill", "-s", "KILL", "one") == "one\n"
    assert starter.wait("one").code == 137
    assert out("logs", "-n", "1", "one") == "b\n"
    assert out("logs", "-f", "one") == "a\nb\n"
    assert out("logs", "-t", "one").splitlines()[0].endswith("Z a")
    assert out("ps").count("\n") == 1
    assert "exited (137)" in out("ps", "-a")
    assert out("start", "one") == "one\n"
    assert out("down") == "stopped one\n"
    assert out("rm", "one") == "one\n"


def test_one_that_fails_keeps_no_other_from_its_turn(starter: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    starter.create(ContainerSpec(image="wharfie/starter", name="second"))
    assert main(["rm", "first", "second"]) == 125
    assert capfd.readouterr().out == "second\n"
    assert starter.containers() == []


def test_images_and_volumes(starter: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["images"]) == 0
    assert "wharfie/starter:latest" in capfd.readouterr().out
    assert main(["volumes", "create", "data"]) == 0
    arguments = ["run", "--rm", "-v", "data:/data", "wharfie/starter", "sh", "-c"]
    assert main([*arguments, "echo kept > /data/file"]) == 0
    assert main([*arguments, "cat /data/file"]) == 0
    assert capfd.readouterr().out == "data\nkept\n"
    assert main(["volumes", "rm", "data"]) == 0
    assert main(["images", "rm", "wharfie/starter"]) == 0
    assert starter.images() == []


def test_a_volume_that_is_not_there_yet_comes_with_its_container(starter: Engine) -> None:
    assert main(["create", "--name", "web", "-v", "data:/data", "wharfie/starter"]) == 0
    assert [volume.used_by for volume in starter.volumes()] == [("web",)]
    assert main(["create", "--name", "web", "-v", "more:/more", "-v", "data:/data", "wharfie/starter"]) == 125
    assert [volume.name for volume in starter.volumes()] == ["data"], "what was made for nothing goes again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_run_is_passed_on(starter: Engine, number: signal.Signals) -> None:
    script = "trap 'echo int; exit 3' INT; trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    with wharfie("run", "--rm", "wharfie/starter", "sh", "-c", script) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(number)
        assert run.communicate(timeout=20)[0] == f"{number.name[3:].lower()}\n"
    assert run.returncode == 3
    assert starter.containers() == []


def test_who_does_not_heed_the_first_signal_is_killed_by_the_second(starter: Engine) -> None:
    with wharfie("run", "--rm", "wharfie/starter", "sh", "-c", "trap '' INT; echo ready; exec sleep 1000") as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGINT)
        assert run.stderr.readline() == "stopping; Ctrl-C again to kill\n"
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=8)
    assert run.returncode == 137


def test_a_reader_that_leaves_is_no_error(starter: Engine) -> None:
    container = starter.create(ContainerSpec(image="wharfie/starter", command=("seq", "100000")))
    starter.start(container.id)
    starter.wait(container.id)
    with wharfie("logs", container.name) as logs:
        assert logs.stdout is not None
        assert wait_readable(logs.stdout.fileno(), 10)
        os.read(logs.stdout.fileno(), 10)
        logs.stdout.close()
        assert logs.wait(20) == 141
        assert logs.stderr is not None
        assert logs.stderr.read() == ""
