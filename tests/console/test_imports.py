"""Images that come in: each is a job."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from console import jobs
from console.jobs.models import Record
from engine import Engine, Image
from tests.console.conftest import root_filesystem

pytestmark = pytest.mark.django_db(transaction=True)


def ended(answer: HttpResponse) -> Record:
    assert answer.status_code == 303
    return jobs.finished(Record.objects.get(pk=answer["Location"].rstrip("/").rpartition("/")[2]))


def test_an_uploaded_tar_becomes_an_image_and_is_kept_no_longer(page: Client, image: Image, engine: Engine) -> None:
    upload = SimpleUploadedFile("root.tar", root_filesystem().getvalue())
    answer = page.post("/images/import/", {"upload": upload, "name": "team/another:1"})
    record = ended(answer)
    assert (record.status, record.error) == ("done", "")
    assert not record.files.upload.exists()
    shown = page.get(answer["Location"]).content.decode()
    assert "/containers/-/create/?image=team%2Fanother%3A1" in shown
    assert "Reading the root file system" in shown
    assert any("team/another:1" in found.tags for found in engine.images())


def test_a_broken_tar_is_refused_with_what_to_do(page: Client, image: Image) -> None:
    answer = page.post("/images/import/", {"upload": SimpleUploadedFile("x.tar", b"not a tar" * 100), "name": "a:1"})
    record = ended(answer)
    assert record.status == "failed"
    assert record.hint
    shown = page.get(answer["Location"]).content.decode()
    assert "Failed" in shown
    assert "Try again" in shown


def test_an_uploaded_root_filesystem_is_named_after_its_file(page: Client, image: Image, engine: Engine) -> None:
    upload = SimpleUploadedFile("My_Root FS.tar.gz", root_filesystem().getvalue())
    assert ended(page.post("/images/import/", {"upload": upload})).status == "done"
    assert engine.image("my-root-fs:latest")


def test_a_failed_import_is_tried_again_with_what_was_given(page: Client, host: Engine) -> None:
    answer = page.post("/images/import/", {"path": "/no/such.tar", "name": "team/root:1"})
    ended(answer)
    shown = page.get(answer["Location"]).content.decode()
    assert "Run again" in shown
    form = page.get("/images/import/?path=%2Fno%2Fsuch.tar&name=team%2Froot%3A1").content.decode()
    assert 'value="/no/such.tar"' in form
    assert 'value="team/root:1"' in form
