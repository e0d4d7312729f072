"""docs/commands.md is what the commands' own help says, every option of every command with a description."""

import pytest

from codemix.cli import reference
from codemix.cli.app import COMMANDS

PAGE = reference.page()


def test_the_page_is_what_the_commands_say():
    assert reference.PAGE.read_text() == PAGE, "run `python -m codemix.cli.reference`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_on_the_page(name):
    assert f"\n### codemix {name}\n" in PAGE


def test_every_argument_and_option_is_described():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    undescribed = [row for row in rows if row.endswith("|  |")]
    assert len(rows) > 200 and not undescribed
