"""What GitHub's runner offers: annotations, the step's summary, and the one comment on the pull request."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemix.recipe.ci import comment, workflow_commands
from codemix.recipe.ci.review import Review

TIMEOUT_S = 30
PAGES = 30  # of a hundred comments


def report(review: Review, environment: Mapping[str, str], *, in_comment: bool) -> None:
    """Write what the environment of a runner asks for; with `in_comment`, also the comment.

    A comment that cannot be written is a warning: from a fork there is no token that may."""
    if environment.get("GITHUB_ACTIONS") == "true":
        for command in workflow_commands.commands(review):
            print(command, file=sys.stderr)
    step_summary = environment.get("GITHUB_STEP_SUMMARY")
    if step_summary:
        with open(step_summary, "a", encoding="utf-8", errors="replace") as file:
            file.write(comment.summary(review))
    if in_comment:
        refused = _write_comment(comment.comment(review), environment)
        if refused:
            print(f"warning: no comment on the pull request: {refused}", file=sys.stderr)


@dataclass(frozen=True)
class _Api:
    """GitHub's REST interface to the issues of one repository."""

    url: str
    token: str

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer; raises OSError when there is none."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.token}", "Accept": "application/vnd.github+json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)

    def written_before(self, number: int) -> int | None:
        """The id of the comment that carries our marker."""
        for page in range(1, PAGES + 1):
            found = self.ask("GET", f"/issues/{number}/comments?per_page=100&page={page}")
            for one in found:
                if str(one.get("body", "")).startswith(comment.MARKER):
                    return one["id"]
            if len(found) < 100:
                break
        return None


def _write_comment(text: str, environment: Mapping[str, str]) -> str:
    """Write a new comment, or over the one before; why that cannot be, or nothing."""
    token = environment.get("GITHUB_TOKEN", "")
    repository = environment.get("GITHUB_REPOSITORY", "")
    number = _pull_request(environment.get("GITHUB_EVENT_PATH", ""))
    if not repository or number is None:
        return "this is not a run of GitHub Actions for a pull request"
    if not token:
        return "GITHUB_TOKEN is not set; the step's summary says the same"
    server = environment.get("GITHUB_API_URL", "https://api.github.com")
    api = _Api(f"{server}/repos/{repository}", token)
    try:
        known = api.written_before(number)
        if known is None:
            api.ask("POST", f"/issues/{number}/comments", {"body": text})
        else:
            api.ask("PATCH", f"/issues/comments/{known}", {"body": text})
    except urllib.error.HTTPError as error:
        hint = "from a fork a token may not write (give the job `pull-requests: write` otherwise)"
        return f"GitHub answers {error.code} {error.reason}; {hint}; the step's summary says the same"
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        return f"{server} does not answer as GitHub does: {error}"
    return ""


def _pull_request(event: str) -> int | None:
    """The number of the pull request that a run is for."""
    try:
        content = json.loads(Path(event).read_text(encoding="utf-8"))
        return int(content["pull_request"]["number"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
