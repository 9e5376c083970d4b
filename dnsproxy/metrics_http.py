"""As much of HTTP/1.1 (RFC 9112) as a scrape takes: one request, one response, and the end of the connection."""

from __future__ import annotations

import re
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

PATH: Final = "/metrics"
MAX_HEAD: Final = 8192  # octets of request line and fields; Prometheus sends about 300
PAGE_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"  # what Prometheus calls its text format
METHODS: Final = ("GET", "HEAD")
CONNECTION_S: Final = 10.0  # for all of it: Prometheus gives up after that, unless told otherwise
MAX_CONNECTIONS: Final = 32  # beyond it the oldest one is closed, so that a new one always gets its turn
REST: Final = 9  # times as long as a page took to make, nothing is made for anybody: a tenth of a processor at most

_LINE = re.compile(rb"([!#-'*+.^-z|~0-9A-Z-]+) (?:https?://[^/? ]*)?([^? ]*)(?:\?[^ ]*)? HTTP/1\.[0-9]\r?")
_END = re.compile(rb"\r?\n\r?\n")


class Request:
    """What a client asks, in octets as they come."""

    def __init__(self) -> None:
        self._octets = b""
        self._method = ""

    def receive_data(self, data: bytes) -> bool:
        """Take octets, none at the client's end; whether it is time for the response."""
        self._octets = (self._octets + data).lstrip(b"\r\n")  # RFC 9112 section 2.2
        return not data or len(self._octets) > MAX_HEAD or _END.search(self._octets) is not None

    def refusal(self) -> bytes:
        """The response to whoever wants something else than the metrics; empty for those that do."""
        end = _END.search(self._octets)
        if end is None or end.start() > MAX_HEAD:
            too_long = len(self._octets) > MAX_HEAD
            return self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_long else HTTPStatus.BAD_REQUEST)
        line = _LINE.fullmatch(self._octets[: end.start()].partition(b"\n")[0])
        if line is None:
            return self._refuse(HTTPStatus.BAD_REQUEST)
        self._method = line[1].decode()
        if line[2] != PATH.encode():
            return self._refuse(HTTPStatus.NOT_FOUND)
        if self._method not in METHODS:
            return self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, f"Allow: {', '.join(METHODS)}\r\n")
        return b""

    def with_page(self, page: bytes) -> bytes:
        """The response to those that want the metrics; an empty page is none."""
        if not page:
            return self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
        return self._response(HTTPStatus.OK, PAGE_TYPE, page)

    def _refuse(self, status: HTTPStatus, fields: str = "") -> bytes:
        return self._response(status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode(), fields)

    def _response(self, status: HTTPStatus, content_type: str, body: bytes, fields: str = "") -> bytes:
        """The whole of a response; without its body where only the head was asked for."""
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"Date: {formatdate(usegmt=True)}\r\n"
            f"Content-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"{fields}"
            "Connection: close\r\n\r\n"
        ).encode()
        return head if self._method == "HEAD" else head + body
