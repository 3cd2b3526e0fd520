"""A request's body goes to disk, and a large one comes only from somebody signed in who imports an image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.console.serving import PASSWORD, Serve, Visitor

LARGE = 128 * 2**20
PIECE = bytes(2**20)


@pytest.fixture
def stranger(serve: Serve) -> Visitor:
    return Visitor(serve.until(r"listens on (http://\S+)\s"))


@pytest.fixture
def captain(serve: Serve, stranger: Visitor) -> Visitor:
    path = serve.until(r"http://[^/\s]+(/setup/\S+)")
    stranger.post(path, username="captain", password=PASSWORD, again=PASSWORD)
    return stranger


def peak_bytes(pid: int) -> int:
    """The most memory that a process has held."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) * 1024


def multipart(token: str, size: int) -> tuple[bytes, bytes]:
    """What stands before and after the bytes of a file in an import form."""
    fields = f'--edge\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
    file = '--edge\r\nContent-Disposition: form-data; name="upload"; filename="zeros.tar"\r\n\r\n'
    return (fields + file).encode(), b"\r\n--edge--\r\n"


def upload(visitor: Visitor, path: str, token: str, *, chunked: bool = False) -> tuple[int, str, str]:
    """Send a large file; the status, where it leads and the text. A server may answer before it has read all."""
    before, after = multipart(token, LARGE)

    def body() -> Iterator[bytes]:
        yield before
        for _ in range(LARGE // len(PIECE)):
            yield PIECE
        yield after

    headers = visitor.headers() | {"Content-Type": "multipart/form-data; boundary=edge"}
    if not chunked:
        headers["Content-Length"] = str(len(before) + LARGE + len(after))
    connection = visitor.open()
    try:
        try:
            connection.request("POST", path, body(), headers, encode_chunked=chunked)
        except (BrokenPipeError, ConnectionResetError):
            return 0, "", ""
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location", ""), answer.read().decode()
    finally:
        connection.close()


def early(visitor: Visitor, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """What is answered to the headers alone."""
    connection: HTTPConnection = visitor.open()
    try:
        connection.putrequest("POST", path)
        for name, value in (visitor.headers() | headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_an_upload_takes_disk_and_no_memory(serve: Serve, captain: Visitor) -> None:
    token = captain.token("/images/import/")
    web = serve.child("web")
    before = peak_bytes(web)
    status, place, _text = upload(captain, "/images/import/", token)
    assert status == 302
    assert eventually(lambda: "Working" not in captain.get(place), 60)
    assert "Failed" in captain.get(place)  # zeros are no archive, which the engine found out by reading them
    assert peak_bytes(web) - before < 40 * 2**20


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/sign-in/", {"Content-Length": str(LARGE)}),
        ("/images/import/", {"Content-Length": str(LARGE)}),
        ("/images/import/", {"Content-Length": str(LARGE), "Cookie": "wharfie_session=invented"}),
        ("/sign-in/", {"Content-Length": str(LARGE), "Expect": "100-continue"}),
    ],
)
def test_a_large_body_of_a_stranger_is_refused_by_its_headers(
    stranger: Visitor, path: str, headers: dict[str, str]
) -> None:
    status, text = early(stranger, path, headers)
    assert status == 413
    assert "signed in" in text
    assert "Wharfie" in stranger.get("/sign-in/")


def test_the_refusal_is_in_the_reader_s_language(stranger: Visitor) -> None:
    headers = {"Content-Length": str(LARGE), "Accept-Language": "zh-CN"}
    assert "内容太大" in early(stranger, "/sign-in/", headers)[1]
    assert "This is too large" in early(stranger, "/sign-in/", headers | {"Cookie": "wharfie_language=en"})[1]


def test_a_body_without_a_length_is_refused(stranger: Visitor) -> None:
    assert early(stranger, "/sign-in/", {"Transfer-Encoding": "chunked"}) == (
        411,
        "Send Content-Length: a body in chunks is not taken.\n",
    )


def test_an_account_uploads_large_bodies_only_where_images_come_in(captain: Visitor) -> None:
    status, text = early(captain, "/containers/-/create/", {"Content-Length": str(LARGE)})
    assert status == 413
    assert "/images/import/" in text


def test_a_refused_body_that_still_comes_is_thrown_away(serve: Serve, stranger: Visitor) -> None:
    web = serve.child("web")
    before = peak_bytes(web)
    assert upload(stranger, "/sign-in/", "none")[0] in (413, 0)
    assert upload(stranger, "/sign-in/", "none", chunked=True)[0] in (411, 0)
    assert peak_bytes(web) - before < 20 * 2**20
