"""The language server, through a real client over pipes: what it shows, offers and finds, and that no text ends
it."""

import asyncio
import random
import shutil
import sys
import time
from pathlib import Path

import pytest
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from codemix.recipe.editor import completion, fixes
from codemix.recipe.editor.open_file import OpenFile

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "recipes" / "paper"
BALANCED = (PAPER / "balanced-to-text.yaml").read_text()


class Editor:
    """An editor with one server: opens texts, asks about the place of a `^` in a line."""

    def __init__(self, folder):
        self.folder = folder
        self.client = LanguageClient("editor", "1")
        self.diagnostics = {}
        self.told = asyncio.Event()
        self.versions = 0

        @self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params):
            self.diagnostics[params.uri] = list(params.diagnostics)
            self.told.set()

    async def start(self):
        await self.client.start_io(sys.executable, "-m", "codemix", "lsp")
        await self.client.initialize_async(
            types.InitializeParams(capabilities=types.ClientCapabilities(), root_uri=self.folder.as_uri())
        )
        self.client.initialized(types.InitializedParams())

    async def stop(self):
        await self.client.shutdown_async(None)
        self.client.exit(None)
        await self.client.stop()

    def uri(self, name):
        return (self.folder / name).as_uri()

    async def open(self, name, text):
        self.told.clear()
        item = types.TextDocumentItem(self.uri(name), "yaml", 0, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        await asyncio.wait_for(self.told.wait(), 30)
        return self.diagnostics[self.uri(name)]

    async def change(self, name, text):
        self.told.clear()
        self.versions += 1
        document = types.VersionedTextDocumentIdentifier(version=self.versions, uri=self.uri(name))
        whole = types.TextDocumentContentChangeWholeDocument(text)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [whole]))
        await asyncio.wait_for(self.told.wait(), 30)
        return self.diagnostics[self.uri(name)]

    def at(self, name, text, wanted, after=0):
        """The document and the position of `wanted` in the text."""
        offset = text.index(wanted) + after
        line = text.count("\n", 0, offset)
        column = len(text[text.rfind("\n", 0, offset) + 1 : offset].encode("utf-16-le")) // 2
        return {
            "text_document": types.TextDocumentIdentifier(self.uri(name)),
            "position": types.Position(line, column),
        }


def in_editor(tmp_path, use):
    async def session():
        shutil.copytree(PAPER, tmp_path / "paper")
        editor = Editor(tmp_path / "paper")
        await editor.start()
        try:
            return await asyncio.wait_for(use(editor), 120)
        finally:
            await editor.stop()

    return asyncio.run(session())


def test_the_validator_speaks_in_the_editor(tmp_path):
    async def use(editor):
        assert await editor.open("a.yaml", BALANCED) == []
        broken = BALANCED.replace("{text: 90%, code: 10%}", "{text: 90%, code: 20%}").replace(
            "# BPE", "# 𝒳 é BPE"
        )
        (problem,) = await editor.change("a.yaml", broken)
        assert "110%" in problem.message and "hint: " in problem.message
        assert problem.severity == types.DiagnosticSeverity.Error and problem.source == "codemix"
        assert broken.split("\n")[problem.range.start.line].lstrip().startswith("mixture: {text: 90%")
        assert await editor.change("a.yaml", "name: x\n") == []  # not a recipe
        assert (await editor.change("a.yaml", "codemix: [\n"))[0].code == "yaml-syntax"
        study = (PAPER / "study-code-proportion.yaml").read_text()
        assert await editor.open("study-code-proportion.yaml", study) == []

    in_editor(tmp_path, use)


def test_hover_shows_tokens_epochs_shares_and_docs(tmp_path):
    async def use(editor):
        text = BALANCED.replace("# Table", "# 𝒳").replace("name: continue", 'name: "continue"')
        text = text.replace("    held_out:", "    subsample: 1/16\n    held_out:", 1)
        await editor.open("a.yaml", text)

        async def hover(wanted, after=0):
            found = await editor.client.text_document_hover_async(
                types.HoverParams(**editor.at("a.yaml", text, wanted, after))
            )
            return found.contents.value if found else None

        source = await hover("web_code: 80%", 2)
        assert "one epoch is 139B tokens, at most 2 epochs" in source
        assert "| continue | 8% | 16B | 0.633 |" in source
        assert "200B tokens in 47,683 steps" in await hover('name: "continue"', 8)
        assert "floats" in await hover("kind: max_floats", 8)
        assert "share" in await hover("held_out", 2) or "hash" in await hover("held_out", 2)
        assert "in whole documents by the hash of their ids" in await hover("subsample", 2)
        assert await hover("# Whether", 1) is None
        # a broken text keeps the last numbers
        await editor.change("a.yaml", text.replace("text: 90%", "text: 95%"))
        assert "139B tokens" in await hover("web_code: 80%", 2)

    in_editor(tmp_path, use)


