"""Keeps documents in the named languages, by what is known of them or else by their path.

`paper_code` and `paper_markup` are the 25 and 10 languages of the paper (arXiv 2408.10914), Tables 3 and 4.
The language that was found is noted in the document, so that later ops, the funnel and the report can tell by
it.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Document, Drop
from codemix.data.interfaces import Op
from codemix.data.text import languages

_SETS = {"paper_code": languages.PAPER_CODE, "paper_markup": languages.PAPER_MARKUP}


class Languages(Op):
    """Keeps documents in the named languages, by metadata or file extension."""

    kind: Literal["languages"] = "languages"
    allow: tuple[str, ...] = Field(
        min_length=1, description="languages by any usual name (C++, cpp), or paper_code, paper_markup"
    )
    unknown: Literal["drop", "keep"] = Field("drop", description="documents whose language nothing tells")
    EXAMPLES: ClassVar = (
        {"kind": "languages", "allow": ["paper_code"]},
        {"kind": "languages", "allow": ["Python", "cpp"], "unknown": "keep"},
    )

    @classmethod
    def reference(cls) -> str:
        sets = [f"`{name}`: {', '.join(members)}." for name, members in _SETS.items()]
        rows = [
            f"| {name} | {' '.join(f'`{e}`' for e in (*ends, *languages.names_of(name)))} |"
            for name, ends in languages.EXTENSIONS.items()
        ]
        known = (
            "Known languages, with the endings and names of files that tell them, "
            "for the sources `source_tree` and `git` too:"
        )
        return "\n\n".join([*sets, known, "\n".join(["| language | files |", "|---|---|", *rows])])

    def apply(self, doc: Document) -> Document | Drop:
        language = languages.of(doc)
        if not language:
            return doc if self.unknown == "keep" else Drop("unknown_language")
        if not any(
            language in _SETS[name] if name in _SETS else language == languages.canonical(name)
            for name in self.allow
        ):
            return Drop("other_language", measured=language, limit="allow")
        return (
            doc
            if doc.meta.get("language") == language
            else Document(doc.id, doc.text, doc.meta | {"language": language})
        )
