"""The fields of the form that asks for a container, by section. Their names are the engine's, which names them in its
errors; what each line of a text means is what Docker's flag of the same kind takes."""

from __future__ import annotations

from typing import Any, NamedTuple

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from engine import NetworkMode, RestartMode

Words = str | Promise


class Section(NamedTuple):
    """Some fields under one title; closed unless something is in them."""

    name: str
    title: Words
    note: Words
    rows: tuple[tuple[str, ...], ...]  # names of fields side by side

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [name for row in self.rows for name in row]


SECTIONS = (
    Section("limits", _("Limits"), "", (("memory", "cpus", "pids"), ("memory_swap", "cpu_shares", "io_weight"),
            ("cpuset_cpus", "cpuset_mems"), ("io", "huge_pages"))),
    Section("process", _("Process"), _("as the image says"), (("entrypoint", "user", "workdir"),
            ("hostname", "domainname"), ("init", "tty", "stdin"), ("stop_signal", "stop_timeout_s"))),
    Section("env", _("Variables"), "", (("env",),)),
    Section("mounts", _("Mounts"), "", (("volumes",), ("tmpfs", "read_only"))),
    Section("network", _("Network"), "", (("network",), ("network_of",))),
    Section("upkeep", _("Restart and health"), "", (("restart", "restarts"), ("health",),
            ("health_interval", "health_timeout", "health_retries"),
            ("health_start_period", "health_start_interval", "no_health"))),
    Section("log", _("Log and labels"), "", (("log_segment", "log_segments"), ("labels",))),
    Section("isolation", _("Isolation"), _("closed, unless you open it here"), (("cap_add", "cap_drop"),
            ("privileged",), ("devices", "sysctls"), ("ulimits", "group_add"), ("pid", "ipc", "uts", "userns"),
            ("seccomp",), ("shm_bytes", "oom_score_adj"))),
)  # fmt: skip

FOR_ADMINS = ("cap_add", "privileged", "devices", "pid", "ipc", "uts", "userns", "seccomp", "io", "network_of")
FLAGS = {  # Docker's for the same, for who knows it by that
    "name": "--name", "memory": "--memory", "cpus": "--cpus", "pids": "--pids-limit", "memory_swap": "--memory-swap",
    "cpu_shares": "--cpu-shares", "io_weight": "--blkio-weight", "cpuset_cpus": "--cpuset-cpus",
    "cpuset_mems": "--cpuset-mems", "io": "--device-read-bps …", "huge_pages": "--hugetlb",
    "entrypoint": "--entrypoint", "user": "--user", "workdir": "--workdir", "hostname": "--hostname",
    "domainname": "--domainname", "init": "--init", "tty": "--tty", "stdin": "--interactive",
    "stop_signal": "--stop-signal", "stop_timeout_s": "--stop-timeout", "env": "--env", "volumes": "--volume",
    "tmpfs": "--tmpfs", "read_only": "--read-only", "network": "--network", "network_of": "--network container:NAME",
    "restart": "--restart", "restarts": "--restart on-failure:N", "health": "--health-cmd",
    "health_interval": "--health-interval", "health_timeout": "--health-timeout",
    "health_retries": "--health-retries", "health_start_period": "--health-start-period",
    "health_start_interval": "--health-start-interval", "no_health": "--no-healthcheck",
    "log_segment": "--log-opt max-size", "log_segments": "--log-opt max-file", "labels": "--label",
    "cap_add": "--cap-add", "cap_drop": "--cap-drop", "privileged": "--privileged", "devices": "--device",
    "sysctls": "--sysctl", "ulimits": "--ulimit", "group_add": "--group-add", "pid": "--pid", "ipc": "--ipc",
    "uts": "--uts", "userns": "--userns", "seccomp": "--security-opt seccomp", "shm_bytes": "--shm-size",
    "oom_score_adj": "--oom-score-adj",
}  # fmt: skip
IMAGE_SAYS = _("as the image says")


def _line(label: Words, help_text: Words = "", placeholder: Words = "", *, mode: str = "") -> forms.CharField:
    attrs: dict[str, Any] = {"class": "mono", "spellcheck": "false", "autocomplete": "off", "placeholder": placeholder}
    widget = forms.TextInput(attrs=attrs | ({"inputmode": mode} if mode else {}))
    return forms.CharField(label=label, required=False, help_text=help_text, widget=widget)


def _area(label: Words, help_text: Words, placeholder: Words, rows: int = 3) -> forms.CharField:
    attrs = {"class": "mono", "spellcheck": "false", "rows": rows, "placeholder": placeholder}
    return forms.CharField(label=label, required=False, help_text=help_text, widget=forms.Textarea(attrs=attrs))


def _number(label: Words, help_text: Words = "") -> forms.IntegerField:
    widget = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})
    return forms.IntegerField(label=label, required=False, help_text=help_text, widget=widget)


def _tick(label: Words, help_text: Words = "") -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, help_text=help_text)


def _one_of(label: Words, choices: list[tuple[str, Words]]) -> forms.ChoiceField:
    initial = choices[0][0]
    return forms.ChoiceField(label=label, choices=choices, initial=initial, required=False, widget=forms.RadioSelect)


RESTARTS: list[tuple[str, Words]] = [
    (RestartMode.NO.value, _("It stays ended")),
    (RestartMode.ON_FAILURE.value, _("Start it again when it failed")),
    (RestartMode.UNLESS_STOPPED.value, _("Start it again until somebody stops it; after a reboot too")),
    (RestartMode.ALWAYS.value, _("Start it again until somebody stops it; after a reboot in any case")),
]
NETWORKS: list[tuple[str, Words]] = [
    (NetworkMode.NONE.value, _("None: loopback only")),
    (NetworkMode.HOST.value, _("The host's")),
    (NetworkMode.CONTAINER.value, _("Another container's")),
]


