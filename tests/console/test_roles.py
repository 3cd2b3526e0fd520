"""Who is signed in decides what the engine is asked for; and what is open shows on every page."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from console import gateway, jobs
from console.accounts.forms import SetupForm
from console.accounts.models import User
from console.commandline import parser
from console.commands import spec
from console.images.views import take_in
from console.jobs.models import Record
from console.system.backups import save
from engine import Caller, ContainerSpec, Engine, ExecSpec, Image, Namespaces, NetworkMode, Role, Security
from engine.errors import Denied, InvalidRequest
from tests.console.conftest import PASSWORD
from tests.images import busybox_rootfs

CONSOLE = Path(__file__).resolve().parents[2] / "console"
# Methods of Engine that policy looks at.
ASKED = {"create", "update", "exec", "terminal", "attach", "input", "load_image"}


@pytest.fixture
def mate(db: None) -> Client:
    """A member's browser."""
    client = Client()
    client.force_login(User.objects.create_user("mate", password=PASSWORD))
    return client


def test_every_page_says_who_asks() -> None:
    """The command line is root's and need not; what serves pages must, or a member would be taken for an admin."""
    wrong, right = [], 0
    for path in CONSOLE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        if "gateway" not in {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
        }:
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            parts = [node.func, *node.args]  # asyncio.to_thread(engine.attach, …) as well
            called = [
                part.attr for part in parts if isinstance(part, ast.Attribute) and "engine" in ast.unparse(part.value)
            ]
            if ASKED & set(called):
                right += 1
                if "caller" not in {word.arg for word in node.keywords}:
                    wrong.append(f"{path.relative_to(CONSOLE)}:{node.lineno}")
    assert wrong == []
    assert right >= 3, "create, terminal and attach were found before"


def test_roles_are_the_accounts(user: User, db: None) -> None:
    assert gateway.caller(user) == Caller(Role.ADMIN, "captain")
    mate = User.objects.create_user("mate", password=PASSWORD)
    assert gateway.caller(mate) == Caller(Role.MEMBER, "mate")
    user.is_active = False
    assert gateway.caller(user).role is Role.MEMBER


def test_who_holds_a_setup_link_is_an_admin(db: None) -> None:
    form = SetupForm({"username": "first", "password": PASSWORD, "again": PASSWORD})
    assert form.is_valid(), form.errors
    form.save()
    assert gateway.caller(User.objects.get(username="first")).role is Role.ADMIN


def test_a_member_is_refused_at_the_field_and_nothing_is_made(mate: Client, host: Engine, image: Image) -> None:
    fields = {"image": image.tags[0], "network": "host", "act": "create"}
    answer = mate.post(reverse("containers:create"), fields)
    assert answer.status_code == 403
    assert "is for admins only" in answer.content.decode()
    assert host.containers() == []
    assert mate.post(reverse("containers:create"), fields | {"network": "none"}).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_a_file_of_the_host_is_no_image_of_a_members(page: Client, host: Engine, tmp_path: Path) -> None:
    """It is opened by root, who may read what the member may not."""
    member, mate = User.objects.create_user("mate", password=PASSWORD), Client()
    mate.force_login(member)
    secret = busybox_rootfs(tmp_path / "secret.tar")
    assert 'name="path"' not in mate.get(reverse("images:import")).content.decode()
    assert 'name="path"' in page.get(reverse("images:import")).content.decode()
    assert mate.post(reverse("images:import"), {"path": str(secret)}).status_code == 400
    assert Record.objects.count() == 0
    with pytest.raises(Denied) as caught:
        host.load_image(secret, caller=Caller(Role.MEMBER, "mate"))
    assert caught.value.field == "path"
    # Nor one of who was an admin when it was asked for.
    record = jobs.begin(member, "Import", take_in, path=str(secret), name="")
    assert jobs.finished(record).status == "failed"
    assert "for admins only" in record.error
    assert host.images() == []


@pytest.mark.django_db(transaction=True)
def test_a_backup_is_not_made_for_who_is_no_admin_any_more(host: Engine) -> None:
    record = jobs.begin(User.objects.create_user("mate"), "Back up everything", save, images=False, volumes=False)
    assert jobs.finished(record).status == "failed"
    assert "for admins" in record.error
    assert not settings.PATHS.backups.exists()


