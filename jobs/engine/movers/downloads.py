"""Files behind http(s) addresses, streamed into the run's folder: bounded in size, and never from inside our own network.

Every address a name resolves to is judged, also behind each redirect, and the connection is made to the address that
was judged: a name that changes its mind in between gains nothing.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - names are looked up after the interpreter's folder may have closed
import hashlib
import http.client
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from jobs.engine.movers.protocol import MoverError

MAX_REDIRECTS = 5
TIMEOUT_SECONDS = 30.0
CHUNK = 1 << 20
REDIRECTS = (301, 302, 303, 307, 308)
DEFAULT_MAX_BYTES = 10 << 30
TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
METADATA = ("fd00:ec2::254/128", "169.254.0.0/16", "fe80::/10", "100.100.100.200/32", "192.0.0.192/32")


@dataclass(frozen=True)
class Download:
    """What came: `unchanged` when the server says it is what we had; else the file and how to recognise it."""

    unchanged: bool
    path: str = ""
    size: int = 0
    mark: Mapping[str, Any] | None = None


def shown(url: str) -> str:
    """An address for people, logs and tables: without user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))


def download(url: str, *, to: str, limits: Mapping[str, Any], known: Mapping[str, Any], stream: str) -> Download:
    """Fetch an address into the file `to`, unless it is still what `known` describes."""
    with _answered(url, limits=limits, known=known, stream=stream) as answer:
        if answer.status == http.client.NOT_MODIFIED:
            return Download(unchanged=True)
        _require_ok(answer, url, stream=stream)
        return _store(answer, to=to, limits=limits, known=known, url=url, stream=stream)


def probe(url: str, *, limits: Mapping[str, Any], stream: str) -> int | None:
    """Ask for an address without reading it; answers its size where the server says it."""
    with _answered(url, limits=limits, known={}, stream=stream) as answer:
        _require_ok(answer, url, stream=stream)
        size = answer.getheader("Content-Length") or ""
        return int(size) if size.isdigit() else None


def _require_ok(answer: http.client.HTTPResponse, url: str, *, stream: str) -> None:
    if answer.status != http.client.OK:
        raise _refused(url, f"The server answered {answer.status} {answer.reason}.", stream=stream)


@contextmanager
def _answered(
    url: str, *, limits: Mapping[str, Any], known: Mapping[str, Any], stream: str
) -> Iterator[http.client.HTTPResponse]:
    """The answer at the end of all redirects, its body still to be read."""
    first = url
    for _hop in range(MAX_REDIRECTS + 1):
        connection, target = _connect(url, limits=limits, stream=stream, first=first)
        try:
            connection.request("GET", target, headers=_headers(known))
            answer = connection.getresponse()
            location = answer.getheader("Location")
            if answer.status in REDIRECTS and location:
                url = urljoin(url, location)
                continue
            yield answer
            return
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(first, error, stream=stream) from error
        finally:
            connection.close()
    raise _refused(first, f"It redirects more than {MAX_REDIRECTS} times.", stream=stream)


def _headers(known: Mapping[str, Any]) -> dict[str, str]:
    headers = {"User-Agent": "eltsite", "Accept-Encoding": "identity", "Accept": "*/*"}
    if known.get("etag"):
        headers["If-None-Match"] = str(known["etag"])
    elif known.get("modified"):
        headers["If-Modified-Since"] = str(known["modified"])
    return headers


