"""Keys that mean the same under different names: what sibling kinds call it, and what other tools do."""

from __future__ import annotations

from collections.abc import Collection

from codemix.errors import nearest

_GROUPS = (  # a word may stand in several; what is known where it is written decides
    {"value", "peak", "start", "rate", "lr", "learning_rate", "max_lr", "base_lr", "initial"},
    {"floor", "end", "final", "min_lr", "lr_min", "end_lr", "min_value"},
    {"warmup", "warmup_steps", "warm_up", "warmup_tokens", "ramp_up"},
    {"warmup_from", "warmup_start", "init_lr", "start_lr"},
    {"decay", "cooldown", "anneal", "decay_steps", "rampdown"},
    {"shape", "decay_shape", "style", "decay_style"},
    {"over", "span", "cycle", "t_max", "lr_decay_steps"},
    {"learning_rate", "lr", "schedule", "lr_schedule", "scheduler"},
    {"path", "paths", "file", "files", "folder", "glob", "include"},
    {"include", "patterns", "only"},
    {"exclude", "except", "without", "ignore", "skip"},
    {"text", "content", "text_field", "text_key", "text_column", "column", "field"},
    {"fields", "field", "columns", "keys"},
    {"where", "filter", "filters", "conditions"},
    {"ops", "filter", "filters", "transforms", "pipeline", "processors"},
    {"read", "reader", "input", "loader"},
    {"metadata", "meta", "keep_fields", "attributes"},
    {"dataset", "repo_id", "hub_id"},
    {"revision", "commit", "branch", "tag", "ref"},
    {"max_bytes", "max_size", "max_file_size", "max_length"},
    {"min_bytes", "min_size", "min_length"},
    {"max_chars", "max_characters", "max_length"},
    {"min_chars", "min_characters", "min_length"},
    {"max_frac", "max_fraction", "max_share", "max_ratio"},
    {"min_frac", "min_fraction", "min_share", "min_ratio"},
    {"max_count", "max", "max_floats", "max_n"},
    {"allow", "allowed", "keep", "allowlist", "languages", "licences", "licenses"},
    {"n_grams", "ngram", "n_gram", "ngrams", "ngram_size"},
    {"keep", "share", "fraction", "rate"},
    {"vocab_size", "vocabulary", "vocabulary_size", "n_vocab"},
    {"eos", "eos_token", "end_of_text", "end_token"},
    {"special", "special_tokens", "added_tokens"},
    {"limit", "max_examples", "n_examples", "max_samples"},
    {"samples", "n_samples", "num_samples"},
    {"max_tokens", "max_new_tokens", "max_gen_toks"},
    {"seq_len", "sequence_length", "context_length", "max_seq_len", "block_size", "max_length"},
    {"batch_size", "global_batch_size", "batch", "train_batch_size"},
    {"clip", "grad_clip", "max_grad_norm", "clip_grad"},
    {"b1", "beta1", "adam_beta1"},
    {"b2", "beta2", "adam_beta2"},
    {"d_model", "hidden_size", "dim", "width", "n_embd", "hidden_dim"},
    {"n_layers", "layers", "num_layers", "num_hidden_layers", "n_layer", "depth"},
    {"n_heads", "heads", "num_heads", "num_attention_heads", "n_head"},
    {"n_kv_heads", "num_key_value_heads", "kv_heads", "num_kv_heads"},
    {"d_head", "head_dim", "head_size"},
    {"d_ff", "intermediate_size", "ffn_dim", "mlp_dim", "ffn_hidden_size"},
    {"tokens", "n_tokens", "token_budget", "max_tokens", "budget", "train_tokens"},
    {"steps", "n_steps", "max_steps", "train_steps", "num_steps"},
    {"mixture", "mix", "proportions", "data", "datasets"},
    {"init_from", "parent", "start_from", "load_from"},
    {"held_out", "holdout", "validation", "val_share"},
    {"max_epochs", "epochs", "n_epochs", "max_repeats"},
    {"tags", "labels"},
    {"tasks", "benchmarks"},
    {"evaluation", "eval", "evals"},
    {"training", "train", "trainer"},
)


def meant(word: str, known: Collection[str], n: int = 1) -> list[str]:
    """Up to `n` of the keys `known` that a word may stand for: those of the same meaning, else those spelt
    like it."""
    plain = word.lower().replace("-", "_")
    synonyms: set[str] = set()
    for group in _GROUPS:
        if plain in group:
            synonyms |= group
    same = [key for key in known if key in synonyms]
    if len(same) == 1:
        return same
    return nearest(word, known, n) or same[:n]