class Fields(forms.Form):
    """All of them; empty means as the image or this host says."""

    image = _line(_("Image"))
    name = _line(_("Name"), _("Empty: Wharfie chooses one"))
    command = _area(_("Command"), _("Words are split as in a shell; nothing is expanded"), IMAGE_SAYS, rows=1)

    memory = _line(_("Memory"), mode="text")
    cpus = forms.FloatField(
        label=_("CPU, cores"), required=False, widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        error_messages={"invalid": _("Write it as a number, such as 0.5.")},
    )  # fmt: skip
    pids = _number(_("Processes"))
    memory_swap = _line(_("Memory and swap"), _("Together; empty: no swap, -1: any amount"))
    cpu_shares = _number(_("CPU weight"), _("Beside others when CPUs are short, 2 to 262144; usual is 1024"))
    io_weight = _number(_("Disk weight"), _("Beside others when a disk is short, 10 to 1000"))
    cpuset_cpus = _line(_("Only these CPUs"), _("Such as 0-2,4"))
    cpuset_mems = _line(_("Only these memory nodes"), _("Such as 0,1"))
    io = _area(_("Disk rates"), _("One a line: read-bps, write-bps, read-iops or write-iops, then DISK:RATE"),
               "read-bps /dev/sda:10m")  # fmt: skip
    huge_pages = _area(_("Huge pages"), _("One page size and limit a line"), "2m=64m")

    entrypoint = _area(_("Entrypoint"), _("Goes before the command"), IMAGE_SAYS, rows=1)
    user = _line(_("User"), _("Name or number, and :group if needed"), IMAGE_SAYS)
    workdir = _line(_("Working directory"), "", IMAGE_SAYS)
    hostname = _line(_("Host name"), _("Empty: the first digits of its id"))
    domainname = _line(_("Domain name"))
    init = _tick(_("A small program is PID 1: it passes signals on and reaps"))
    tty = _tick(_("It has a terminal"))
    stdin = _tick(_("Its input stays open for those who attach"))
    stop_signal = _line(_("Stop signal"), "", IMAGE_SAYS)
    stop_timeout_s = forms.FloatField(
        label=_("Stop timeout, seconds"), required=False, help_text=_("Before it is killed; empty: 10, -1: for ever"),
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )  # fmt: skip

    env = _area(
        _("Variables"),
        _("One NAME=value a line. A value of several lines is written $'one\\ntwo'"),
        "LANG=C.UTF-8",
        rows=6,
    )

    volumes = _area(_("Volumes"), _("One volume:/path a line, with :ro to forbid writing"), "data:/srv/data")
    tmpfs = _area(_("In memory"), _("One /path a line, with options as :size=64m,mode=1777"), "/run:size=16m")
    read_only = _tick(_("Nothing else can be written to"))

    network = _one_of(_("Network"), NETWORKS)
    network_of = _line(_("Whose network"), _("Name of the other container"))

    restart = _one_of(_("When it has ended"), RESTARTS)
    restarts = _number(_("At most so many times"), _("When it failed only; empty: as often as needed"))
    health = _line(_("Health check"), _("A shell command run in it; it is healthy while that ends with 0"), IMAGE_SAYS)
    health_interval = _line(_("Every"), _("Empty: 30s"))
    health_timeout = _line(_("For at most"), _("Empty: 30s"))
    health_retries = _number(_("Failures until it is unhealthy"), _("Empty: 3"))
    health_start_period = _line(_("Failures do not count for the first"), _("Empty: 0s"))
    health_start_interval = _line(_("And it is checked then every"), _("Empty: 5s"))
    no_health = _tick(_("No health check, even if the image has one"))

    log_segment = _line(_("Log: size of a segment"), _("Empty: 10m"))
    log_segments = _number(_("Log: how many segments are kept"), _("Empty: 3"))
    labels = _area(_("Labels"), _("One NAME=value a line"), "team=web")

    cap_add = _line(_("Capabilities to add"), _("Names, such as NET_RAW, or ALL"))
    cap_drop = _line(_("Capabilities to take away"), _("Names, or ALL"))
    privileged = _tick(_("Privileged: every capability inside its user namespace; still no device"))
    devices = _area(_("Devices"), _("One /dev/… a line, as of --device"), "/dev/fuse:rw", rows=2)
    sysctls = _area(_("Kernel settings"), _("One NAME=VALUE a line, of its own namespaces"), "net.core.somaxconn=1024",
                    rows=2)  # fmt: skip
    ulimits = _area(_("Limits of its processes"), _("One NAME=SOFT:HARD a line"), "nofile=1024:4096", rows=2)
    group_add = _line(_("Further groups"), _("Names or numbers"))
    pid = _line(_("Processes of"), _("host, or container:NAME"))
    ipc = _line(_("Shared memory of"), _("host, or container:NAME"))
    uts = _line(_("Host name of"), _("host"))
    userns = _line(_("User namespace of"), _("host: root inside is root of this host"))
    seccomp = _area(_("Filter of system calls"), _("unconfined, or a profile in Docker's JSON format"), "unconfined",
                    rows=2)  # fmt: skip
    shm_bytes = _line(_("Size of /dev/shm"), _("Empty: 64m"))
    oom_score_adj = _number(_("Killed the sooner when memory runs out"), _("0 to 1000; empty: 0"))