def _connect(url: str, *, limits: Mapping[str, Any], stream: str, first: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection to an address that may be read, and what to ask for there."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _refused(first, f"It leads to {shown(url)}, which is not an http or https address.", stream=stream)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _judged_address(parts, port, limits=limits, stream=stream, first=first)
    try:
        sock = socket.create_connection((address, port), timeout=TIMEOUT_SECONDS)
        if parts.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
    except OSError as error:
        raise _unreachable(first, error, stream=stream) from error
    connection = http.client.HTTPConnection(_authority(parts), timeout=TIMEOUT_SECONDS)
    connection.sock = sock
    return connection, urlunsplit(("", "", parts.path or "/", parts.query, ""))


def _authority(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parts.port}" if parts.port else host


def _judged_address(parts: SplitResult, port: int, *, limits: Mapping[str, Any], stream: str, first: str) -> str:
    """The address to connect to. All that the name resolves to must be allowed."""
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _unreachable(first, error, stream=stream) from error
    addresses = [str(entry[4][0]) for entry in found]
    for text in addresses:
        reason = why_refused(text, allow_private=bool(limits.get("allow_private_addresses")))
        if reason:
            raise MoverError(
                f"{shown(first)} may not be read",
                reason=f"{parts.hostname} is {text}, {reason}.",
                remedy="Use a public address, or have an administrator set ELTSITE_ALLOW_PRIVATE_ADDRESSES.",
                code="address-refused",
                stream=stream,
                file=shown(first),
            )
    return addresses[0]


def why_refused(text: str, *, allow_private: bool) -> str:
    """Why an IP address may not be read; empty when it may. Metadata services never may."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = _carried(address)
    if inner is not None:
        return why_refused(str(inner), allow_private=allow_private)
    if any(address in ipaddress.ip_network(network) for network in METADATA if address.version == _version(network)):
        return "an address of the host's own network or of a cloud's metadata service"
    if not allow_private and not address.is_global:
        return "a private address"
    return "" if not address.is_multicast else "a multicast address"


def _carried(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: mapped, 6to4, or behind a translator."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _version(network: str) -> int:
    return 6 if ":" in network else 4


def _store(
    answer: http.client.HTTPResponse,
    *,
    to: str,
    limits: Mapping[str, Any],
    known: Mapping[str, Any],
    url: str,
    stream: str,
) -> Download:
    """Stream the body to disk, counting and digesting."""
    most = int(limits.get("http_max_bytes") or DEFAULT_MAX_BYTES)
    expected = answer.getheader("Content-Length")
    if expected and expected.isdigit() and int(expected) > most:
        raise _too_large(url, most, stream=stream)
    digest, size = hashlib.blake2b(digest_size=16), 0
    with open(to, "wb") as file:
        while chunk := answer.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise _too_large(url, most, stream=stream)
            digest.update(chunk)
            file.write(chunk)
    if expected and expected.isdigit() and size != int(expected):
        raise _unreachable(url, OSError(f"the connection ended after {size} of {expected} bytes"), stream=stream)
    mark = {"size": size, "digest": digest.hexdigest()}
    mark |= {
        key: value
        for key, name in (("etag", "ETag"), ("modified", "Last-Modified"))
        if (value := answer.getheader(name))
    }
    if known.get("digest") == mark["digest"]:
        os.unlink(to)
        return Download(unchanged=True)
    return Download(unchanged=False, path=to, size=size, mark=mark)


def _too_large(url: str, most: int, *, stream: str) -> MoverError:
    return MoverError(
        f"{shown(url)} is too large",
        reason=f"It is over the limit of {most // 1048576} MiB.",
        remedy="Have an administrator raise ELTSITE_HTTP_MAX_BYTES, or read a smaller file.",
        code="file-too-large",
        stream=stream,
        file=shown(url),
    )


def _refused(url: str, reason: str, *, stream: str) -> MoverError:
    return MoverError(
        f"{shown(url)} cannot be read",
        reason=reason,
        remedy="Check the address in the stream's setting path.",
        code="file-missing",
        stream=stream,
        file=shown(url),
    )


def _unreachable(url: str, error: Exception, *, stream: str) -> MoverError:
    if isinstance(error, OSError) and error.errno == 28:
        return MoverError(
            "The disk is full",
            reason=f"No space is left in the run's folder while reading {shown(url)}.",
            remedy="Free some space on that disk, then run again.",
            code="disk-full",
            stream=stream,
        )
    return MoverError(
        f"{shown(url)} cannot be reached",
        reason=f"{getattr(error, 'strerror', None) or error}.",
        remedy="Check the address, and that this host may reach it; then run again.",
        code="source-down",
        stream=stream,
        file=shown(url),
    )
