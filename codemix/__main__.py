"""`python -m codemix` is the `codemix` command."""

from codemix.cli import main

main()
