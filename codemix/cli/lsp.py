"""The language server: what recipe/editor knows, by the Language Server Protocol over standard input and
output."""

from __future__ import annotations

from codemix.cli.context import refusal


def lsp() -> int:
    """Serve an editor: problems, hover, completion, fixes."""
    try:
        from codemix.cli.lsp_server import new_server
    except ImportError as error:
        what = f"the language server needs a package that is not installed: {error.name}"
        raise refusal(what, "pip install 'codemix[lsp]'", rule="missing-extra") from None
    new_server().start_io()
    return 0
