"""codemix: how much code, which kind, at which stage of pretraining, as a recipe that can be reviewed."""

__version__ = "0.1.0"

import os as _os

# pydantic looks for plugins in every installed package before it builds its first model; codemix has none, and starts 10% faster without.
_os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
