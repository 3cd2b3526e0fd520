"""What lies on disk for a job, in WHARFIE_ROOT/jobs/<id>: its lock, its log, the upload it works on, files it made.

Whoever works on a job holds the lock. The kernel lets go of it with the process, however that ended: so a job whose
record says that it runs, and whose lock is free, was interrupted.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile

from console.text import clean

LOG_BYTES = 4 * 2**20  # the most of a job's log
READ_BYTES = 256 * 2**10  # the most of it in one answer


class Files:
    """The directory of one job."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.upload = directory / "upload"
        self.output = directory / "output"
        self.scratch = directory / "scratch"
        self._log = directory / "log"
        self._lock = directory / "lock"

    def hold(self) -> int | None:
        """Become the job's worker, until the descriptor is closed; None when it has one."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def keep(self, upload: UploadedFile) -> None:
        """Take an uploaded file over: a rename where it is on this disk, as it is for all but tiny ones in tests."""
        if isinstance(upload, TemporaryUploadedFile):
            shutil.move(upload.temporary_file_path(), self.upload)
        else:
            with open(self.upload, "xb") as file:
                for chunk in upload.chunks():
                    file.write(chunk)

    def say(self, line: str) -> None:
        """One more line of the log; what is too much is left out, and the log says so."""
        with open(self._log, "ab") as file:
            if file.tell() < LOG_BYTES:
                file.write(f"{time.time_ns() // 1_000_000} {clean(line)}\n".encode())
                if file.tell() >= LOG_BYTES:
                    file.write(f"{time.time_ns() // 1_000_000} …\n".encode())

    def lines(self, after: int = 0) -> tuple[list[tuple[int, str]], int]:
        """Whole lines from a byte of the log on, each with its time in ms, and the byte to ask for next."""
        try:
            with open(self._log, "rb") as file:
                file.seek(after)
                data = file.read(READ_BYTES)
        except FileNotFoundError:
            return [], after
        data = data[: data.rfind(b"\n") + 1]
        found = []
        for line in data.decode(errors="replace").split("\n")[:-1]:
            when, _space, text = line.partition(" ")
            found.append((int(when) if when.isdigit() else 0, text))
        return found, after + len(data)

    def tail(self) -> tuple[list[tuple[int, str]], int]:
        """As `lines`, the last of them."""
        size = self._log.stat().st_size if self._log.exists() else 0
        found, following = self.lines(max(0, size - READ_BYTES))
        return (found[1:] if size > READ_BYTES else found), following

    def outputs(self) -> list[tuple[str, int]]:
        """Names and bytes of the files that it made for its owner."""
        if not self.output.is_dir():
            return []
        with os.scandir(self.output) as entries:
            return sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file())

    def drop_upload(self) -> None:
        """It is not needed any more."""
        self.upload.unlink(missing_ok=True)

    def drop_scratch(self) -> None:
        """What is half made goes."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def delete(self) -> None:
        """All of it."""
        shutil.rmtree(self.directory, ignore_errors=True)
