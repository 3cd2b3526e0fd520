"""Django's own list for production, with the settings that `serve` uses where others can reach it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from engine import Config
from tests.console.serving import TOP


@pytest.mark.parametrize(
    "way",
    [{"WHARFIE_TLS": "1"}, {"WHARFIE_TLS": "1", "WHARFIE_TLS_CERT": "/some.pem"}, {"WHARFIE_PROXY": "1"}],
    ids=["own certificate", "certificate", "proxy"],
)
def test_nothing_is_left_to_warn_of(config: Config, way: dict[str, str]) -> None:
    environment = os.environ | {"WHARFIE_ROOT": str(config.root), "WHARFIE_RUN": str(config.run)} | way
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    told = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