def test_go_to_a_group_a_source_a_stage_and_a_file(tmp_path):
    async def use(editor):
        start = "    init_from: {recipe: balanced-to-text.yaml, stage: init}\n"
        child = BALANCED.replace("  - name: init\n", "  - name: init\n" + start, 1)
        await editor.open("child.yaml", child)

        async def target(wanted, after=0):
            found = await editor.client.text_document_definition_async(
                types.DefinitionParams(**editor.at("child.yaml", child, wanted, after))
            )
            if found is None:
                return None
            return found.uri.rsplit("/", 1)[1], child.split("\n")[found.range.start.line].strip()

        assert await target("code: 50%}", 1) == ("child.yaml", "code: {web_code: 80%, markup: 20%}")
        assert await target("web_code: 80%", 3) == ("child.yaml", "web_code:")
        assert await target("by: synthetic", 5) == ("child.yaml", "synthetic:")
        assert (await target("recipe: balanced", 10))[0] == "balanced-to-text.yaml"
        assert await target("text: content", 1) is None
        assert await target("stage: init", 8) == ("child.yaml", "- name: init")

    in_editor(tmp_path, use)


def test_hints_are_offered_as_fixes_that_help(tmp_path):
    async def use(editor):
        for old, new, title in (
            (
                "{kind: max_floats, max_floats: 1000}",
                "{kind: max_float, max_floats: 1000}",
                "write `max_floats`",
            ),
            ("{text: 90%, code: 10%}", "{text: 90%, code: 20%}", "write `80%`"),
            ("held_out: 1%", "helt_out: 1%", "write `held_out`"),
            ("codemix: 1", "codemix: 1\nseed: 007", "write `7`"),
        ):
            text = BALANCED.replace(old, new)
            await editor.open(f"{title}.yaml", text)
            problems = editor.diagnostics[editor.uri(f"{title}.yaml")]
            span = types.Range(types.Position(0, 0), types.Position(text.count("\n"), 0))
            found = await editor.client.text_document_code_action_async(
                types.CodeActionParams(
                    types.TextDocumentIdentifier(editor.uri(f"{title}.yaml")),
                    span,
                    types.CodeActionContext(problems),
                )
            )
            assert title in [action.title for action in found], (problems, found)
            (action,) = [action for action in found if action.title == title]
            (edit,) = action.edit.changes[editor.uri(f"{title}.yaml")]
            lines = text.split("\n")
            row, start, end = edit.range.start.line, edit.range.start.character, edit.range.end.character
            lines[row] = lines[row][:start] + edit.new_text + lines[row][end:]
            assert await editor.change(f"{title}.yaml", "\n".join(lines)) == []

    in_editor(tmp_path, use)


@pytest.mark.parametrize(
    ("at", "labels"),
    [
        ("codemix: 1\nstages:\n  - na|", {"name", "mixture", "learning_rate"}),
        ("codemix: 1\n|", {"sources", "tokenizer", "stages"}),
        ("codemix: 1\nsources:\n  a:\n    read: {kind: |}\n", {"jsonl", "parquet", "git"}),
        ("codemix: 1\nsources:\n  a:\n    read: {kind: js", {"jsonl"}),
        ("codemix: 1\nsources:\n  a:\n    ops:\n      - {kind: max_floats, |}\n", {"max_floats"}),
        ("codemix: 1\nsources:\n  a:\n    ops:\n      - |\n", {"max_floats", "contains_0x"}),
        ("codemix: 1\nsources: {web: {}, text: {}}\nstages:\n  - mixture: {we|}\n", {"web", "text"}),
        ("codemix: 1\nsources: {web: {}}\nstages:\n  - cursor: re|\n", {"restart", "continue", "disjoint"}),
        ("codemix: 1\nsilence:\n  ma|\n", {"many-epochs"}),
        ("codemix: 1\nsources:\n  web:\n    sub|\n", {"subsample"}),
        ("codemix: 1\nstudy: x\n|", {"base", "sweep", "variations"}),
        ("codemix: 1\nstages:\n  - name: a\n  - init_from: {stage: |}\n", {"a"}),
    ],
)
def test_completion_knows_keys_kinds_values_and_names(at, labels):
    before, after = at.split("|") if "|" in at else (at, "")
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    found = {one.label for one in completion.completions(before + after, line, column)}
    assert labels <= found


def test_completion_and_formatting_over_the_wire(tmp_path):
    async def use(editor):
        text = "codemix:  1\nsources:\n  a:\n    read: {kind: }\n"
        await editor.open("a.yaml", text)
        found = await editor.client.text_document_completion_async(
            types.CompletionParams(**editor.at("a.yaml", text, "}"))
        )
        assert "jsonl" in {item.label for item in found}
        (edit,) = await editor.client.text_document_formatting_async(
            types.DocumentFormattingParams(
                types.TextDocumentIdentifier(editor.uri("a.yaml")), types.FormattingOptions(2, True)
            )
        )
        assert (
            edit.new_text == "codemix: 1\nsources:\n  a:\n    read: {kind:}\n" or "kind: }" in edit.new_text
        )

    in_editor(tmp_path, use)


