"""Where inputs may lie: paths under the data root, addresses of remote objects, and the running interpreter.
Standard library only."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from codemix.data.inputs.patterns import MAGIC, matching, outside_data_root
from codemix.errors import CodemixError, Problem, did_you_mean
from codemix.recipe.language.lists import one_or_several
from codemix.recipe.language.secrets import SECRET_KEY

REMOTE = ("s3", "gs", "hf")  # read through fsspec
SELF_NAMED = ("git", "generated")  # inputs whose name holds what decides their content: a commit, a seed
INTERPRETER = {"stdlib": "stdlib", "installed": "purelib"}  # scheme -> what `sysconfig` calls its folder
_ESCAPE = re.compile(r"\\x(5c|[89a-f][0-9a-f])")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")


@lru_cache  # asked for each of thousands of files
def interpreter_root(scheme: str) -> Path:
    """The folder behind `stdlib:` (this interpreter's standard library) and `installed:` (its packages)."""
    import sysconfig

    return Path(sysconfig.get_path(INTERPRETER[scheme]))


def scheme_of(path: str) -> str:
    """`s3` of `s3://bucket/x`, `stdlib` of `stdlib:abc.py`, `git` of `git:repo@commit`, empty for a plain
    path."""
    match = _SCHEME.match(path)
    if match and (match[2] or match[1] in (*INTERPRETER, *SELF_NAMED)):
        return match[1].lower()
    return ""


def redacted(uri: str) -> str:
    """A URI without user, password and query, safe to show."""
    return re.sub(r"(://)[^/@]*@", r"\1***@", uri.split("?")[0])


def escaped_name(name: str) -> str:
    """A file's name as text: a byte that is not UTF-8 as `\xe9`, and a backslash that would read as such an
    escape as `\x5c`.

    No two names are escaped alike, and nearly every name is left as it is.
    """
    unlike = _ESCAPE.sub(r"\\x5cx\1", name)
    return unlike.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def unescaped_name(text: str) -> str:
    """The file's name that `escaped_name` wrote."""
    return _ESCAPE.sub(_unescaped, text)


def _unescaped(escape: re.Match[str]) -> str:
    byte = bytes.fromhex(escape[1])
    return byte.decode("utf-8", "surrogateescape")


def check_uri(uri: str) -> None:
    """Raises CodemixError for a scheme that is not read, or for credentials inside the URI, which are never
    repeated."""
    parts = urlsplit(uri)
    in_query = any(SECRET_KEY.search(key) for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    # `hf://datasets/owner/name@revision/...` is the one place where an @ means something else
    in_host = "@" in parts.netloc
    if in_host or in_query:
        raise CodemixError(
            f"the address {redacted(uri)} carries credentials",
            hints=[
                "take them out of the recipe, and revoke them if the recipe was shared",
                "give them through the environment (AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN)",
            ],
            rule="credentials-in-url",
        )
    if parts.scheme.lower() not in REMOTE:
        raise CodemixError(
            f"`{parts.scheme}:` addresses are not read: {redacted(uri)}",
            hints=[
                f"read here: local paths, {', '.join(f'{s}://' for s in REMOTE)}",
                "download the data first, and give its local path",
            ],
            rule="unknown-scheme",
        )


def remote_filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URI, and the path in it. Raises CodemixError when its package is not
    installed."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise CodemixError(
            f"reading {scheme_of(uri)}:// needs a package that is not installed: {error}",
            hints=['install it with `pip install "codemix[cloud]"`'],
            rule="package-missing",
        ) from error


def locate(path: str, root: Path) -> Path:
    """The real file or folder of an input that is not remote. Raises CodemixError when it is missing, lies
    outside its root, or is neither (a pipe would keep its reader waiting)."""
    scheme = scheme_of(path)
    inside = scheme in INTERPRETER
    name = path[len(scheme) + 1 :] if inside else path
    base = interpreter_root(scheme) if inside else root.resolve()
    if "\0" in name:
        raise CodemixError(f"the path {path!r} contains a zero byte", rule="bad-path")
    if any("\ud800" <= c <= "\udfff" for c in name):
        hint = "rename the file, or leave it out by a narrower pattern"
        raise CodemixError(
            f"the name {path!r} is not UTF-8, so no document can be named after it",
            hints=[hint],
            rule="bad-path",
        )
    try:
        unescaped = unescaped_name(name)
        if unescaped != name and os.path.lexists(base / unescaped):
            name = unescaped
        real = (base / name).resolve()
        missing = not real.exists()
    except (
        OSError,
        RuntimeError,
    ) as error:  # a loop of links, a name too long, a folder that may not be entered
        why = getattr(error, "strerror", None) or error
        raise CodemixError(f"cannot open {path}: {why}", rule="input-unreadable") from error
    # installers may link an interpreter's packages to their cache
    within = ".." not in Path(name).parts if inside else real.is_relative_to(base)
    if missing and within and (base / name).is_symlink():
        raise CodemixError(
            f"{path} is a symbolic link that leads to nothing",
            hints=["restore what it leads to, or remove the link"],
            rule="input-missing",
        )
    if missing and within:
        under = "" if inside else f" under {root}"
        raise CodemixError(f"there is no file {path}{under}", hints=_nearby(name, base), rule="input-missing")
    if not within:
        leads = "is a symbolic link that leads" if (base / name).is_symlink() else "leads"
        raise outside_data_root(f"{path} {leads} outside the data root")
    mode = real.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise CodemixError(
            f"{path} is a pipe, a socket or a device, and a file is wanted", rule="input-unreadable"
        )
    return real


def _nearby(name: str, base: Path) -> tuple[str, ...]:
    """Hints about what is there, for a path or pattern that is not."""
    parent = base
    for piece in Path(name).parts[:-1]:
        if MAGIC & set(piece) or not (parent / piece).is_dir():
            break
        parent = parent / piece
    try:
        names = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))[:10_000]
    except OSError:
        return ("check `--data-root`: the folder cannot be read",)
    shown = parent.relative_to(base).as_posix() if parent != base else "the data root"
    wanted = Path(name).parts[len(parent.relative_to(base).parts) :][:1]
    close = did_you_mean(wanted[0], names) if wanted and len(names) > 20 else ()
    return (
        f"{shown} holds: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        if names
        else f"{shown} is empty",
        *close,
    )


