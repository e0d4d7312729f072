"""Byte-pair merges: what a token is made of. Standard library only."""

from __future__ import annotations


def bytes_to_unicode() -> dict[int, str]:
    """The character by which byte-level vocabularies spell each byte: itself where it prints, else one from
    U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    spelling = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in spelling]
    for number, byte in enumerate(others):
        code_point = 0x100 + number
        spelling[byte] = chr(code_point)
    return spelling


def last_merge(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The pieces of `token` after every merge of lower rank than its own: two, when its own merge is the last
    one."""
    limit = ranks[token]
    pieces = [token[i : i + 1] for i in range(len(token))]
    while len(pieces) > 1:
        best = limit
        at = -1
        for i in range(len(pieces) - 1):
            rank = ranks.get(pieces[i] + pieces[i + 1], limit)
            if rank < best:
                best = rank
                at = i
        if at < 0:
            break
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces
