"""A real browser, driven over its own debugging pipe: no port, no driver, no package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def chromium() -> str | None:
    """The browser's program, if there is one."""
    return next(
        (
            found
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (found := shutil.which(name))
        ),
        None,
    )


class Browser:
    """One tab. `requests` are the URLs that it asked for, `complaints` what its console said."""

    def __init__(self, write: int, read: int):
        self._write, self._read, self._buffer, self._id = write, read, b"", 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", session=None, url="about:blank")["targetId"]
        self.session = None
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise EOFError("the browser went away")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def send(self, method: str, *, session: str | None = "", **parameters: Any) -> dict[str, Any]:
        """The answer to one command; events on the way are noted."""
        self._id += 1
        message: dict[str, Any] = {"id": self._id, "method": method, "params": parameters}
        if session == "" and (inner := getattr(self, "session", None)):
            message["sessionId"] = inner
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._receive()
            if reply.get("id") == self._id:
                assert "error" not in reply, reply
                return reply["result"]
            self._note(reply)

    def _note(self, event: dict[str, Any]) -> None:
        method, about = event.get("method", ""), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(about))
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(
        self, path: Path, *, width: int = 1280, height: int = 900, scheme: str = "light", media: str = ""
    ) -> None:
        """Show a file in a window of this size and colour scheme."""
        self.loaded = False
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.send(
            "Emulation.setEmulatedMedia",
            media=media,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.send("Page.navigate", url=path.resolve().as_uri())
        while not self.loaded:
            self._note(self._receive())

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def promised(self, expression: str) -> Any:
        """What the promise that a JavaScript expression gives comes to."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """One key, as a keyboard sends it."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more
            )

    def picture(self, whole: bool = True) -> bytes:
        """A PNG of the page, or of the window."""
        return base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True)["data"])


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A headless browser with an empty profile, gone afterwards."""
    to_read, our_write = os.pipe()
    our_read, to_write = os.pipe()
    command = [
        chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
    ]
    # the browser speaks on descriptors 3 and 4
    start = (
        f"import os, sys; a, b = os.dup({to_read}), os.dup({to_write}); os.dup2(a, 3); os.dup2(b, 4);"
        "os.set_inheritable(3, True); os.set_inheritable(4, True); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", start, *command],
        pass_fds=(to_read, to_write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    try:
        yield Browser(our_write, our_read)
    finally:
        process.kill()
        process.wait()
        os.close(our_write)
        os.close(our_read)