def expand(patterns: str | Iterable[str], root: Path, suffixes: tuple[str, ...] = ()) -> list[str]:
    """Files that paths and glob patterns (`**` allowed) name, sorted, each once, as paths relative to the
    data root or URIs.

    Raises CodemixError for a pattern without a match, a path outside the root, a suffix that is not one of
    `suffixes`.
    """
    found: set[str] = set()
    problems: list[Problem] = []
    for pattern in one_or_several(patterns):
        try:
            found.update(_expand_remote(pattern) if scheme_of(pattern) else _expand_local(pattern, root))
        except CodemixError as error:
            problems += error.problems
    names = sorted(found)
    if suffixes:
        problems += [_unknown_suffix(name, suffixes) for name in names if not name.lower().endswith(suffixes)]
    if problems:
        raise CodemixError(*problems[:20])
    return names


def _unknown_suffix(name: str, suffixes: tuple[str, ...]) -> Problem:
    return Problem(
        f"cannot tell how to read {redacted(name)}: its suffix is not one of {', '.join(suffixes)}",
        hints=("rename the file to what it holds, or narrow the pattern",),
        rule="unknown-suffix",
    )


def _expand_local(pattern: str, root: Path) -> list[str]:
    base = root.resolve()
    if not pattern:
        raise CodemixError("a path is empty", hints=["name a file or a pattern in it"], rule="bad-path")
    name = _below_root(pattern, root)
    if not base.is_dir():
        raise CodemixError(
            f"the data root {root} is not a folder",
            hints=["choose it with `--data-root`"],
            rule="input-missing",
        )
    if os.path.normpath(name).startswith(".."):  # before any look outside
        raise outside_data_root(f"{pattern} leads outside the data root")
    if not MAGIC & set(name) or os.path.lexists(base / name):  # a name that exists literally is not a pattern
        real = locate(name, root)
        if real.is_dir():
            inside = Path(name, "**/*").as_posix()
            hint = f"write `{inside}` with the files' suffix"
            raise CodemixError(
                f"{pattern} is a folder, and a file is wanted", hints=[hint], rule="input-is-folder"
            )
        return [_without_dots(name, real, base)]
    matches = [(match, locate(escaped_name(match), root)) for match in matching(base, name)]
    # each once, though links (even to a folder above) may show it under many names: its own, else the
    # shortest
    by_preference = sorted((base / match != real, match.count("/"), match, real) for match, real in matches)
    files: dict[Path, str] = {}
    for _, _, match, real in by_preference:
        files.setdefault(real, match)
    if not files:
        raise CodemixError(
            f"no file matches {pattern} under {root}", hints=_nearby(name, base), rule="glob-no-match"
        )
    return [escaped_name(_without_dots(match, real, base)) for real, match in files.items()]


def _below_root(pattern: str, root: Path) -> str:
    """A pattern relative to the data root, which an absolute one may name as it is given or as it really
    lies."""
    if not os.path.isabs(pattern):
        return pattern
    for start in (root, root.resolve()):
        if Path(pattern).is_relative_to(start):
            return Path(pattern).relative_to(start).as_posix()
    raise outside_data_root(f"{pattern} lies outside the data root {root}")


def _without_dots(name: str, real: Path, base: Path) -> str:
    """A name without `..`, which behind a link does not lead where the text of the name says."""
    if ".." not in Path(name).parts:
        return os.path.normpath(name)
    return str(real.relative_to(base))


def _expand_remote(pattern: str) -> list[str]:
    check_uri(pattern)
    if not MAGIC & set(pattern):
        return [pattern]
    filesystem, path = remote_filesystem(pattern)
    try:
        if filesystem.isfile(path):  # a name that exists literally is not a pattern
            return [pattern]
        matches = filesystem.glob(path, detail=True)
    # no network, no rights: each filesystem has its own exceptions, and some repeat the credentials
    except Exception as error:
        hints = [
            "check the network, the address and your credentials; "
            "`plan` works with declared `tokens:` until then"
        ]
        raise CodemixError(
            f"cannot list {redacted(pattern)}: {type(error).__name__}", hints=hints, rule="input-unreadable"
        ) from error
    files = [
        name for name, info in matches.items() if info.get("type") != "directory" and not name.endswith("/")
    ]
    if not files:
        hints = [
            "list the folder with your cloud's own tool to see its names",
            *(["only folders match: end the pattern in `/**`"] if matches else []),
        ]
        raise CodemixError(f"no object matches {redacted(pattern)}", hints=hints, rule="glob-no-match")
    return [f"{scheme_of(pattern)}://{name}" for name in files]
