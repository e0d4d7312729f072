"""Drops documents that are lists of internet top-level domains.

Paper (arXiv 2408.10914) App. A.1, third of its four filters; how a list is recognised is not stated there.
Here: many different country domains, together with several of com, net, org, ..., and together they are a
good part of all words. A list of country codes has no com, net and org; a program that mentions some domains
has many other words.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text.characters import DIGITS, LETTERS

COUNTRY = frozenset(
    b"""\
ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr
cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht
hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp
mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg
sh si sj sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt
za zm zw""".split()
)
_GENERIC = frozenset(
    b"com net org edu gov mil int arpa info biz name pro aero coop museum jobs mobi travel asia cat tel".split()
)
_WORD_BYTES = LETTERS + DIGITS + b"-" + bytes(range(128, 256))
_WORDS = bytes(
    byte if byte in _WORD_BYTES else ord(" ") for byte in range(256)
)  # everything between words becomes a space


class TopLevelDomains(Op):
    """Drops documents that are a list of top-level domains (paper App. A.1)."""

    kind: Literal["top_level_domains"] = "top_level_domains"
    min_country_domains: int = Field(100, ge=1, description="different country domains that make a list")
    min_generic_domains: int = Field(
        3, ge=0, description="different ones of com, net, org, ... that make a list of domains"
    )
    min_frac_words: float = Field(
        0.15, ge=0, le=1, description="share of all words that those domains must be [fraction]"
    )
    EXAMPLES: ClassVar = ({"kind": "top_level_domains"},)

    def apply(self, doc: Document) -> Document | Drop:
        words = doc.text.lower().encode("utf-8", "replace").translate(_WORDS).split()
        distinct = set(words)
        if (
            len(distinct & COUNTRY) < self.min_country_domains
            or len(distinct & _GENERIC) < self.min_generic_domains
        ):
            return doc
        known = sum(word in COUNTRY or word in _GENERIC for word in words)
        if known < self.min_frac_words * len(words):
            return doc
        share = known / len(words)
        return Drop("list_of_domains", measured=f"{share:.4g} of the words", limit="min_frac_words")
