"""Cameras that want a login, send on to other addresses, or answer nothing of use: each in its words."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import pytest

from edgeseg.errors import InputError
from edgeseg.streaming.sources.live.http_login import (
    Challenge,
    Login,
    best_challenge,
    challenges_from_headers,
)
from edgeseg.streaming.sources.live.http_responses import _certificate, _may_log_in, request_camera

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import TypeAlias

NAME, PASSWORD = "ad:min ü", 'p@ss/w "?#%Zq7'
LOGIN = f"{quote(NAME, safe='')}:{quote(PASSWORD, safe='')}@"
MD5 = 'Digest realm="a, \\"b\\"", nonce="n1", qop="auth", algorithm=MD5, opaque="o"'
SHA = MD5.replace("MD5", "SHA-256").replace("Digest ", "Digest  ")
BASIC = 'Basic realm="camera"'

StatusAndHeaders: TypeAlias = "tuple[int, list[tuple[str, str]]]"
Answering: TypeAlias = "Callable[[BaseHTTPRequestHandler], StatusAndHeaders]"


class Certified(Protocol):
    """Starts a camera whose certificate is for a name; gives its address and the certificate."""

    def __call__(self, name: str = ...) -> AbstractContextManager[tuple[str, Path]]: ...


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that break off."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def camera(answer: Answering, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serves what a function answers to a handler: status and headers; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers = answer(self)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = QuietServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def status_of(address: str) -> int:
    answer = request_camera(address, 5.0)
    answer.response.close()
    return answer.response.status


def with_login(address: str, login: str = LOGIN) -> str:
    return address.replace("://", f"://{login}")


def failure(address: str) -> str:
    with pytest.raises(InputError) as told:
        request_camera(address, 5.0)
    assert told.value.__cause__ is None
    assert "switched on" not in str(told.value)
    assert not re.search("zq7|ad:min|ad%3a", str(told.value).lower())
    return str(told.value)


def is_right(header: str, challenge: str, uri: str) -> bool:
    """Check an answer as a camera would, by RFC 7616."""
    told = challenges_from_headers([challenge])[0].parameters
    (given,) = challenges_from_headers([header.encode("latin-1").decode()])
    fields = given.parameters
    algorithm = told.get("algorithm", "MD5").lower()
    digest = {"md5": "md5", "sha-256": "sha256", "sha-512-256": "sha512_256"}[algorithm.removesuffix("-sess")]

    def hashed(*parts: str) -> str:
        return hashlib.new(digest, ":".join(parts).encode()).hexdigest()

    key = hashed(NAME, told["realm"], PASSWORD)
    if algorithm.endswith("-sess"):
        key = hashed(key, told["nonce"], fields["cnonce"])
    qop = fields.get("qop", "")
    asked = hashed("GET", uri, hashed("")) if qop == "auth-int" else hashed("GET", uri)
    proof = (told["nonce"], fields["nc"], fields["cnonce"], qop) if qop else (told["nonce"],)
    user = hashed(NAME, told["realm"]) if told.get("userhash") else NAME
    return (
        given.scheme == "digest"
        and fields["uri"] == uri
        and fields["username"] == user
        and fields.get("opaque") == told.get("opaque")
        and (qop in told.get("qop", ""))
        and fields["response"] == hashed(key, *proof, asked)
    )


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        ([MD5], MD5),
        ([SHA], SHA),
        ([SHA, MD5], SHA),
        ([MD5, SHA, BASIC], SHA),
        ([f"{BASIC}, {MD5}"], MD5),
        ([f"{MD5}, {SHA}, {BASIC}"], SHA),
        ([SHA.replace("SHA-256", "SHA3-512"), MD5], MD5),
        ([MD5.replace('qop="auth", ', "")], MD5.replace('qop="auth", ', "")),
        ([MD5.replace("auth", "auth-int")], MD5.replace("auth", "auth-int")),
        ([MD5.replace("auth", "auth-int,auth")], MD5.replace("auth", "auth-int,auth")),
        ([SHA.replace("256", "256-sess")], SHA.replace("256", "256-sess")),
        ([SHA + ", userhash=true"], SHA + ", userhash=true"),
        (["Negotiate", "NTLM TlRMTVNTUAAC==", MD5], MD5),
        ([MD5.replace(", algorithm=MD5", "")], MD5.replace(", algorithm=MD5", "")),
    ],
    ids=[
        "MD5",
        "SHA-256",
        "SHA-256 before MD5",
        "SHA-256 among three headers",
        "Basic and MD5 in one header",
        "three in one header",
        "an unknown hash and MD5",
        "no quality of protection",
        "auth-int",
        "auth-int or auth",
        "a hash for the session",
        "a hashed user name",
        "others before MD5",
        "no algorithm named",
    ],
)
def test_the_best_login_that_is_offered_is_taken(offered: list[str], taken: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> StatusAndHeaders:
        header = request.headers["Authorization"]
        if header and is_right(header, taken, "/video?a=1"):
            return 200, []
        return 401, [("WWW-Authenticate", each) for each in offered]

    with camera(answer) as address:
        assert status_of(with_login(address) + "video?a=1") == 200


def test_a_number_that_is_too_old_is_asked_for_again() -> None:
    def answer(request: BaseHTTPRequestHandler) -> StatusAndHeaders:
        if is_right(request.headers["Authorization"] or "Digest x=y", MD5.replace("n1", "n2"), "/"):
            return 200, []
        old = request.headers["Authorization"] is not None
        fresh = MD5.replace("n1", "n2") + ", stale=TRUE" if old else MD5
        return 401, [("WWW-Authenticate", fresh)]

    def is_right(header: str, challenge: str, uri: str) -> bool:
        return '"n2"' in header

    with camera(answer) as address:
        assert status_of(with_login(address)) == 200


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("challenge", [BASIC, SHA], ids=["basic", "digest"])
def test_a_login_behind_a_redirect_on_the_same_host(code: int, challenge: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> StatusAndHeaders:
        if request.path == "/":
            return code, [("Location", "/deep/video?x=1")]
        return (200, []) if request.headers["Authorization"] else (401, [("WWW-Authenticate", challenge)])

    with camera(answer) as address:
        answered = request_camera(with_login(address), 5.0)
        answered.response.close()

    assert answered.response.status == 200
    assert answered.address == with_login(address) + "deep/video?x=1"


@pytest.mark.parametrize("first", ["redirect", "login"])
def test_the_password_goes_to_no_other_host(first: str) -> None:
    heard = []

    def other(request: BaseHTTPRequestHandler) -> StatusAndHeaders:
        heard.append(request.headers["Authorization"])
        return 401, [("WWW-Authenticate", BASIC)]

    with camera(other) as elsewhere:

        def answer(request: BaseHTTPRequestHandler) -> StatusAndHeaders:
            if first == "login" and not request.headers["Authorization"]:
                return 401, [("WWW-Authenticate", BASIC)]
            return 302, [("Location", elsewhere.replace("://", "://me:mine@") + "x?token=Zq7")]

        with camera(answer) as address:
            said = failure(with_login(address))

    assert heard == [None]
    assert f"sends on to {elsewhere}x?token=***, which wants a login; the password is not given" in said


@pytest.mark.parametrize(
    ("first", "now", "may"),
    [
        ("http://a/x", "http://A/y", True),
        ("http://a/x", "http://a:80/y", True),
        ("http://a/x", "https://a/y", True),
        ("http://a:81/x", "https://a/y", False),
        ("https://a/x", "http://a/y", False),
        ("http://a/x", "http://a:8080/y", False),
        ("http://a/x", "http://a.b/y", False),
        ("http://a/x", "http://b/y", False),
    ],
)
def test_where_a_password_may_go(first: str, now: str, may: bool) -> None:
    assert _may_log_in(first, now) is may


@pytest.mark.parametrize(
    ("status", "headers", "login", "words"),
    [
        (401, [("WWW-Authenticate", BASIC)], "", "it wants a user name and password"),
        (
            401,
            [("WWW-Authenticate", BASIC)],
            LOGIN,
            "refuses this user name and password; special",
        ),
        (401, [("WWW-Authenticate", SHA)], LOGIN, "refuses this user name and password; special"),
        (401, [("WWW-Authenticate", SHA + ", stale=true")], LOGIN, "refuses this user name and password"),
        (401, [("WWW-Authenticate", "NTLM")], LOGIN, "of a kind that is not known here (ntlm)"),
        (401, [], LOGIN, "of a kind that is not known here (none)"),
        (403, [], LOGIN, "error 403; it forbids that"),
        (404, [], LOGIN, "error 404; it has nothing at this path"),
        (503, [], LOGIN, "error 503; Service Unavailable: the camera itself has failed"),
        (302, [("Location", "/")], LOGIN, "from one address to the next without end"),
        (
            302,
            [("Location", "file:///etc/passwd")],
            LOGIN,
            "sends on to file:///etc/passwd, which is no",
        ),
        (302, [("Location", "http://[x/")], LOGIN, "which is no http"),
        (302, [("Location", "ftp://a:Zq7@b/")], LOGIN, "which is no http"),
    ],
    ids=[
        "no login given",
        "Basic",
        "Digest",
        "Digest gone stale",
        "NTLM",
        "no kind of login",
        "403",
        "404",
        "503",
        "redirects without end",
        "redirect to a file",
        "redirect to a broken address",
        "redirect to FTP",
    ],
)
def test_refusals_in_words(status: int, headers: list[tuple[str, str]], login: str, words: str) -> None:
    with camera(lambda request: (status, headers)) as address:
        assert words in failure(with_login(address, login))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (f"http://{LOGIN}127.0.0.1:99999/", "must be a number from 1 to 65535"),
        (f"http://{LOGIN}127.0.0.1:abc/", "must be a number from 1 to 65535"),
        (f"http://{LOGIN}127.0.0.1:0/", "a port from 1 to 65535"),
        (f"http://{LOGIN}/", "must name a host"),
        (f"http://{LOGIN}[x/", "must be written as %XX"),
        ("http://a:p/Zq7@127.0.0.1/", "special characters in a user name or password must be written as %XX"),
        ("http://a:p@Zq7/x@127.0.0.1/", "must be written as %XX"),
        ("http://a:p?Zq7@127.0.0.1/", "must be written as %XX"),
        ("http://a:p#Zq7@127.0.0.1/", "must be written as %XX"),
        ("http://a:1/Zq7@127.0.0.1/", "must be written as %XX"),
        (f"http://{LOGIN}no-such-host.invalid/", "no host is known by that name"),
        pytest.param(
            f"http://{LOGIN}{'a' * 70}.invalid/",
            "no host is known by that name",
            id="a host of 78 characters",
        ),
        (f"http://{LOGIN}127.0.0.1:1/", "(Connection refused): no program listens at port 1"),
    ],
)
def test_addresses_that_cannot_work(address: str, words: str) -> None:
    assert words in failure(address)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"RTSP/1.0 200 OK\r\n\r\n", "answers, but not in HTTP"),
        pytest.param(b"\x00" * 100_000, "answers, but not in HTTP", id="100,000 zeros"),
        (b"", "hangs up without an answer"),
    ],
)
def test_what_is_no_http(said: bytes, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client = listener.accept()[0]
            with client:
                client.recv(4096)
                client.sendall(said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert words in failure(f"http://{LOGIN}127.0.0.1:{listener.getsockname()[1]}/")
        thread.join(5)


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certified:
    """Make a camera with a certificate of its own; gives its address and the certificate."""
    if not shutil.which("openssl"):
        pytest.skip("needs the program openssl")

    @contextmanager
    def make(name: str = "IP:127.0.0.1") -> Iterator[tuple[str, Path]]:
        key, certificate = tmp_path / "key.pem", tmp_path / "camera.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-nodes", "-subj", "/CN=camera", "-addext", f"subjectAltName={name}"),
                *("-keyout", key, "-out", certificate),
            ],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with camera(lambda request: (200, []), context) as address:
            yield address, certificate

    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    return make


def test_a_certificate_of_its_own(certified: Certified, monkeypatch: pytest.MonkeyPatch) -> None:
    with certified() as (address, certificate):
        said = failure(with_login(address))
        assert "its certificate is signed by itself; if it is yours, fetch it and name it: openssl" in said
        assert "SSL_CERT_FILE=camera.pem" in said
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert status_of(with_login(address)) == 200


def test_a_certificate_of_another_name(certified: Certified, monkeypatch: pytest.MonkeyPatch) -> None:
    with certified("DNS:camera.local") as (address, certificate):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert "its certificate is for another name than 127.0.0.1" in failure(with_login(address))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (10, "its certificate has expired"),
        (9, "is not valid yet; check the clocks"),
        (19, "is signed by itself; if it is yours"),
        (20, "nobody whom this machine knows has signed"),
        (64, "for another name than cam"),
    ],
)
def test_what_is_wrong_with_a_certificate(code: int, words: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "unable"

    assert words in _certificate(error, "cam", 443)


def test_a_camera_without_tls() -> None:
    with camera(lambda request: (200, [])) as address:
        assert "it may want http://" in failure(with_login(address).replace("http:", "https:"))


def test_a_login_is_not_shown() -> None:
    assert "Zq7" not in repr(Login(name="a", password="Zq7"))


def test_the_example_of_rfc_7616(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 3.9.1."""
    told = {
        "realm": "http-auth@example.org",
        "qop": "auth, auth-int",
        "algorithm": "SHA-256",
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    }
    monkeypatch.setattr(
        "edgeseg.streaming.sources.live.http_login.secrets.token_hex",
        lambda size: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    header = Challenge(scheme="digest", parameters=told).authorization_header(
        Login(name="Mufasa", password="Circle of Life"), "GET", "/dir/index.html"
    )

    assert 'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"' in header


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "Digest",
        'Digest nonce="',
        "=",
        'a="b',
        pytest.param("Digest " + "x=" * 10_000, id="10,000 times x="),
        "é",
    ],
)
def test_headers_that_are_none(header: str) -> None:
    assert best_challenge(challenges_from_headers([header])) is None or "nonce" in header
