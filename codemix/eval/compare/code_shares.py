"""How much of a stage is code, and what that code is."""

from __future__ import annotations

from codemix.eval.compare.variants import VariantStage


def code_share(stage: VariantStage) -> float:
    """The share of the stage's tokens that is code."""
    return sum(_shares(stage).values())


def code_composition(stage: VariantStage) -> str:
    """What the code of the stage is: `stdlib 70, web 30` [% of the code]; empty for a stage without code."""
    shares = _shares(stage)
    total = sum(shares.values())
    rounded = {source: round(share, 4) for source, share in shares.items()}
    sources = sorted(shares)
    sources.sort(key=rounded.__getitem__, reverse=True)
    parts = []
    for source in sources:
        percent = shares[source] / total * 100
        parts.append(f"{source} {percent:.0f}")
    return ", ".join(parts)


def _shares(stage: VariantStage) -> dict[str, float]:
    """The share of each source of code that the stage reads."""
    shares = {}
    for source, use in stage.facts.sources.items():
        if use.share and stage.variant.families[source] == "code":
            shares[source] = use.share
    return shares
