"""The special tokens of fill-in-the-middle."""

PREFIX = "<|fim_prefix|>"
MIDDLE = "<|fim_middle|>"
SUFFIX = "<|fim_suffix|>"
