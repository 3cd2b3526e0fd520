"""A container's files, changes and processes over real requests to a served console."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator
from html import unescape
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from engine import Container, ContainerSpec, Engine, EventFilter, State, VolumeMount
from tests.conftest import empty, eventually
from tests.console.serving import Serve, Visitor, forgotten_peak, peak_bytes
from tests.images import busybox_rootfs

LARGE = 96 * 2**20
HOSTILE = (
    b"no-text-\xff",
    b"\x1b]0;title\x07",
    b"line\nbreak",
    b"<script>alert(1)<script>",
    "reversed-\u202etxt".encode(),
)


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return unescape(self.body.decode())


class Box(NamedTuple):
    """A container, and a page of it."""

    visitor: Visitor
    engine: Engine
    container: Container
    serve: Serve

    @property
    def volume(self) -> Path:
        return self.engine.paths.volume("data")

    def address(self, act: str, path: bytes | str = "/") -> str:
        return f"/containers/{self.container.id}/{act}?path={quote(path)}"

    def ask(self, address: str, fields: dict[str, str] | None = None, file: tuple[str, bytes] | None = None) -> Answer:
        connection = self.visitor.open()
        headers, body = self.visitor.headers(), None
        if fields is not None:
            token = self.visitor.token(f"/containers/{self.container.id}/files/")
            parts = [
                f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
                for name, value in (fields | {"csrfmiddlewaretoken": token}).items()
            ]
            if file:
                head = f'--edge\r\nContent-Disposition: form-data; name="upload"; filename="{file[0]}"\r\n\r\n'
                parts.append(head.encode() + file[1] + b"\r\n")
            body = b"".join([*parts, b"--edge--\r\n"])
            headers |= {"Content-Type": "multipart/form-data; boundary=edge"}
        try:
            connection.request("GET" if body is None else "POST", address, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()


@pytest.fixture
def box(modules_serve: Serve, modules_captain: Visitor, tmp_path: Path) -> Iterator[Box]:
    with Engine(modules_serve.config) as engine:
        engine.load_image(busybox_rootfs(tmp_path / "busybox.tar"), name="busybox")
        engine.create_volume("data")
        made = engine.create(
            ContainerSpec(
                image="busybox", command=("sleep", "1000"), volumes=(VolumeMount("data", "/data"),), name="box"
            )
        )
        engine.start(made.id)
        yield Box(modules_captain, engine, engine.inspect(made.id), modules_serve)
        empty(engine)


def test_files_are_made_read_changed_and_removed(box: Box) -> None:
    assert box.ask(box.address("files/folder/", "/data"), {"name": "new"}).status == 302
    assert box.ask(box.address("files/", "/data/new"), {}, ("note", b"one\ntwo\n")).status == 303
    assert "note" in box.ask(box.address("files/", "/data/new")).text
    again = box.ask(box.address("files/", "/data/new"), {}, ("note", b"other"))
    assert (again.status, "is there already" in again.text) == (400, True)
    page = box.ask(box.address("files/edit/", "/data/new/note"))
    digest = re.search(r'name="digest" value="(\w+)"', page.text)
    assert digest
    sent = {"text": "\r\none\r\n2", "digest": digest[1], "ends": "lf"}
    assert box.ask(box.address("files/edit/", "/data/new/note"), sent).status == 302
    assert (box.volume / "new/note").read_bytes() == b"\none\n2"
    stale = box.ask(box.address("files/edit/", "/data/new/note"), sent | {"text": "mine <b>"})
    assert stale.status == 409
    assert "changed meanwhile" in stale.text
    (box.volume / "new/link").symlink_to("note")
    assert 'A link to <span class="mono">note</span>' in box.ask(box.address("files/", "/data/new/link")).text
    (box.volume / "new/link").write_bytes(b"\0" * 300_000)
    binary = box.ask(box.address("files/", "/data/new/note")).text
    assert ("This is no text" in binary, "Next page" in binary) == (True, False)
    (box.volume / "new/note").write_bytes(b"")
    (box.volume / "new/link").unlink()
    assert "mine <b>" in stale.text  # what was typed is not lost
    assert box.ask(box.address("files/rename/", "/data/new/note"), {"name": "renamed"}).status == 303
    assert box.ask(box.address("files/rename/", "/data/new/renamed"), {"name": "../up"}).status == 400
    assert box.ask(box.address("files/remove/", "/data/new")).status == 200
    assert box.ask(box.address("files/remove/", "/data/new"), {}).status == 303
    assert list(box.volume.iterdir()) == []
    told = [(event.action, event.detail.get("path"), event.by) for event in box.engine.find_events(EventFilter())]
    acts = ["mkdir", "upload", "edit", "rename_file", "remove_file"]
    paths = ["/data/new", "/data/new/note", "/data/new/note", "/data/new/note", "/data/new"]
    assert [each for each in reversed(told) if each[1]] == [
        (*each, "captain") for each in zip(acts, paths, strict=True)
    ], "and of what was refused there is nothing"
    assert "had a file changed" in box.ask(f"/containers/{box.container.id}/events/").text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_harmless_and_still_found(box: Box, name: bytes) -> None:
    place = os.fsencode(box.volume) + b"/" + name
    with open(place, "wb") as file:
        file.write(b"inside")
    page = box.ask(box.address("files/", "/data")).body
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xe2\x80\xae|<script>alert", page)
    link = re.search(rf'href="(/containers/{box.container.id}/files/\?path=/data/[^"]+)"', page.decode())
    assert link
    assert "inside" in box.ask(unescape(link[1])).text
    fetched = box.ask(unescape(link[1]).replace("/files/", "/files/download/"))
    assert fetched.body == b"inside"
    assert fetched.headers["Content-Disposition"].startswith("attachment")
    assert fetched.headers["X-Content-Type-Options"] == "nosniff"
    assert fetched.headers["Content-Type"] == "application/octet-stream"
    assert box.ask(unescape(link[1]).replace("/files/", "/files/remove/"), {}).status == 303
    assert not os.path.lexists(place)


def test_what_is_no_file_is_said_and_not_waited_for(box: Box) -> None:
    os.mkfifo(box.volume / "fifo")
    (box.volume / "out").symlink_to("/../../../../etc/hostname-of-the-host")
    for name, status in (("fifo", 400), ("out", 404), ("none", 404)):
        for act in ("files/", "files/download/", "files/edit/"):
            assert box.ask(box.address(act, f"/data/{name}")).status == status, (act, name)
    page = box.ask(box.address("files/", "/data")).text
    assert "FIFO" in page
    assert "leads nowhere" in page
    assert box.ask(box.address("files/", "/proc")).status == 400
    assert box.ask(box.address("files/", "relative")).status == 400


def test_large_files_take_disk_and_no_memory_both_ways(box: Box) -> None:
    web = box.serve.child("web")
    with open(box.volume / "large", "wb") as file:
        file.truncate(LARGE)
    before = forgotten_peak(web)
    connection = box.visitor.open()
    try:
        connection.request("GET", box.address("files/download/", "/data/large"), headers=box.visitor.headers())
        answer = connection.getresponse()
        assert answer.headers["Content-Length"] == str(LARGE)
        seen = 2**20
        assert len(answer.read(seen)) == seen
        # A browser that does not read: what the console holds for it has a bound.
        assert not eventually(lambda: peak_bytes(web) - before > 32 * 2**20, 3)
        while data := answer.read(2**20):
            seen += len(data)
        assert seen == LARGE
    finally:
        connection.close()
    assert box.ask(box.address("files/", "/data"), {}, ("sent", bytes(LARGE))).status == 303
    assert (box.volume / "sent").stat().st_size == LARGE
    assert peak_bytes(web) - before < 48 * 2**20


def test_a_download_that_ends_early_is_not_taken_for_whole(box: Box) -> None:
    with open(box.volume / "large", "wb") as file:
        file.truncate(LARGE)
    connection = box.visitor.open()
    try:
        connection.request("GET", box.address("files/download/"), headers=box.visitor.headers())
        answer = connection.getresponse()
        assert answer.read(1000)
        box.engine.stop(box.container.id, 0)
        with pytest.raises((OSError, HTTPException)):  # reset, or ended without the last chunk
            list(iter(lambda: answer.read(2**20), b""))
    finally:
        connection.close()
    eventually(lambda: box.engine.inspect(box.container.id).state is State.EXITED)
    box.engine.start(box.container.id)  # nothing of the copy holds it


def test_a_directory_comes_as_a_tar(box: Box) -> None:
    (box.volume / "one").write_bytes(b"1")
    answer = box.ask(box.address("files/download/", "/data"))
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        assert {member.name for member in tar} == {"data", "data/one"}
    assert 'filename="data.tar"' in answer.headers["Content-Disposition"]


def test_changes_are_listed_and_become_an_image(box: Box) -> None:
    box.engine.browse.upload(box.container.id, "/etc/added", io.BytesIO(b"12345"), 5)
    box.engine.browse.remove(box.container.id, "/etc/group")
    page = box.ask(f"/containers/{box.container.id}/changes/").text
    assert re.search(r"Added.*?/etc/added.*?5 B", page, re.DOTALL)
    assert re.search(r"Deleted.*?/etc/group", page, re.DOTALL)
    only = box.ask(f"/containers/{box.container.id}/changes/?kind=D").text
    assert "/etc/group" in only
    assert "/etc/added" not in only
    with tarfile.open(fileobj=io.BytesIO(box.ask(f"/containers/{box.container.id}/export/").body)) as tar:
        assert "etc/added" in tar.getnames()
    form = {"name": "team/made:1", "author": "captain", "message": "why", "pause": "on"}
    assert box.ask(f"/containers/{box.container.id}/commit/", form | {"name": "no such"}).status == 400
    assert box.ask(f"/containers/{box.container.id}/commit/", form).status == 302
    assert eventually(lambda: "team/made:1" in [tag for each in box.engine.images() for tag in each.tags], 60)


def test_a_process_is_shown_and_signalled(box: Box) -> None:
    address = f"/containers/{box.container.id}/processes/"
    shown = box.ask(address).text
    assert "sleep 1000" in shown
    assert re.search(r'data-processes-most="200" hidden', shown)  # all of them are on the page
    (one,) = box.engine.processes(box.container.id)
    key = f"{one.pid}:{one.start_time}"
    for wrong in ({"signal": "SEGV", "process": key}, {"signal": "KILL"}, {"signal": "KILL", "process": "-1:0"}):
        assert box.ask(f"{address}signal/", wrong).status == 400
    assert box.ask(f"{address}signal/", {"signal": "KILL", "process": f"{os.getpid()}:1"}).status == 404
    assert box.engine.inspect(box.container.id).state is State.RUNNING
    assert box.ask(f"{address}signal/", {"signal": "USR1", "process": key}).status == 302
    said = box.ask(address).text
    assert f"Sent USR1 to the process with id {box.container.pid} on the host. It is the container" in said
    assert box.ask(f"{address}signal/", {"signal": "KILL", "process": key}).status == 302
    assert "It is the container" not in box.ask(address).text
    assert "Container was sent SIGKILL" in box.ask("/events/").text
    assert box.engine.wait(box.container.id, timeout_s=20).signal == 9
    assert "No process runs" in box.ask(address).text
