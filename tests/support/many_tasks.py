"""A recipe whose build is many small tasks, so that a kill has many places to fall."""

from codemix.data.tokenizers.bpe import Bpe
from support.small_recipes import SCORED, Recipe, recipe_content, words, write_jsonl, write_scored


def made():
    return Recipe.model_validate(made_content())


def with_ready_tokenizer():
    """Without `dedup:` too, so that all is tokenized while documents are read."""
    content = made_content()
    del content["dedup"]
    return Recipe.model_validate(content | {"tokenizer": {"kind": "tokenizer_json", "path": "ready.json"}})


def made_content():
    sources = {
        "web": {
            "read": {"kind": "jsonl", "paths": "web*.jsonl"},
            "held_out": "10%",
            "ops": [{"kind": "size", "min_bytes": 200}],
        },
        "code": {"read": {"kind": "jsonl", "paths": "code.jsonl"}},
        **SCORED,
    }
    entries = [
        {"kind": "exact", "sources": ["web", "code"]},
        {"kind": "minhash", "sources": ["code", "web"], "buckets": 4},
    ]
    return recipe_content(sources, dedup=entries)


def write_inputs(root):
    """The files of `made`."""
    for i in range(6):
        write_jsonl(root / f"web{i}.jsonl", [words(100 * i + j, 25 + j) for j in range(40)])
    write_jsonl(
        root / "code.jsonl",
        [words(100 * (i % 3) + i, 25 + i) for i in range(60)] + [words(9000 + i, 90) for i in range(60)],
    )
    write_scored(root)
    ready = Bpe(vocab_size=400).make((), lambda: iter([words(1, 2000)]))
    ready.save(str(root / "ready.json"))


def small_tasks(set_):
    """Many small tasks, so that a kill has many places to fall.
    Constants of the layout: both builds need the same.
    """
    import codemix.data.build.documents_job
    import codemix.data.build.tokens_job

    set_(codemix.data.build.documents_job, "MIN_TASK_BYTES", 4000)
    set_(codemix.data.build.documents_job, "MIN_FILE_BYTES", 3000)
    set_(codemix.data.build.tokens_job, "MIN_TASK_BYTES", 4000)
    set_(codemix.data.execution.runner, "IN_PROCESS_BYTES", 0)
