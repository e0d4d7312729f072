"""The replies of a judge, over HTTP: asked once, kept on disk, and asked again when the service is busy."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from codemix.errors import CodemixError
from codemix.eval.judge.endpoint import MAX_BODY_BYTES, SHOWN_CHARS, Key, Response, TooLong, post
from codemix.eval.judge.judge import _DECIDES_A_REPLY, SYSTEM, Ask, Judge
from codemix.eval.task_shapes.example_files import check_regular, digest
from codemix.progress import progress


class Replies:
    """The judge's raw replies, kept in a file as they arrive: what was asked once is never asked again."""

    def __init__(self, judge: Judge, template: str, path: Path):
        self.judge, self.template, self.path = judge, template, path
        self.asked = 0  # of the endpoint, this time
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()
        check_regular(path)
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    entry = json.loads(line)
                    self._known[entry["key"]] = entry["reply"]
                except (ValueError, KeyError, TypeError):
                    continue  # torn by a crash: it is asked again

    def get(self, asks: Sequence[Ask]) -> list[str]:
        """The replies, in order. Raises CodemixError (`judge-unreachable`) when the endpoint does not answer;
        what has arrived is kept.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        missing = list(dict.fromkeys(a for a in asks if self._key(a) not in self._known))
        if missing:
            kept = self.path.read_bytes() if self.path.is_file() else b""
            is_torn = bool(kept) and not kept.endswith(b"\n")
            with (
                open(self.path, "a", encoding="utf-8") as file,
                progress("judging", len(missing), "verdicts") as advance,
            ):
                if is_torn:
                    file.write("\n")
                pool = ThreadPoolExecutor(self.judge.concurrency)
                try:
                    for _ in pool.map(lambda ask: self._ask(ask, file), missing):
                        advance()
                finally:
                    pool.shutdown(cancel_futures=True)
        return [self._known[self._key(a)] for a in asks]

    def _key(self, ask: Ask) -> str:
        judge = self.judge.model_dump(include=_DECIDES_A_REPLY)
        content = [judge, self.template, ask.instruction, ask.a, ask.b]
        text = json.dumps(content, sort_keys=True)
        return digest(text)

    def _ask(self, ask: Ask, file: TextIO) -> None:
        reply = self._post(ask.prompt(self.template))
        entry = {"key": self._key(ask), "model": self.judge.model, "reply": reply}
        line = json.dumps(entry, ensure_ascii=False)
        with self._lock:
            self.asked += 1
            self._known[entry["key"]] = reply
            file.write(f"{line}\n")
            file.flush()

    def _post(self, prompt: str) -> str:
        body = {
            "model": self.judge.model,
            "temperature": self.judge.temperature,
            "max_tokens": self.judge.max_tokens,
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}],
        }
        key = self._api_key()
        headers = {"Content-Type": "application/json"}
        if key.value:
            headers["Authorization"] = f"Bearer {key.value}"
        url = self.judge.base_url.rstrip("/") + "/chat/completions"
        sent = json.dumps(body).encode()
        why = ""
        wait = 0.0
        for attempt in range(self.judge.retries + 1):
            if attempt:
                time.sleep(wait)
            wait = min(30.0, 0.5 * 2**attempt)
            try:
                response = post(url, sent, headers, self.judge.timeout_s)
            except http.client.InvalidURL as error:
                raise CodemixError(
                    f"the judge's `base_url` is not an address: {error}", rule="judge-refuses"
                ) from None
            except TooLong:
                raise _refusal(url, f"its answer is longer than {MAX_BODY_BYTES:,} bytes") from None
            # Connection refused, name not found, timed out, cut off.
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = key.starred(str(getattr(error, "reason", error)))[:SHOWN_CHARS]
                continue
            if response.status in (408, 409, 425, 429) or response.status >= 500:
                why = f"HTTP {response.status}"
                wait = _retry_after(response, wait)
                continue
            if not 200 <= response.status < 300:
                complaint = key.starred(f"HTTP {response.status} {_message(response)}")
                raise _refusal(url, complaint[:SHOWN_CHARS])
            content = _content(response.body)
            if content is not None:
                return key.starred(content)
            why = "its answer is not that of a chat completion"
        raise CodemixError(
            f"the judge at {url} does not answer: {why}",
            hints=["replies so far are kept; the same command resumes from there"],
            rule="judge-unreachable",
        )

    def _api_key(self) -> Key:
        name = self.judge.api_key_env
        if name is None:
            return Key()
        value = os.environ.get(name, "")
        if not value:
            raise CodemixError(
                f"the environment variable {name} is not set",
                hints=["put the judge's key there"],
                rule="judge-key",
            )
        if not (value.isascii() and value.isprintable()):
            hint = "often a newline at its end: put the key alone there"
            raise CodemixError(
                f"the key in the environment variable {name} holds a character that no header can",
                hints=[hint],
                rule="judge-key",
            )
        return Key(value)


def _refusal(url: str, why: str) -> CodemixError:
    return CodemixError(
        f"the judge at {url} refuses: {why}",
        hints=["check `model:`, `base_url:` and the key"],
        rule="judge-refuses",
    )


def _message(response: Response) -> str:
    """What a response says in words: where it redirects to, the message of an error, else its body."""
    if 300 <= response.status < 400:
        target = response.headers.get("Location", "nowhere")
        return f"redirects to {target}, and the key is sent to no other address"
    text = response.body.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return text


def _retry_after(response: Response, otherwise: float) -> float:
    """Seconds to wait, from the header where it gives a number."""
    seconds = response.headers.get("Retry-After", "")
    if not (seconds.isascii() and seconds.isdecimal()):
        return otherwise
    return min(60.0, float(seconds))


def _content(body: bytes) -> str | None:
    """The text of a chat completion; None where the body is not one, or its text is not Unicode."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
        if content is None:
            return ""
        content.encode()
    except (KeyError, IndexError, TypeError, ValueError, RecursionError, AttributeError):
        return None
    return content
