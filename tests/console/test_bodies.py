"""A request's body goes to disk, and a large one comes only from somebody signed in who imports an image."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

import pytest

from engine import Config
from tests.conftest import eventually
from tests.console import serving
from tests.console.serving import Serve, Visitor, forgotten_peak, peak_bytes

LARGE = 128 * 2**20
PIECE = bytes(2**20)


@pytest.fixture
def stranger(modules_serve: Serve) -> Visitor:
    return serving.visitor(modules_serve)


def multipart(token: str, size: int) -> tuple[bytes, bytes]:
    """What stands before and after the bytes of a file in an import form."""
    fields = f'--edge\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
    file = '--edge\r\nContent-Disposition: form-data; name="upload"; filename="zeros.tar"\r\n\r\n'
    return (fields + file).encode(), b"\r\n--edge--\r\n"


def upload(
    visitor: Visitor, path: str, token: str, *, chunked: bool = False, between: Callable[[int], object] = id
) -> tuple[int, str, str]:
    """Send a large file; the status, where it leads and the text. A server may answer before it has read all."""
    before, after = multipart(token, LARGE)

    def body() -> Iterator[bytes]:
        yield before
        for number in range(LARGE // len(PIECE)):
            between(number)
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


def test_an_upload_takes_disk_and_no_memory(modules_serve: Serve, modules_captain: Visitor) -> None:
    token = modules_captain.token("/images/import/")
    web = modules_serve.child("web")
    before = forgotten_peak(web)
    status, place, _text = upload(modules_captain, "/images/import/", token)
    assert status == 303
    assert eventually(lambda: "Working" not in modules_captain.get(place), 60)
    assert "Failed" in modules_captain.get(place)  # zeros are no archive, which the engine found out by reading them
    assert peak_bytes(web) - before < 40 * 2**20


def test_nothing_is_left_of_an_upload_whose_console_was_killed(config: Config, serve: Serve) -> None:
    captain = serving.captain(serve)
    token = captain.token("/images/import/")
    web = serve.child("web")
    tmp = config.root / "tmp"

    def parsed() -> bool:  # all of it is here, and its file is being taken out of the form
        with suppress(FileNotFoundError):  # between two looks
            return any(path.stat().st_size for path in tmp.glob("*upload*"))
        return False

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(upload, captain, "/images/import/", token)
        assert eventually(parsed, 60)
        os.kill(web, signal.SIGKILL)
        left = parsed()
        with suppress(OSError, HTTPException):
            sent.result(60)
    assert left, "nothing was being taken in when it was killed"
    assert eventually(lambda: not parsed(), 30), "the next one has not cleared it away"


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


def test_an_account_uploads_large_bodies_only_where_images_come_in(modules_captain: Visitor) -> None:
    status, text = early(modules_captain, "/containers/-/create/", {"Content-Length": str(LARGE)})
    assert status == 413
    assert "/images/import/" in text


def test_a_refused_body_that_still_comes_is_thrown_away(modules_serve: Serve, stranger: Visitor) -> None:
    web = modules_serve.child("web")
    before = forgotten_peak(web)
    assert upload(stranger, "/sign-in/", "none")[0] in (413, 0)
    assert upload(stranger, "/sign-in/", "none", chunked=True)[0] in (411, 0)
    assert peak_bytes(web) - before < 20 * 2**20


def free(config: Config) -> int:
    facts = os.statvfs(config.root)
    return facts.f_bavail * facts.f_frsize


def test_ten_gigabytes_for_a_small_disk_are_refused_by_their_headers(
    config: Config, small: Serve, mate: Visitor
) -> None:
    web = small.child("web")
    before, memory = free(config), peak_bytes(web)
    for path in ("/images/import/", "/containers/none/files/"):
        status, text = early(mate, path, {"Content-Length": str(10 * 2**30)})
        assert (status, "no room for this upload" in text) == (507, True)
    assert early(mate, "/images/import/", {"Content-Length": str(2**40)})[0] == 413, "so much is taken nowhere"
    announced = {"upload": "big.tar", "upload_bytes": str(10 * 2**30), "name": ""}
    with pytest.raises(AssertionError, match="no room for this upload"):  # the page asks before it sends anything
        mate.post("/images/import/", **announced)
    assert peak_bytes(web) - memory < 10 * 2**20
    assert before - free(config) < 2**20


def test_what_is_promised_to_one_upload_is_not_promised_to_another(config: Config, small: Serve, mate: Visitor) -> None:
    token = mate.token("/images/import/")
    before = free(config)
    first = mate.open()
    first.putrequest("POST", "/images/import/")
    for name, value in (mate.headers() | {"Content-Length": str(LARGE)}).items():
        first.putheader(name, value)
    first.endheaders(PIECE)
    assert eventually(lambda: early(mate, "/images/import/", {"Content-Length": str(LARGE)})[0] == 507)
    first.close()
    assert eventually(lambda: free(config) > before - 2**19), "half an upload takes no room"
    assert upload(mate, "/images/import/", token)[0] == 303


def test_a_disk_that_others_fill_meanwhile_ends_the_upload_and_not_the_console(
    config: Config, small: Serve, mate: Visitor
) -> None:
    token = mate.token("/images/import/")
    filler = config.root / "filler"

    def fill(number: int) -> None:
        if number == 8:
            with open(filler, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, free(config) - 2**20)

    assert upload(mate, "/images/import/", token, between=fill)[0] in (507, 0)
    assert eventually(lambda: free(config) > 2**19), "what had come is gone"
    filler.unlink()
    assert eventually(lambda: free(config) > 3 * LARGE), "a journal gives back later"
    assert upload(mate, "/images/import/", token)[0] == 303
