"""What `serve` settles before it starts anything: addresses, certificates, the port."""

from __future__ import annotations

import os
import runpy
import socket
from pathlib import Path

import pytest

from console import preflight
from console.listeners import own_addresses, who_listens
from engine import Config
from engine.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:8000", ("127.0.0.1", 8000)), ("[::1]:80", ("::1", 80)), ("localhost:0", ("localhost", 0))],
)
def test_addresses_are_read(text: str, address: tuple[str, int]) -> None:
    assert preflight.parse_listen(text) == address


@pytest.mark.parametrize(
    "text", ["8000", ":8000", "::1:80", "[127.0.0.1]:80", "host:", "host:x", "host:65536", "host:-1"]
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequest, match="WHARFIE_LISTEN") as refused:
        preflight.parse_listen(text)
    assert "127.0.0.1:8000" in refused.value.hint


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_machines_need_tls(config: Config, host: str) -> None:
    with pytest.raises(InvalidRequest, match="in the clear") as refused:
        preflight.parse_tls(config, {}, host)
    assert all(name in refused.value.hint for name in ("WHARFIE_TLS=self", "WHARFIE_TLS_CERT", "WHARFIE_PROXY"))


@pytest.mark.parametrize(
    "variables",
    [
        {"WHARFIE_TLS": "yes"},
        {"WHARFIE_TLS_CERT": "/cert.pem"},
        {"WHARFIE_TLS_CERT": "/nowhere/cert.pem", "WHARFIE_TLS_KEY": "/nowhere/key.pem"},
        {"WHARFIE_PROXY": "proxy.example.org"},
        {"WHARFIE_PROXY": "192.0.2.1", "WHARFIE_TLS": "self"},
    ],
)
def test_wrong_tls_settings_are_refused_on_loopback_too(config: Config, variables: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        preflight.parse_tls(config, variables, "127.0.0.1")


@pytest.mark.parametrize(
    ("variables", "blamed"),
    [
        ({"WHARFIE_OIDC_ISSUER": "http://login.example.net"}, "no https address"),
        ({"WHARFIE_OIDC_ISSUER": "login.example.net"}, "no https address"),
        ({"WHARFIE_OIDC_ISSUER": "https://login.example.net", "WHARFIE_OIDC_SECRET": "x"}, "WHARFIE_OIDC_CLIENT_ID"),
        ({"WHARFIE_OIDC_ISSUER": "http://127.0.0.1:1", "WHARFIE_OIDC_CLIENT_ID": "x"}, "WHARFIE_OIDC_SECRET"),
    ],
)
def test_a_provider_that_is_half_configured_is_refused(variables: dict[str, str], blamed: str) -> None:
    with pytest.raises(InvalidRequest, match=blamed):
        preflight.check_provider(variables)
    preflight.check_provider({"WHARFIE_OIDC_SECRET": "without an issuer nobody is asked"})


def test_a_named_proxy_makes_any_address_acceptable(config: Config) -> None:
    assert preflight.parse_tls(config, {"WHARFIE_PROXY": "192.0.2.1"}, "0.0.0.0").proxy == "192.0.2.1"


@pytest.mark.parametrize(
    ("tls", "address"),
    [
        (preflight.Tls(), "http://127.0.0.1:8000"),
        (preflight.Tls(certificate="/cert.pem", key="/key.pem"), "https://127.0.0.1:8000"),
        (preflight.Tls(proxy="192.0.2.1"), "https://wharfie.example.org"),
    ],
)
def test_the_address_is_the_one_that_a_browser_opens(tls: preflight.Tls, address: str) -> None:
    environment = {"WHARFIE_LISTEN": "127.0.0.1:8000", "WHARFIE_HOSTS": "wharfie.example.org,other"}
    assert preflight.address(tls, environment) == address


@pytest.mark.parametrize(
    ("variables", "promised"),
    [
        ({}, False),
        ({"WHARFIE_TLS": "1"}, False),
        ({"WHARFIE_TLS": "1", "WHARFIE_TLS_CERT": "/cert.pem"}, True),
        ({"WHARFIE_PROXY": "1"}, True),
    ],
)
def test_only_a_certificate_of_theirs_or_a_proxy_promises_tls_for_a_year(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], promised: bool
) -> None:
    for name in ("WHARFIE_TLS", "WHARFIE_TLS_CERT", "WHARFIE_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (
        bool(runpy.run_path(str(Path(preflight.__file__).with_name("settings.py")))["SECURE_HSTS_SECONDS"]) is promised
    )


def test_the_own_certificate_is_made_once_and_again_for_another_host(config: Config) -> None:
    from console.certificate import own_certificate

    first = own_certificate(config.root / "tls", ["192.0.2.1"])
    assert own_certificate(config.root / "tls", ["192.0.2.1"]) == first
    assert own_certificate(config.root / "tls", ["192.0.2.2"]).fingerprint != first.fingerprint
    assert first.key.stat().st_mode & 0o777 == 0o600


def test_a_taken_port_is_told_with_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidRequest, match=rf"taken by .*\(pid {os.getpid()}: ") as refused:
            preflight.bind("127.0.0.1", port)
        assert str(port + 1) in refused.value.hint


def test_nobody_listens_on_a_port_that_is_only_bound() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert who_listens(bound.getsockname()[1]) == ""


def test_own_addresses_come_from_the_kernels_tables(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/fib_trie").write_text(
        "     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.7\n        /32 host LOCAL\n"
        "     |-- 192.0.2.255\n        /32 link BROADCAST\n"
    )
    (tmp_path / "net/if_inet6").write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fe8000000000000000000000000000aa 02 40 20 80     eth0\n"
        "20010db8000000000000000000000001 02 40 00 80     eth0\n"
    )
    assert own_addresses(tmp_path) == ["192.0.2.7", "2001:db8::1"]
