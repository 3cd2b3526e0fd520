"""What the create form says in others' words is read back by those: the `run` parser, YAML, and the form itself."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from console import commands, compose, spelling, text
from console.commandline import parser
from console.containers.forms import CreateForm, initial
from engine import (
    BindMount,
    Caller,
    ContainerSpec,
    Device,
    HealthCheck,
    HugePages,
    IoLimit,
    Limits,
    Namespaces,
    NetworkMode,
    RestartMode,
    RestartPolicy,
    Role,
    Security,
    TmpfsMount,
    Ulimit,
    VolumeMount,
)

FULL = ContainerSpec(
    image="team/app:1",
    name="web",
    command=("sh", "-c", "echo \"$HOME\" 'a b'; -x", ""),
    entrypoint=("/bin/env",),
    env=("A=1", "QUOTE='\"", "MONEY=$5", "EMPTY=", "LINES=one\ntwo", "ENDS= a ", "BASH=$'a'", "PATH=C:\\new"),
    user="1000:1000",
    workdir="/srv/my dir",
    hostname="web.example",
    domainname="example",
    network=NetworkMode.CONTAINER,
    namespaces=Namespaces(pid="host", ipc="container:db", uts="", user="host", network="container:db"),
    security=Security(
        privileged=True, cap_add=("NET_RAW",), cap_drop=("CHOWN",),
        devices=(Device("/dev/fuse", "/dev/fuse", "rw"), Device("/dev/kvm", "/dev/other")), seccomp="unconfined",
        sysctls={"net.core.somaxconn": "1024"}, ulimits=(Ulimit("nofile", 1024, 4096), Ulimit("core", -1, -1)),
        read_only=True, shm_bytes=2**20, oom_score_adj=500, group_add=("audio",),
    ),
    limits=Limits(
        memory_bytes=64 * 2**20, memory_swap_bytes=-1, cpus=0.5, pids=32, cpu_shares=512, cpuset_cpus="0-1",
        cpuset_mems="0", io_weight=100,
        io=(IoLimit("/dev/sda", read_bytes_per_s=2**20), IoLimit("/dev/sdb", writes_per_s=0)),
        huge_pages=(HugePages(2 * 2**20, 64 * 2**20),),
    ),
    volumes=(VolumeMount("data", "/srv", read_only=True, copy=False), VolumeMount("deep", "/a,b", subpath="x/y")),
    binds=(BindMount("/opt", "/opt"), BindMount("/host:dir", "/mnt", read_only=True)),
    tmpfs=(TmpfsMount("/run", 16 * 2**20, 0o755, executable=True),),
    stop_signal="SIGINT",
    stop_timeout_s=-1,
    restart=RestartPolicy(RestartMode.ON_FAILURE, 3),
    health=HealthCheck(("/bin/sh", "-c", "test -e /x && echo 'y'"), interval_s=1.5, retries=2, start_period_s=60),
    tty=True,
    stdin=True,
    init=True,
    labels={"team": "a=b c"},
)  # fmt: skip
PLAIN = ContainerSpec(image="team/app:1")


def read(line: str) -> ContainerSpec:
    """As a shell splits it, and our own command line reads it."""
    script = 'docker() { printf "%s\\0" "$@"; }\n' + line
    said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout.decode()
    words = said.split("\0")[:-1]
    assert words[0] == "run"
    return commands.spec(parser().parse_args(words))


@pytest.mark.parametrize("spec", [PLAIN, FULL])
def test_the_run_line_is_read_back_as_the_same_request(spec: ContainerSpec) -> None:
    assert read(spelling.shell(spelling.run(spec))) == spec


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1), st.text("a $'\"\\\n-="))
def test_no_word_breaks_out_of_its_quotes(command: list[str], value: str) -> None:
    spec = ContainerSpec("app", command=("sh", *command), env=(f"A={value}",), labels={"x": value})
    assert read(spelling.shell(spelling.run(spec))) == spec
    service = yaml.safe_load(compose.compose(spec))["services"]["app"]
    assert service["command"] == [word.replace("$", "$$") for word in spec.command or ()]
    assert service["environment"] == {"A": value.replace("$", "$$")}


def test_the_compose_file_says_what_the_request_does() -> None:
    text = compose.compose(FULL)
    service = yaml.safe_load(text)["services"]["web"]
    assert "no word for cpuset_mems" in text
    wanted: dict[str, Any] = {
        "image": "team/app:1", "container_name": "web", "entrypoint": ["/bin/env"], "user": "1000:1000",
        "working_dir": "/srv/my dir", "network_mode": "container:db", "pid": "host", "ipc": "container:db",
        "userns_mode": "host", "mem_limit": "64m", "memswap_limit": -1, "cpus": 0.5, "pids_limit": 32,
        "cpuset": "0-1", "restart": "on-failure:3", "privileged": True, "cap_add": ["NET_RAW"], "read_only": True,
        "devices": ["/dev/fuse:/dev/fuse:rw", "/dev/kvm:/dev/other:rwm"], "security_opt": ["seccomp:unconfined"],
        "ulimits": {"nofile": {"soft": 1024, "hard": 4096}, "core": {"soft": -1, "hard": -1}}, "init": True,
        "labels": {"team": "a=b c"}, "tmpfs": ["/run:size=16m,mode=755,exec"], "stop_signal": "SIGINT",
        "environment": {"A": "1", "QUOTE": "'\"", "MONEY": "$$5", "EMPTY": "",
                        "LINES": "one\ntwo", "ENDS": " a ", "BASH": "$$'a'", "PATH": "C:\\new"},
    }  # fmt: skip
    assert {key: service[key] for key in wanted} == wanted
    assert service["healthcheck"]["test"] == ["CMD", "/bin/sh", "-c", "test -e /x && echo 'y'"]
    assert service["healthcheck"]["interval"] == "1500ms"
    assert service["blkio_config"]["device_read_bps"] == [{"path": "/dev/sda", "rate": "1m"}]
    assert service["volumes"][1] == {
        "type": "volume", "source": "deep", "target": "/a,b", "read_only": False, "volume": {"subpath": "x/y"},
    }  # fmt: skip


@pytest.mark.parametrize("spec", [PLAIN, FULL])
def test_a_form_that_is_filled_in_from_a_request_asks_for_it(spec: ContainerSpec) -> None:
    data = {name: str(value) for name, value in initial(spec).items() if value not in (None, "", False)}
    form = CreateForm(data, caller=Caller(Role.ADMIN))
    assert form.is_valid(), form.errors
    assert form.spec == spec


def test_a_member_is_offered_no_field_that_is_for_admins() -> None:
    form = CreateForm({"image": "app", "privileged": "on", "userns": "host"}, caller=Caller(Role.MEMBER, "mate"))
    assert form.is_valid()
    assert form.spec.security == Security()
    assert form.spec.namespaces == Namespaces()
    assert not {"privileged", "devices", "seccomp", "userns"} & set(form.fields)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("io", "fast /dev/sda"), ("huge_pages", "2m=lots"), ("devices", "/dev/x:zz"), ("ulimits", "nofile"),
        ("sysctls", "x"), ("tmpfs", "/run:blue"), ("health_interval", "soon"), ("shm_bytes", "wide"),
        ("memory_swap", "much"), ("labels", "x"), ("log_segment", "big"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_at_its_field(field: str, text: str) -> None:
    form = CreateForm({"image": "app", "health": "true", field: text}, caller=Caller(Role.ADMIN))
    assert set(form.errors) == {field}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_value_is_one_line_of_a_form_and_read_back(value: str) -> None:
    line = spelling.line(f"NAME={value}")
    assert text.lines(line) == [line]
    assert spelling.entry(line) == f"NAME={value}"
