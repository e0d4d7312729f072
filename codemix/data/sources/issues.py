"""Issues and pull-request discussions as text: title, opening post, comments; authors numbered, programs left
out.

The paper (arXiv 2408.10914, section 3.4) has GitHub issues as a part of code-adjacent data. As in StarCoder
(arXiv 2305.06161, section 3.2), user names become numbers in the order they first write, and comments by bots
go.
"""

from typing import ClassVar, Literal

from pydantic import Field

from codemix.data.document import Drop
from codemix.data.inputs.conditions import MISSING, field_getter
from codemix.data.sources._discussion_threads import Authors, is_bot, posts
from codemix.data.sources._rows import RowSource, Texter, string_getter


class Issues(RowSource):
    """Issues with their comments as one text each, authors numbered."""

    kind: Literal["issues"] = "issues"
    title: str = Field("title", description="field of the title")
    body: str = Field("body", description="field of the opening post; may be empty")
    author: str | None = Field("author", description="field of who opened it; null when there is none")
    comments: str = Field("comments", description="field of the list of comments; may be missing")
    comment_text: str = Field("body", description="inside a comment: its text")
    comment_author: str = Field("author", description="inside a comment: who wrote it")
    keep_bots: bool = Field(
        False, description="keep comments of accounts such as `dependabot[bot]`, and issues they open"
    )
    min_comments: int = Field(0, ge=0, description="issues with fewer comments are dropped and counted")
    EXAMPLES: ClassVar = (
        {"kind": "issues", "paths": "issues/*.jsonl.zst"},
        {
            "kind": "issues",
            "paths": "issues.parquet",
            "comments": "events",
            "comment_text": "text",
            "min_comments": 1,
        },
    )

    def text_fields(self) -> list[str]:
        return [self.title]

    def optional_fields(self) -> list[str]:
        fields = [self.body, self.comments]
        return [*fields, self.author] if self.author else fields

    def texter(self) -> Texter:
        title, body = string_getter(self.title), string_getter(self.body, optional=True)
        get_comments, get_author = (
            field_getter(self.comments),
            field_getter(self.author) if self.author else lambda row: None,
        )
        comment_text, comment_author = (
            string_getter(self.comment_text, optional=True),
            field_getter(self.comment_author),
        )

        def text(row: dict) -> str | Drop:
            opened_by = get_author(row)
            if is_bot(opened_by) and not self.keep_bots:
                return Drop("opened_by_bot")
            heading = title(row).strip()
            opening = body(row).strip()
            given = get_comments(row)
            comments = []
            for post in posts(None if given is MISSING else given, self.comments):
                author = comment_author(post)
                content = comment_text(post).strip()
                if content and (self.keep_bots or not is_bot(author)):
                    comments.append((author, content))
            if len(comments) < self.min_comments:
                return Drop("few_comments")
            if not (comments or heading or opening):
                return ""
            authors = Authors()
            blocks = [f"Title: {heading}", f"{authors.label(opened_by)}:\n{opening}".rstrip()]
            blocks += [f"{authors.label(author)}:\n{content}" for author, content in comments]
            return "\n\n".join(blocks) + "\n"

        return text
