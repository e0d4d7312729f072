"""One HTTP request to an endpoint that is not trusted: no redirects, a bounded body, one deadline for
everything, no key repeated.
"""

from __future__ import annotations

import io
import json
import queue
import threading
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

MAX_BODY_BYTES = 2**23  # 16,384 tokens as JSON escapes are far less
SHOWN_CHARS = 300  # of what an endpoint says of an error
SHORTEST_KEY = 4  # a shorter one is a placeholder such as `x`, and starring it would garble ordinary text


class TooLong(Exception):
    """The body is longer than MAX_BODY_BYTES."""


@dataclass(frozen=True)
class Response:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Key:
    """A secret that is sent and never shown."""

    value: str = ""

    def starred(self, text: str) -> str:
        """The text with every form of the key in it starred out."""
        if len(self.value) < SHORTEST_KEY:
            return text
        for form in {self.value, urllib.parse.quote(self.value, safe=""), json.dumps(self.value)[1:-1]}:
            text = text.replace(form, "*" * len(form))
        return text


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Response:
    """The response to a POST, read whole within `timeout_s`.
    A redirect is a response like any other and is not followed.

    Raises OSError and http.client.HTTPException for what goes wrong on the way, ValueError for an address or
    header that cannot be sent, TooLong for a body without end.
    """
    request = urllib.request.Request(url, body, dict(headers))
    arrived: queue.SimpleQueue[Response | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            arrived.put(_exchange(request, timeout_s))
        except Exception as error:
            arrived.put(error)

    # A socket's own timeout begins again with every byte, and looking up a name has none: so a thread that
    # can be left behind.
    threading.Thread(target=work, daemon=True).start()
    try:
        result = arrived.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError(f"no whole answer within {timeout_s:g} s") from None
    if isinstance(result, Exception):
        raise result
    return result


def _exchange(request: urllib.request.Request, timeout_s: float) -> Response:
    # Without the handlers that follow redirects or answer a demand for a password.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
    ):
        opener.add_handler(handler)
    with opener.open(request, timeout=timeout_s) as response:
        response.fp = _Body(_Bounded(response.fp))
        return Response(response.status, response.headers, response.read())


class _Body(io.BufferedReader):
    """A body whose length, or whose chunks' sizes, the endpoint may have made up:
    no buffer is made for them in advance.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is None:
            return super().read(None)
        at_most = min(size, MAX_BODY_BYTES + 1)
        return super().read(at_most)


class _Bounded(io.RawIOBase):
    """Bytes of a stream up to the limit; below the decoding of chunks, so that it holds for any of them."""

    def __init__(self, stream: io.BufferedReader):
        self._stream = stream
        self._left = MAX_BODY_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        n = self._stream.readinto1(buffer)
        self._left -= n
        if self._left < 0:
            raise TooLong
        return n

    def close(self) -> None:
        self._stream.close()
        super().close()
