"""A small byte-level tokenizer.json, which tests change."""

from codemix.data.encoding.merges import bytes_to_unicode

BYTES = {c: i for i, c in enumerate(bytes_to_unicode().values())}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def added(name, number, **flags):
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": name, **plain, **flags}


def written(model=(), added_tokens=(), **parts):
    """A byte-level tokenizer.json with one end token, changed."""
    plain_model = {"type": "BPE", "vocab": BYTES | {"th": 256}, "merges": [["t", "h"]], "dropout": None}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added("</s>", 257), *added_tokens],
        "normalizer": None,
        "pre_tokenizer": BYTE_LEVEL,
        "post_processor": None,
        "decoder": DECODER,
        "model": plain_model | dict(model),
    } | parts


def split(pattern, behavior="Isolated", invert=False):
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}
    return {"type": "Sequence", "pretokenizers": [cut, BYTE_LEVEL | {"use_regex": False}]}
