"""A small OpenID Connect provider on loopback, for tests: authorization code with PKCE, a secret, signed id tokens.

It asks nothing: who is sent there is `who`. It refuses what a real one refuses, so that a console that forgets the PKCE
verifier, the state, or its secret is not let in (OpenID Connect Core 1.0, section 3.1; RFC 7636).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, SECRET = "wharfie", "between us"


class Provider(ThreadingHTTPServer):
    """Knows one client; signs in whoever ``who`` says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.who = {"sub": "1", "preferred_username": "priya", "email": "priya@example.net", "email_verified": True}
        self.audience = CLIENT_ID
        self.codes: dict[str, tuple[str, str]] = {}  # code: redirect_uri and the challenge that came with it
        self.tokens: set[str] = set()
        self.refused: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """What tells a console about it."""
        return {
            "WHARFIE_OIDC_ISSUER": self.issuer,
            "WHARFIE_OIDC_CLIENT_ID": CLIENT_ID,
            "WHARFIE_OIDC_SECRET": SECRET,
            "WHARFIE_OIDC_NAME": "harbour office",
        }


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, *_arguments: object) -> None:
        """Silent."""

    def _send(self, status: int, body: object = None, location: str = "") -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, why: str) -> None:
        self.server.refused.append(why)
        self._send(400, {"error": why})

    def do_GET(self) -> None:
        where, server = urlsplit(self.path), self.server
        if where.path == "/.well-known/openid-configuration":
            paths = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
            ends = {f"{name}_endpoint": f"{server.issuer}/{path}" for name, path in paths.items()}
            self._send(200, {"issuer": server.issuer, "jwks_uri": f"{server.issuer}/jwks", **ends})
        elif where.path == "/authorize":
            asked = dict(parse_qsl(where.query))
            if asked.get("client_id") != CLIENT_ID or asked.get("code_challenge_method") != "S256":
                return self._refuse("invalid_request")
            code = secrets.token_urlsafe()
            server.codes[code] = (asked["redirect_uri"], asked["code_challenge"])
            self._send(302, location=f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")
        elif where.path == "/userinfo":
            known = self.headers.get("Authorization", "").removeprefix("Bearer ") in server.tokens
            self._send(200 if known else 401, server.who if known else {})
        else:
            self._send(404)

    def do_POST(self) -> None:
        server = self.server
        form = {
            name: values[0]
            for name, values in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
        }
        uri, challenge = server.codes.pop(form.get("code", ""), ("", ""))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if form.get("client_secret") != SECRET:
            return self._refuse("invalid_client")
        if form.get("redirect_uri") != uri or base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
            return self._refuse("invalid_grant")
        now, access = int(time.time()), secrets.token_urlsafe()
        server.tokens.add(access)
        claims = {"iss": server.issuer, "aud": server.audience, "iat": now, "exp": now + 60, **server.who}
        token = jwt.encode(claims, server.key, algorithm="RS256")
        self._send(200, {"access_token": access, "token_type": "Bearer", "expires_in": 60, "id_token": token})


@contextmanager
def running() -> Iterator[Provider]:
    """One that serves until the end of the block."""
    provider = Provider()
    thread = threading.Thread(target=provider.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        provider.shutdown()
        thread.join()
        provider.server_close()
