"""What `serve` settles before it starts anything: the host, the address, the certificate. In words when it cannot."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from console.listeners import own_addresses, who_listens
from console.supervisor import answering
from engine.config import Config
from engine.errors import EngineError, InvalidRequest
from engine.storage.atomic import write_atomically
from engine.storage.paths import Paths

DEFAULT_LISTEN = "127.0.0.1:8000"


@dataclass(frozen=True)
class Plan:
    """All that the watching supervisor needs to know, as plain words for its command line."""

    shims: str
    socket: str
    listen_fd: int
    launcher: list[str]
    web: list[str]  # arguments of manage.py
    environment: dict[str, str]


@dataclass(frozen=True)
class Tls:
    """How pages travel: nothing set, or a certificate of ours or theirs, or a proxy that holds one."""

    certificate: str = ""
    key: str = ""
    proxy: str = ""


def prepare() -> Plan | None:
    """Check everything; None after saying on stderr why the console cannot start."""
    try:
        config = Config.from_environment()
        check_provider(os.environ)
        if not check_host(config):
            return None
        return plan(config, dict(os.environ))
    except EngineError as error:
        say(error.message, error.hint)
        return None


def say(text: str, hint: str) -> None:
    """What is wrong, and below it what to do."""
    print(f"wharfie: {text}", *([f"         {hint}"] if hint else []), sep="\n", file=sys.stderr)


def check_host(config: Config) -> bool:
    """Print what of this host makes containers impossible; True when nothing does."""
    if sys.platform != "linux":
        raise InvalidRequest(f"containers are a feature of Linux; this is {sys.platform}")
    if os.geteuid() != 0:
        raise InvalidRequest("only root can make containers", hint="use `sudo make run`")
    from engine.linux.probe import report

    fatal = [check for check in report(config.root).checks if check.fatal and not check.ok]
    for check in fatal:
        say(f"{check.name}: {check.text}", check.hint)
    return not fatal


def plan(config: Config, environment: dict[str, str]) -> Plan:
    """Bind the address, find the certificate, and write down what to start."""
    from engine.launcher.start import command, retire_other
    from engine.storage.database import Database

    host, port = parse_listen(environment.get("WHARFIE_LISTEN") or DEFAULT_LISTEN)
    tls = parse_tls(config, environment, host)
    listener = bind(host, port)
    port = listener.getsockname()[1]
    others = other_names(host)
    shown = others[0] if others else host  # 0.0.0.0 is nothing that a browser could open
    environment["WHARFIE_LISTEN"] = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
    hosts = [environment.get("WHARFIE_HOSTS", ""), *(f"[{name}]" if ":" in name else name for name in others)]
    environment["WHARFIE_HOSTS"] = ",".join(filter(None, hosts))
    for name, value in (("WHARFIE_TLS", tls.certificate), ("WHARFIE_PROXY", tls.proxy)):
        environment.pop(name, None)
        if value:
            environment[name] = "1"
    if tls.proxy:
        environment["WHARFIE_TRUSTED_PROXY"] = tls.proxy
    paths = Paths(config)
    config.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(paths.address, address(tls, environment).encode())
    web = ["web", "--fd", "3"]
    if tls.certificate or listener.family == socket.AF_INET6:
        # Twisted adopts neither TLS nor IPv6 sockets by number: the web process binds what was just seen to be free.
        listener.close()
        fd, web = -1, ["web", "--endpoint", endpoint(host, port, tls)]
    else:
        listener.set_inheritable(True)
        fd = listener.detach()
    launcher = command(config)
    Database(paths.database).close()  # one that is newer than this Wharfie, or damaged, is said now and once
    if pid := answering(str(paths.launcher_socket)):
        retire_other(pid)
    return Plan(str(paths.shims), str(paths.launcher_socket), fd, launcher, web, environment)


def address(tls: Tls, environment: dict[str, str]) -> str:
    """What a browser is to open: behind a proxy the first of the names that this console answers to."""
    if tls.proxy:
        return f"https://{environment['WHARFIE_HOSTS'].partition(',')[0].strip() or environment['WHARFIE_LISTEN']}"
    return f"{'https' if tls.certificate else 'http'}://{environment['WHARFIE_LISTEN']}"


def parse_listen(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port``, or InvalidRequest."""
    host, colon, port = text.strip().rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdigit() and int(port) <= 65535
    if not colon or not bare or not is_port or (":" in bare) != host.startswith("["):
        raise InvalidRequest(
            f"WHARFIE_LISTEN={text} is not an address", hint="write it like 127.0.0.1:8000 or [::1]:8000"
        )
    return bare, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def other_names(host: str) -> list[str]:
    """What else this machine is called when it listens everywhere: its addresses and its name."""
    return [*own_addresses(), socket.gethostname()] if host in ("0.0.0.0", "::") else []