def edited(text, choose):
    """A text after a random edit, as fingers make them."""
    start = choose.randrange(len(text) + 1)
    end = min(len(text), start + choose.choice([0, 0, 1, 5, 200]))
    put = choose.choice(
        [
            "",
            "\n",
            " ",
            "  ",
            "'",
            '"',
            "#",
            "- ",
            ": ",
            "{",
            "]",
            "&a ",
            "*a",
            "|\n",
            "\t",
            "é",
            "𝒳",
            "\0",
            "\r\n",
        ]
    )
    return text[:start] + put + text[end:]


def test_no_edit_ends_the_server(tmp_path):
    choose = random.Random(7)

    async def use(editor):
        text = BALANCED
        await editor.open("a.yaml", text)
        for round_ in range(120):
            if round_ % 20 == 0:
                text = choose.choice([path.read_text() for path in sorted(PAPER.glob("*.yaml"))])
            text = edited(text, choose)
            await editor.change("a.yaml", text)
            lines = text.split("\n")
            row = choose.randrange(len(lines) + 2)
            place = {
                "text_document": types.TextDocumentIdentifier(editor.uri("a.yaml")),
                "position": types.Position(row, choose.randrange(120)),
            }
            await editor.client.text_document_hover_async(types.HoverParams(**place))
            await editor.client.text_document_definition_async(types.DefinitionParams(**place))
            if round_ % 4 == 0:
                await editor.client.text_document_completion_async(types.CompletionParams(**place))
            if round_ % 30 == 0:
                span = types.Range(types.Position(row, 0), types.Position(row, 1))
                await editor.client.text_document_code_action_async(
                    types.CodeActionParams(place["text_document"], span, types.CodeActionContext([]))
                )
        assert await editor.change("a.yaml", BALANCED) == []
        hover = await editor.client.text_document_hover_async(
            types.HoverParams(**editor.at("a.yaml", BALANCED, "web_code: 80%", 2))
        )
        assert "139B" in hover.contents.value

    in_editor(tmp_path, use)


def test_a_fix_is_offered_only_where_it_helps():
    text = BALANCED.replace("tokens: 139B", "tokens: 1B")
    file = OpenFile(str(PAPER / "x.yaml"), text)
    assert file.checked.problems
    for problem in file.checked.problems:
        for fix in fixes.fixes(file, problem):
            after = OpenFile(file.file, fixes.applied(text, fix.edit)).checked.problems
            assert problem.what not in [left.what for left in after]


def test_diagnostics_of_the_largest_recipe_take_less_than_150_ms():
    text = max((path.read_text() for path in (ROOT / "recipes").rglob("*.yaml")), key=len)
    OpenFile(str(PAPER / "x.yaml"), text).checked  # noqa: B018 - imports what it needs
    start = time.process_time()
    OpenFile(str(PAPER / "x.yaml"), text + "# more\n").checked  # noqa: B018
    assert time.process_time() - start < 0.15


YAML_SERVER = shutil.which("yaml-language-server")


@pytest.mark.optional("yaml-language-server, from npm, on PATH")
@pytest.mark.skipif(YAML_SERVER is None, reason="yaml-language-server is not on PATH")
def test_yaml_language_server_takes_the_schema_by_the_files_name(tmp_path):
    """As an editor without codemix has it: docs/codemix.schema.json for `*.codemix.yaml`."""
    schema = (ROOT / "docs" / "codemix.schema.json").as_uri()
    settings = {"validate": True, "schemas": {schema: "*.codemix.yaml"}, "schemaStore": {"enable": False}}

    async def session():
        editor = Editor(tmp_path)

        @editor.client.feature(types.WORKSPACE_CONFIGURATION)
        def configuration(params):
            return [settings if item.section == "yaml" else {} for item in params.items]

        @editor.client.feature(types.CLIENT_REGISTER_CAPABILITY)
        def register(params):
            return None

        await editor.client.start_io(YAML_SERVER, "--stdio")
        abilities = types.ClientCapabilities(
            workspace=types.WorkspaceClientCapabilities(
                configuration=True,
                did_change_configuration=types.DidChangeConfigurationClientCapabilities(True),
            )
        )
        await editor.client.initialize_async(
            types.InitializeParams(capabilities=abilities, root_uri=tmp_path.as_uri())
        )
        editor.client.initialized(types.InitializedParams())
        changed = types.DidChangeConfigurationParams({"yaml": settings})
        editor.client.workspace_did_change_configuration(changed)
        await asyncio.sleep(2)
        try:
            found = {}
            for path in sorted((ROOT / "recipes").rglob("*.yaml")):
                text = path.read_text().split("\n", 1)[1]  # without the line that names the schema
                found[path.stem] = await editor.open(f"{path.stem}.codemix.yaml", text)
            broken = BALANCED.replace("held_out: 1%", "helt_out: 1%").split("\n", 1)[1]
            found["broken"] = await editor.open("broken.codemix.yaml", broken)
            return found
        finally:
            await editor.stop()

    found = asyncio.run(session())
    assert [problem.message for problem in found.pop("broken")] == ["Property helt_out is not allowed."]
    assert {name: problems for name, problems in found.items() if problems} == {}
