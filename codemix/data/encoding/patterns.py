"""The published regular expressions by which byte-level tokenizers cut text, spelled to the letter.

Fast encoders know these by their exact text and then cut without a regular expression. That their scanners
cut as `tokenizers` does is held for every code point by tests/data/test_encoders.py.
"""

# ByteLevel's own, with `use_regex`
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# GPT-4 and Llama 3: runs of up to three digits
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"  # English contractions
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"  # a word, with one punctuation mark or space before it
    r"|\p{N}{1,3}"  # digits
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"  # punctuation, with the newlines after it
    r"|\s*[\r\n]+"  # spaces up to a newline
    r"|\s+(?!\S)|\s+"  # spaces; the last one goes with the word after it
)
# Qwen2: each digit apart, since numbers in code are not words
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
# GPT-4o: words end where lower case meets upper case
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
KNOWN = frozenset({GPT2, CL100K, QWEN2, O200K})
