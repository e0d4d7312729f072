"""Readers of other systems' mixture files; see recipe/interop.py. Weights are read as the decimals they are written in."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any

from codemix.errors import CodemixError, Problem
from codemix.recipe import text
from codemix.recipe.interop import Imported, Phase, Weight, names_for

LEVANTER_BLOCK = 2048  # its default `mixture_block_size` [sequences]


def detect(content: str, file: str) -> str:
    """Which of the formats this is. Raises CodemixError when it is none of them."""
    if _blend_words(content):
        return "megatron"
    value = text.parse(content, file).value
    if isinstance(value, dict):
        if "data_stages" in value:
            return "nanotron"
        if _deep(value, "train_weights") is not None:
            return "levanter"
        if _olmo_sources(value) is not None:
            return "olmo-core"
        if {"train", "valid", "test"} & set(value):
            return "megatron"
    raise CodemixError(
        Problem(f"{file} is none of the formats that can be imported", hints=("Megatron: `30 path 70 path`, or JSON with `train:`", "nanotron: `data_stages:`; Levanter: `train_weights:`; OLMo-core: `sources:` with `target_ratio`"), rule="import-kind")
    )  # fmt: skip


# --- Megatron -------------------------------------------------------------------------------------------------------


def _blend_words(content: str) -> list[str]:
    words = content.replace("--data-path", " ").replace("\\\n", " ").split()
    pairs = len(words) >= 2 and len(words) % 2 == 0 and all(_is_number(w) for w in words[::2])
    return words if pairs and not any(_is_number(w) for w in words[1::2]) else []


def _is_number(word: str) -> bool:
    return re.fullmatch(r"\d+(\.\d*)?([eE][-+]?\d+)?|\.\d+", word) is not None


def megatron(content: str, file: str) -> Imported:
    """`--data-path` pairs of weight and prefix, or the JSON of `--per-split-data-args-path`, of which `train` is read."""
    words = _blend_words(content)
    if not words:
        try:
            value = json.loads(content)
        except ValueError:
            raise CodemixError(Problem(f"{file} is not a Megatron blend", hints=("write `weight prefix weight prefix`, or the JSON of --per-split-data-args-path",), rule="import-file")) from None
        train = value.get("train") if isinstance(value, dict) else value
        words = [str(w) for w in train] if isinstance(train, list) else str(train or "").split()
        if len(words) % 2 or not words or not all(_is_number(w) for w in words[::2]):
            raise CodemixError(Problem(
                f"{file} gives prefixes without weights", hints=("Megatron then weights each by its size, which the file does not hold; write `size prefix` pairs",), rule="import-no-weights",
            ))  # fmt: skip
    locations = words[1::2]
    weights = tuple(Weight(n, where, Fraction(w)) for n, where, w in zip(names_for(locations), locations, words[::2], strict=True))
    kept, problems = _without_zeros(weights, "blend")
    problems.append(Problem("a Megatron blend holds one mixture; stages, budgets and learning rates are in its command line", hints=("fill them in in the recipe",), rule="import-no-budget", severity="warning"))
    return Imported("megatron", _stem(file), (Phase("train", kept),), problems=tuple(problems))


# --- nanotron -------------------------------------------------------------------------------------------------------


def nanotron(content: str, file: str) -> Imported:
    """`data_stages` with parallel lists `dataset_folder` and `dataset_weights`, and the schedule beside them."""
    document = text.parse(content, file)
    value = document.value
    stages = value.get("data_stages") if isinstance(value, dict) else None
    if not isinstance(stages, list) or not stages:
        raise CodemixError(Problem("there are no `data_stages`", document.where(("data_stages",)), rule="import-file"))
    tokens, parallel = value.get("tokens") or {}, value.get("parallelism") or {}
    train_steps, seq_len = tokens.get("train_steps"), tokens.get("sequence_length")
    sizes = (parallel.get("dp"), tokens.get("micro_batch_size"), tokens.get("batch_accumulation_per_replica"))
    batch = sizes[0] * sizes[1] * sizes[2] if all(isinstance(s, int) for s in sizes) else None
    order = sorted(range(len(stages)), key=lambda i: _int(stages[i].get("start_training_step"), 1))
    starts = [_int(stages[i].get("start_training_step"), 1) for i in order]
    ends = [*starts[1:], train_steps + 1 if isinstance(train_steps, int) else None]
    phases, problems = [], []
    locations = [_nanotron_weights(stages[i], document, ("data_stages", i)) for i in order]
    every = list(dict.fromkeys(where for pairs in locations for where, _ in pairs))
    names = dict(zip(every, names_for(every), strict=True))
    rates, more = _nanotron_rates(value, starts, ends)
    problems += more
    for i, pairs, first, after, rate in zip(order, locations, starts, ends, rates, strict=True):
        name = _slug(str(stages[i].get("name") or f"stage-{i + 1}"))
        kept, more = _without_zeros(tuple(Weight(names[where], where, w) for where, w in pairs), name)
        problems += more
        if after is not None and after <= first:
            problems.append(Problem(f"stage `{name}` starts at step {first:,}, after the end of training", document.where(("data_stages", i)), rule="import-stage", severity="warning"))
            continue
        phases.append(Phase(name, kept, steps=None if after is None else after - first, learning_rate=rate))
    if train_steps is None:
        problems.append(Problem("`tokens.train_steps` is missing, so the last stage has no length", document.where(("tokens",)), rule="import-no-budget", severity="warning"))
    config = (value.get("model") or {}).get("model_config") or {}
    wanted = {"d_model": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads", "n_kv_heads": "num_key_value_heads", "d_ff": "intermediate_size"}
    model = {ours: config[theirs] for ours, theirs in wanted.items() if isinstance(config.get(theirs), int)}
    tokenizer = (value.get("tokenizer") or {}).get("tokenizer_name_or_path")
    return Imported("nanotron", _stem(file), tuple(phases), seq_len, batch, model if len(model) == len(wanted) else {}, tokenizer, tuple(problems))


def _nanotron_weights(stage: Any, document: text.Document, at: tuple) -> list[tuple[str, Fraction]]:
    data = ((stage.get("data") or {}) if isinstance(stage, dict) else {}).get("dataset") or {}
    folders = data.get("dataset_folder", data.get("dataset_path"))
    weights = data.get("dataset_weights")
    at = (*at, "data", "dataset")
    if isinstance(folders, dict):
        folders, weights = list(folders), list(folders.values())
    if isinstance(folders, str):
        folders, weights = [folders], weights or [1]
    if not isinstance(folders, list):
        raise CodemixError(Problem("this stage has no `dataset_folder`", document.where(at), ("only tokenized datasets (nanosets) can be imported",), "import-file"))
    if not isinstance(weights, list):
        raise CodemixError(Problem("several folders and no `dataset_weights`", document.where(at), ("nanotron then weights by size, which the file does not hold; write the weights",), "import-no-weights"))
    if len(folders) != len(weights):
        raise CodemixError(Problem(
            f"{len(folders)} folders and {len(weights)} weights: the lists are aligned by position only, so no pair can be trusted",
            document.where((*at, "dataset_weights"), key=True), ("find the entry that is missing",), "import-parallel-lists",
        ))  # fmt: skip
    return [(str(f), _fraction(w, document, (*at, "dataset_weights", i))) for i, (f, w) in enumerate(zip(folders, weights, strict=True))]


def _nanotron_rates(value: dict, starts: list[int], ends: list[int | None]) -> tuple[list[dict | None], list[Problem]]:
    """The one learning-rate curve of the run, cut at the data stages; None where a stage cannot say it."""
    curve = ((value.get("optimizer") or {}).get("learning_rate_scheduler")) or {}
    peak, warmup, floor = curve.get("learning_rate"), _int(curve.get("lr_warmup_steps"), 0), curve.get("min_decay_lr") or 0
    if not isinstance(peak, float):
        return [None] * len(starts), []
    style, first, length = curve.get("lr_decay_style"), curve.get("lr_decay_starting_step"), curve.get("lr_decay_steps")
    rates: list[dict | None] = []
    problems = []
    for i, (start, after) in enumerate(zip(starts, ends, strict=True)):
        head = {"warmup": f"{warmup} steps"} if i == 0 and warmup else {}
        last = i == len(starts) - 1
        if isinstance(first, int) and after is not None and after <= first:
            rates.append({"kind": "constant", "value": peak} | head)
        elif isinstance(first, int) and start == first and style == "linear" and last and not head:
            rates.append({"kind": "linear", "start": "previous" if i else peak, "floor": floor})
        elif isinstance(first, int) and last and after is not None and length == after - first and style in ("linear", "cosine"):
            rates.append({"kind": "wsd", "peak": peak, "floor": floor, "decay": f"{length} steps", "shape": style} | head)
        elif first is None and style == "cosine" and len(starts) == 1:
            rates.append({"kind": "cosine", "peak": peak, "floor": floor} | head)
        else:
            rates.append(None)
    if None in rates:
        problems.append(Problem("the learning-rate curve does not follow the data stages; those stages are left to fill in", hints=("a stage here owns its own learning rate",), rule="import-learning-rate", severity="warning"))
    return rates, problems


# --- Levanter -------------------------------------------------------------------------------------------------------


def levanter(content: str, file: str) -> Imported:
    """`train_weights`: one mapping, or a list of `[first step, mapping]`; weights of zero are its validation sets."""
    document = text.parse(content, file)
    value = document.value if isinstance(document.value, dict) else {}
    at = _deep(value, "train_weights")
    if at is None:
        raise CodemixError(Problem("there are no `train_weights`", document.where(()), rule="import-file"))
    data, trainer = _at(value, at[:-1]), value.get("trainer") or {}
    weights, configs = _at(value, at), data.get("configs") or data.get("components") or {}
    listed = weights if isinstance(weights, list) else []
    staged = [(0, weights, at)] if isinstance(weights, dict) else [(_int(s[0], 0), s[1], (*at, i, 1)) for i, s in enumerate(listed) if isinstance(s, list) and len(s) == 2]
    if not staged or not all(isinstance(w, dict) for _, w, _ in staged):
        raise CodemixError(Problem("`train_weights` is neither a mapping nor a list of [step, mapping]", document.where(at), rule="import-file"))
    train_steps, batch = trainer.get("num_train_steps"), trainer.get("train_batch_size")
    block = _int(data.get("mixture_block_size"), LEVANTER_BLOCK)
    every = list(dict.fromkeys(str(n) for _, w, _ in staged for n in w))
    names = dict(zip(every, names_for([n.replace("/", "-") for n in every]), strict=True))
    phases, problems = [], []
    for i, (first, mapping, where) in enumerate(staged):
        after = staged[i + 1][0] if i + 1 < len(staged) else train_steps
        name = f"stage-{i + 1}" if len(staged) > 1 else "train"
        found = tuple(Weight(names[str(n)], _levanter_place(configs.get(n), str(n)), _fraction(w, document, (*where, n))) for n, w in mapping.items())
        kept, more = _without_zeros(found, name, quiet=True)
        problems += more
        total = sum((w.weight for w in kept), Fraction(0))
        lost = [w.name for w in kept if total and int(block * w.weight / total) == 0]
        if lost:
            problems.append(Problem(
                f"in `{name}` Levanter never reads {', '.join(f'`{n}`' for n in lost[:5])}{' and others' if len(lost) > 5 else ''}: its share of a block of {block:,} sequences rounds down to none",
                document.where(where), ("here the share is rounded over the whole stage, so it is read",), "import-block-rounding", "warning",
            ))  # fmt: skip
        phases.append(Phase(name, kept, steps=after - first if isinstance(after, int) and after > first else None))
    if not isinstance(train_steps, int):
        problems.append(Problem("`trainer.num_train_steps` is missing, so the last stage has no length", document.where(("trainer",)), rule="import-no-budget", severity="warning"))
    seq_len = value.get("train_seq_len") or (value.get("model") or {}).get("seq_len")
    tokenizer = data.get("tokenizer")
    return Imported("levanter", _stem(file), tuple(phases), seq_len if isinstance(seq_len, int) else None, batch if isinstance(batch, int) else None, {}, tokenizer, tuple(problems))


def _levanter_place(config: Any, name: str) -> str:
    if isinstance(config, dict):
        source = config.get("source") if isinstance(config.get("source"), dict) else config
        urls = source.get("train_urls")
        return str(urls[0]) if isinstance(urls, list) and urls else str(source.get("id") or source.get("cache_dir") or name)
    return name


# --- OLMo-core ------------------------------------------------------------------------------------------------------


def _olmo_sources(value: Any) -> tuple | None:
    at = _deep(value, "sources") or _deep(value, "source_configs")
    sources = _at(value, at) if at else None
    return at if isinstance(sources, list) and sources and all(isinstance(s, dict) and "target_ratio" in s for s in sources) else None


def olmo_core(content: str, file: str) -> Imported:
    """A source list with `target_ratio`, `max_repetition_ratio` and `paths`, alone or inside its dataset config."""
    document = text.parse(content, file)
    value = document.value
    at = _olmo_sources(value)
    if at is None:
        raise CodemixError(Problem("there is no list of `sources` with `target_ratio`", document.where(()), rule="import-file"))
    listed = _at(value, at)
    names = names_for([str(s.get("source_name", "source")) for s in listed])
    weights = []
    for i, (name, s) in enumerate(zip(names, listed, strict=True)):
        where = s.get("paths") or []
        cap = s.get("max_repetition_ratio", 1.0)
        weights.append(Weight(name, str(where[0]) if where else str(s.get("source_name")), _fraction(s["target_ratio"], document, (*at, i, "target_ratio")), float(cap)))
    kept, problems = _without_zeros(tuple(weights), "mixture")
    outer = [_at(value, p) for p in (at[:-1], at[:-2]) if len(at) > 1]
    tokens = next((o["requested_tokens"] for o in outer if isinstance(o, dict) and isinstance(o.get("requested_tokens"), int)), None)
    batch_tokens = next((o["global_batch_size"] for o in outer if isinstance(o, dict) and isinstance(o.get("global_batch_size"), int)), None)
    seq_at = _deep(value, "sequence_length")
    seq_len = _at(value, seq_at) if seq_at else None
    batch = batch_tokens // seq_len if isinstance(batch_tokens, int) and isinstance(seq_len, int) and seq_len and not batch_tokens % seq_len else None
    for i, s in enumerate(listed):
        if (fraction := s.get("max_source_fraction", 1.0)) != 1:
            problems.append(Problem(f"`{names[i]}` may use only {fraction:g} of its data (`max_source_fraction`)", document.where((*at, i)), ("here, sample the source with an op, or lower its `max_epochs`",), "import-source-fraction", "warning"))
    if tokens is None:
        problems.append(Problem("`requested_tokens` is missing, so the stage has no length", rule="import-no-budget", severity="warning"))
    return Imported("olmo-core", _stem(file), (Phase("train", kept, tokens=tokens),), seq_len, batch, {}, None, tuple(problems))


# --- shared ---------------------------------------------------------------------------------------------------------


def _fraction(value: Any, document: text.Document, at: tuple) -> Fraction:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return Fraction(str(value))
    raise CodemixError(Problem(f"`{value}` is not a weight", document.where(at), ("a weight is a number from 0",), "import-file"))


def _without_zeros(weights: tuple[Weight, ...], name: str, *, quiet: bool = False) -> tuple[tuple[Weight, ...], list[Problem]]:
    kept = tuple(w for w in weights if w.weight)
    if not kept:
        raise CodemixError(Problem(f"every weight of `{name}` is zero", rule="import-file"))
    gone = [w.name for w in weights if not w.weight]
    if not gone or quiet:
        return kept, []
    return kept, [Problem(f"`{name}` gives {', '.join(f'`{n}`' for n in gone[:5])} a weight of zero; left out", rule="import-zero", severity="warning")]


def _deep(value: Any, key: str, depth: int = 6) -> tuple | None:
    """The path of the first mapping entry called `key`, nearest the top."""
    level = [((), value)]
    for _ in range(depth):
        for path, v in level:
            if isinstance(v, dict) and key in v:
                return (*path, key)
        level = [((*p, k), inner) for p, v in level if isinstance(v, dict) for k, inner in v.items() if isinstance(inner, dict)]
    return None


def _at(value: Any, path: tuple) -> Any:
    for part in path:
        value = value[part]
    return value


def _int(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_.+-]+", "-", name.lower()).strip("-._+")[:60] or "stage"


def _stem(file: str) -> str:
    return _slug(re.sub(r"\.(ya?ml|json|txt)$", "", re.split(r"[/\\]", file)[-1]))