def test_an_admin_is_not_refused(page: Client, host: Engine, image: Image) -> None:
    fields = {"image": image.tags[0], "network": "host", "act": "create"}
    assert page.post(reverse("containers:create"), fields).status_code == 302


def test_the_engine_is_told_who_opens_a_terminal(
    mate: Client, page: Client, host: Engine, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = host.create(ContainerSpec(image=image.tags[0], command=("x",)))
    told: list[Caller] = []

    def terminal(_ref: str, _spec: ExecSpec, *, caller: Caller) -> None:
        told.append(caller)
        raise Denied("it is for admins only")

    monkeypatch.setattr(gateway.engine(), "terminal", terminal)
    for browser in (mate, page):
        browser.post(reverse("containers:terminals:list", args=[container.id]), {"command": "sh", "user": ""})
    assert [caller.role for caller in told] == [Role.MEMBER, Role.ADMIN]


def test_root_of_the_host_is_red_on_every_page(page: Client, host: Engine, image: Image) -> None:
    options = {"namespaces": Namespaces(user="host"), "security": Security(cap_add=("NET_RAW",))}
    container = host.create(ContainerSpec(image=image.tags[0], command=("x",), **options))
    other = host.create(ContainerSpec(image=image.tags[0], command=("x",)))
    listed = page.get("/containers/").content.decode()
    assert listed.count('<span class="state bad">root of this host</span>') == 1
    shown = page.get(f"/containers/{container.id}/").content.decode()
    assert '<span class="state bad">Root inside is root of this host' in shown
    assert "<code>--cap-add</code>" in shown
    assert "root of this host" not in page.get(f"/containers/{other.id}/").content.decode().lower()


# The command line.


def asked(*words: str) -> ContainerSpec:
    return spec(parser().parse_args(["run", *words, "image"]))


def test_flags_are_dockers() -> None:
    wanted = asked(
        "--cap-add", "NET_RAW", "--cap-add", "SYS_TIME", "--cap-drop", "ALL", "--device", "/dev/fuse:/dev/x:r",
        "--pid", "host", "--ipc", "container:a", "--userns", "host", "--sysctl", "net.core.somaxconn=9",
        "--ulimit", "nofile=1:2", "--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined",
        "--read-only", "--shm-size", "1m", "--oom-score-adj", "5", "--group-add", "video", "--net", "container:b",
        "--privileged", "--domainname", "d",
    )  # fmt: skip
    security = wanted.security
    assert (security.cap_add, security.cap_drop, security.privileged) == (("NET_RAW", "SYS_TIME"), ("ALL",), True)
    assert [(each.source, each.target, each.access) for each in security.devices] == [("/dev/fuse", "/dev/x", "r")]
    assert (security.seccomp, security.read_only, security.shm_bytes) == ("unconfined", True, 2**20)
    assert (security.sysctls, security.oom_score_adj, security.group_add) == (
        {"net.core.somaxconn": "9"},
        5,
        ("video",),
    )
    assert [(each.name, each.soft, each.hard) for each in security.ulimits] == [("nofile", 1, 2)]
    assert wanted.namespaces == Namespaces(pid="host", ipc="container:a", user="host", network="container:b")
    assert (wanted.network, wanted.domainname) == (NetworkMode.CONTAINER, "d")
    assert (asked().security, asked().namespaces) == (Security(), Namespaces())


def test_a_profile_is_read_from_its_file(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}))
    assert asked("--security-opt", f"seccomp={profile}").security.seccomp == profile.read_text()
    assert asked("--security-opt", f"seccomp:{profile}").security.seccomp == profile.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("--security-opt", "seccomp=/nonsuch"),
        ("--security-opt", "seccomp=/dev"),
        ("--security-opt", "no-new-privileges=false"),
        ("--security-opt", "apparmor=unconfined"),
        ("--security-opt", "systempaths=unconfined"),
        ("--network", "bridge"),
        ("--network", "host:x"),
        ("--network", "container"),
        ("--sysctl", "net.core.somaxconn"),
        ("--ulimit", "nofile"),
        ("--device", "/dev/fuse:zz"),
        ("--shm-size", "much"),
    ],
)
def test_what_is_no_option_is_refused_with_a_hint(words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked(*words)
    assert refused.value.hint
