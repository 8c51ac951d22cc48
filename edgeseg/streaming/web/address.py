"""Where the page is served, and the socket that listens there."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from edgeseg.errors import ConfigError
from edgeseg.streaming.sources.credentials import redacted

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
MAX_PORT = 65535
BACKLOG = 128
# A picture or three. The kernel would grow it to megabytes, which on a slow line are seconds of old pictures.
SEND_BUFFER_BYTES = 256 * 1024
# An address of documentation (RFC 5737): nothing is sent, but the system says which way it would go.
DOCUMENTATION_ADDRESS = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """Where the page is served.

    Attributes:
        host: Name or address of one of this machine's interfaces, without brackets.
        port: 0 for one that is free.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            msg = f"a port must be within 0 and {MAX_PORT}, got {self.port}"
            raise ConfigError(msg)

    @property
    def loopback(self) -> bool:
        """Only this machine itself can reach it."""
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        """What to type into a browser."""
        host = _external_host() if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def parse_address(text: str) -> WebAddress:
    """Read `HOST:PORT`, `HOST`, `PORT` or nothing; what is missing is `127.0.0.1:8080`.

    Raises:
        ConfigError: It is none of these.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return WebAddress(port=int(text))
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text or DEFAULT_HOST, str(DEFAULT_PORT)
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not bare or (":" in bare) != bracketed or not (port.isascii() and port.isdigit()) or "/" in text:
        got = redacted(text)
        msg = f"an address must be HOST:PORT or PORT, such as 0.0.0.0:8080 or [::1]:8080; got {got!r}"
        raise ConfigError(msg)
    return WebAddress(host=bare, port=int(port))


def is_loopback(host: str) -> bool:
    """Tell whether a name or address, without brackets and port, means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def listen(address: WebAddress) -> socket.socket:
    """Open a socket that connections can be made to at once.

    Raises:
        ConfigError: The port is taken or reserved, or the host is none of this machine's.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as exc:
        msg = f"the page needs the name or address of this machine, got {address.host!r}, which is not known"
        raise ConfigError(msg) from exc
    listener = socket.socket(family, kind, protocol)
    try:
        # A port is free again at once after a run, though its last connections are still being forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit these two.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise ConfigError(_reason(exc, address)) from exc
    return listener


def _reason(exc: OSError, address: WebAddress) -> str:
    if exc.errno == errno.EADDRINUSE:
        return (
            f"port {address.port} of {address.host} is taken by another program; "
            f"choose another: --web {address.host}:{_next_port(address.port)}, or port 0 for any that is free"
        )
    if exc.errno == errno.EACCES:
        return f"port {address.port} is reserved for root; choose one from 1024 on: --web {address.host}:8080"
    if exc.errno == errno.EADDRNOTAVAIL:
        return f"the page needs an address of this machine, got {address.host}; 0.0.0.0 means all it has"
    return f"the page cannot be served at {address.host}:{address.port}: {exc.strerror or exc}"


def _next_port(port: int) -> int:
    return port + 1 if port < MAX_PORT else DEFAULT_PORT


def _external_host() -> str:
    """Find the address under which other machines reach this one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(DOCUMENTATION_ADDRESS)
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
