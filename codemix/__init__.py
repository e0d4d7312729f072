"""codemix: how much code, which kind, at which stage of pretraining, as a recipe that can be reviewed."""

__version__ = "0.1.0"
