"""What `inspect` finds about a source that was never built."""

from __future__ import annotations

from codemix.data.review.inspect import Inspection, attrition, languages


def inspection_of(name: str, language: str) -> Inspection:
    """Four documents kept, four too small, two duplicates; scores rise with the number of a document."""
    dropped = {"01-size/too_small": 4, "dedup1-exact/duplicate": 2}
    counts = {"read": 10, "kept": 4, **dropped}
    funnel = {
        "read": 10,
        "kept": 4,
        "unreadable": 0,
        "dropped": dropped,
        "dropped_bytes": {key: 100 for key in dropped},
        "languages": {language: counts, "other": {"read": 0}},
    }
    kept = []
    for n in range(4):
        text = "a needle in a haystack, the needle again" if n == 1 else f"document {n}\n\n" + "word " * 400
        meta = {"language": language, "score": n / 4}
        kept.append({"id": f"{name}/kept#{n}", "text": text, "meta": meta})
    small = [{"id": f"{name}/small#{n}", "text": "tiny", "meta": {"language": language}} for n in range(4)]
    twins = []
    for n in range(2):
        twin = {"id": f"{name}/twin#{n}", "text": "twice", "meta": {"language": language}}
        twins.append(twin | {"kept_id": f"{name}/kept#{n}", "kept_text": "twice"})
    return Inspection(
        fingerprint="0" * 64,
        funnel=funnel,
        attrition=attrition(funnel),
        languages=languages(funnel),
        kept=kept,
        dropped={"01-size/too_small": small, "dedup1-exact/duplicate": twins},
    )
