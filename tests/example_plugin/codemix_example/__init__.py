"""An example: a package that adds one component of each family to codemix."""
