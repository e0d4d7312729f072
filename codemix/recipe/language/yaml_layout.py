"""Where a line of YAML is indented to, by the blocks and brackets that are open: two columns for each."""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

INDENT = 2
OPENING = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_ENTRY = (yaml.BlockEntryToken, yaml.ValueToken, yaml.KeyToken)


@dataclass(frozen=True)
class Block:
    """A block sequence or mapping: the column it had, and the one it gets."""

    was: int
    column: int
    is_mapping: bool
    is_indentless: bool = False  # a sequence whose dashes are right under the key that holds it


_DOCUMENT = Block(-1, -INDENT, False)  # around all


@dataclass
class Layout:
    """The blocks and brackets around the next token."""

    blocks: list[Block] = field(default_factory=list)
    around: list[Block] = field(default_factory=list)  # `blocks` as they were at the last token
    brackets: list[int] = field(default_factory=list)  # the indentation of the line that opened each
    is_key: bool = False  # whether the next token begins a key

    @property
    def innermost(self) -> Block:
        return self.blocks[-1] if self.blocks else _DOCUMENT

    @property
    def inner_column(self) -> int:
        """Of what is inside the innermost block."""
        return self.innermost.column + INDENT

    def before(self, token: yaml.Token) -> None:
        """Open and close blocks, as a token says that is about to come."""
        column = token.start_mark.column
        if isinstance(token, yaml.BlockMappingStartToken):
            self.blocks.append(Block(column, self.inner_column, True))
        elif isinstance(token, yaml.BlockSequenceStartToken):
            self.blocks.append(Block(column, self.inner_column, False))
        elif isinstance(token, yaml.BlockEndToken):
            self._leave_indentless()
            self.blocks.pop()
        elif isinstance(token, yaml.KeyToken):
            self._leave_indentless()
            self.is_key = True
        elif isinstance(token, yaml.BlockEntryToken):
            self._enter_indentless(column)

    def after(self, token: yaml.Token, indent: int) -> None:
        """Take note of a token that is written, in a line of this indentation."""
        if isinstance(token, OPENING):
            self.brackets.append(indent)
        elif isinstance(token, CLOSING):
            self.brackets.pop()
        still_before_key = isinstance(token, (yaml.AnchorToken, yaml.TagToken))
        self.is_key = self.is_key and still_before_key
        self.around = list(self.blocks)

    def column(self, token: yaml.Token) -> int:
        """Where a line goes that begins with a token."""
        if self.brackets:
            opened = self.brackets[-1]
            return opened if isinstance(token, CLOSING) else opened + INDENT
        begins_entry = self.is_key or isinstance(token, _ENTRY)
        if self.blocks and begins_entry:
            return self.blocks[-1].column
        return self.inner_column

    def comment_column(self, was: int, token: yaml.Token | None) -> int:
        """Where a comment goes that has a line of its own: with what follows, or if it stood deeper, with the
        block before that it stood in."""
        if self.brackets:
            return self.brackets[-1] + INDENT
        below = -1 if token is None else token.start_mark.column
        for block in reversed(self.around):
            if below < block.was <= was:
                return block.column
        return 0 if token is None else self.column(token)

    def _enter_indentless(self, column: int) -> None:
        in_sequence = self.blocks and not self.blocks[-1].is_mapping
        if not in_sequence:
            self.blocks.append(Block(column, self.inner_column, False, is_indentless=True))

    def _leave_indentless(self) -> None:
        if self.blocks and self.blocks[-1].is_indentless and not self.brackets:
            self.blocks.pop()