def parse_tls(config: Config, environment: dict[str, str], host: str) -> Tls:
    """What WHARFIE_TLS, WHARFIE_TLS_CERT, WHARFIE_TLS_KEY and WHARFIE_PROXY ask for, or InvalidRequest."""
    wish, proxy = environment.get("WHARFIE_TLS", ""), environment.get("WHARFIE_PROXY", "")
    certificate, key = environment.get("WHARFIE_TLS_CERT", ""), environment.get("WHARFIE_TLS_KEY", "")
    if wish not in ("", "self"):
        raise InvalidRequest(f"WHARFIE_TLS={wish} is not understood", hint="`self` makes an own certificate")
    if bool(certificate) != bool(key):
        raise InvalidRequest("WHARFIE_TLS_CERT and WHARFIE_TLS_KEY go together", hint="set both, to PEM files")
    if sum(map(bool, (wish, certificate, proxy))) > 1:
        raise InvalidRequest("WHARFIE_TLS, WHARFIE_TLS_CERT and WHARFIE_PROXY exclude each other", hint="set one")
    if certificate:
        for path in (certificate, key):
            if not os.access(path, os.R_OK):
                raise InvalidRequest(f"{path} cannot be read", hint="name PEM files that root can read")
        return Tls(os.path.abspath(certificate), os.path.abspath(key))
    if wish:
        from console.certificate import own_certificate

        made = own_certificate(config.root / "tls", [host, *other_names(host)])
        print(f"wharfie: certificate fingerprint (SHA-256): {made.fingerprint}", flush=True)
        return Tls(str(made.certificate), str(made.key))
    if proxy:
        try:
            ipaddress.ip_address(proxy)
        except ValueError:
            raise InvalidRequest(f"WHARFIE_PROXY={proxy} is not an address", hint="write its IP address") from None
        return Tls(proxy=proxy)
    if not is_loopback(host):
        raise InvalidRequest(
            f"{host} is reachable from other machines, and passwords must not travel in the clear",
            hint="set WHARFIE_TLS=self (own certificate), or WHARFIE_TLS_CERT and WHARFIE_TLS_KEY, "
            "or WHARFIE_PROXY=<address of your TLS proxy>",
        )
    return Tls()


def check_provider(environment: Mapping[str, str]) -> None:
    """InvalidRequest when the provider to sign in with is half configured, or others could answer in its place."""
    issuer = environment.get("WHARFIE_OIDC_ISSUER", "")
    if not issuer:
        return
    parts = urlsplit(issuer)
    if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname))):
        hint = "write it as the provider does, as https://login.example.net/realms/staff"
        raise InvalidRequest(f"WHARFIE_OIDC_ISSUER={issuer} is no https address", hint=hint)
    for name in ("WHARFIE_OIDC_CLIENT_ID", "WHARFIE_OIDC_SECRET"):
        if not environment.get(name):
            raise InvalidRequest(
                f"WHARFIE_OIDC_ISSUER needs {name} as well", hint="the provider gives it to each client"
            )


def bind(host: str, port: int) -> socket.socket:
    """A bound socket, or InvalidRequest that says who has the port."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise InvalidRequest(f"{host} is no address: {error.strerror}", hint="check WHARFIE_LISTEN") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Two sockets may bind one port with SO_REUSEADDR as long as neither listens: only listen(2) is sure.
        listener.listen(128)
    except OSError as error:
        listener.close()
        owner = who_listens(port)
        by = f" by {owner}" if owner else ""
        if error.errno != errno.EADDRINUSE:
            text = f"cannot listen on {host}:{port}: {error.strerror}"
            raise InvalidRequest(text, hint="WHARFIE_LISTEN must name an address of this machine") from error
        hint = f"stop it, or choose another port: WHARFIE_LISTEN={host}:{port + 1}"
        raise InvalidRequest(f"{host}:{port} is taken{by}", hint=hint) from error
    return listener


def endpoint(host: str, port: int, tls: Tls) -> str:
    """The address as Twisted writes it, colons in values escaped."""

    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace(":", "\\:")

    where = f"{port}:interface={escaped(host)}"
    if tls.certificate:
        return f"ssl:{where}:privateKey={escaped(tls.key)}:certKey={escaped(tls.certificate)}"
    return f"tcp6:{where}" if ":" in host else f"tcp:{where}"
