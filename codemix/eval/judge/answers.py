"""One checkpoint's answers to open prompts, written once to a file; judging never needs the model again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codemix.data.store.manifest import Manifest
from codemix.data.store.store import Store, write_json, write_text
from codemix.errors import CodemixError
from codemix.eval.task_shapes.example_files import digest, json_lines, read_rows

if TYPE_CHECKING:
    from codemix.recipe.planning.plan import StagePlan

TEMPLATE = (
    "codemix 1"  # of `prompt_of`; one plain frame for every recipe, since base models know no chat format
)
STOP = ("\nInstruction:", "\nContext:", "\nAnswer:")


def prompt_of(row: Mapping[str, Any]) -> str:
    """What the model is given for {instruction, context?}."""
    instruction = row["instruction"].strip()
    question = f"Instruction:\n{instruction}\n\nAnswer:\n"
    if not row.get("context"):
        return question
    context = row["context"].strip()
    return f"Context:\n{context}\n\n{question}"


def write_answers(
    stage: StagePlan,
    folder: Path,
    manifests: Mapping[str, Manifest],
    prompts: Path,
    output: Path,
    *,
    max_tokens: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
) -> Path:
    """Answers of the stage in `folder` (inside a store) to the prompts {id, instruction,
    context?} of a file, as JSON Lines.

    A file that already holds these answers is left alone; one with other answers is never overwritten.
    `<output>.about.json` says how much of the prompts the run had read (the paper's cooldown names Dolly,
    from which its prompts are).
    """
    from codemix.eval.engine.generate import Decoding, generate
    from codemix.eval.measure.contamination import overlap
    from codemix.eval.measure.evaluate import EvalOptions, make_engine

    rows = read_prompts(Path(prompts))
    decoding = Decoding(max_tokens, STOP, temperature, 1.0, 1, seed).within(stage.seq_len)
    settings = {
        "max_tokens": decoding.max_tokens,
        "temperature": temperature,
        "seed": seed,
        "template": TEMPLATE,
        "stop": list(STOP),
    }
    texts = [prompt_of(row) for row in rows]
    about = [
        {
            "id": row["id"],
            "instruction": row["instruction"] + (f"\n\n{row['context']}" if row.get("context") else ""),
            "prompt": text,
            "prompt_sha256": digest(text),
            "decoding": settings,
            "stage": stage.name,
            "stage_fingerprint": stage.fingerprint,
        }
        for row, text in zip(rows, texts, strict=True)
    ]
    output = Path(output)
    if output.exists():
        if [{k: row.get(k) for k in about[0]} for row in read_rows(output)] == about:
            return output
        raise CodemixError(
            f"{output} holds other answers",
            hints=["name another file with `--output`, or delete that one"],
            rule="answers",
        )
    engine = make_engine(stage, Store(Path(folder).resolve().parent.parent), manifests, folder, EvalOptions())
    written = generate(engine, texts, decoding, label="answers")
    asked = [engine.text.encode(one["instruction"]) for one in about]
    write_json(
        output.with_name(f"{output.name}.about.json"),
        {
            "stage": stage.name,
            "stage_fingerprint": stage.fingerprint,
            "decoding": settings,
            "prompts": len(rows),
            "contamination": overlap(stage, manifests, {"prompts": asked})["prompts"],
        },
    )
    write_text(
        output,
        json_lines(
            one
            | {
                "output": answer.text.strip(),
                "tokens": answer.tokens,
                "finish": answer.finish,
                "prompt_cut": answer.truncated,
            }
            for one, [answer] in zip(about, written, strict=True)
        ),
    )
    return output


def read_prompts(path: Path) -> list[dict[str, Any]]:
    """The prompts of a file, each with an id of its own."""
    rows = read_rows(path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("instruction"), str) or not row["instruction"].strip():
            hint = "one JSON object per line: {id, instruction, context?}"
            raise CodemixError(f"{path}, row {number}: it has no `instruction`", hints=[hint], rule="prompts")
        if not isinstance(row.get("context") or "", str):
            raise CodemixError(
                f"{path}, row {number}: its `context` is not a text",
                hints=["a text, or none"],
                rule="prompts",
            )
        row["id"] = str(row.get("id", number - 1))
    if len({row["id"] for row in rows}) < len(rows) or not rows:
        raise CodemixError(
            f"{path} holds {'ids twice' if rows else 'no prompts'}",
            hints=["give each prompt an `id` of its own"],
            rule="prompts",
        )
    return rows
