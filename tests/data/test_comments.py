"""Comments of programs: found in every language of the table, never inside strings; `pii` within them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemix.data.document import Document
from codemix.data.text.comments import LANGUAGES, with_comments
from codemix.data.text.languages import EXTENSIONS
from codemix.recipe.language.component import component_class

# (language, program with `C` wherever a letter is in a comment and `s` where it is not)
PROGRAMS = [
    ("Python", 's = "s # s" # C C\n"""C\nC"""\ns = \'\'\'C\'\'\'  # C "C\ns @ s'),
    ("Python", "s = 's' 's\\'# s' # C"),
    ("C", 's("//s"); // C "C\n/* C\nC */ s = \'"\'; // C\n'),
    ("Rust", "s s<'s>(s: &'s s) { // C'C\n}"),
    ("Go", 's := `//s\n"s` // C'),
    ("JavaScript", "s = \"http://s\" + `//s` + '/* s */' /* C */"),
    ("TypeScript", "s('s\\'// s') // C"),
    ("PHP", "<!-- C --> s # C\ns('# s') // C"),
    ("Shell", "s $# s#s '# s' # C\n#C"),
    ("YAML", 's: "# s" # C\ns: s#s'),
    ("SQL", "s '-- s' -- C\n/* C */ s"),
    ("Lua", "--[[ C\nC ]] s '--s' -- C"),
    ("Haskell", '{- C\n C -} s "-- s" -- C'),
    ("Common Lisp", '(s "; s\n;s") ; C\n#| C |#'),
    ("TeX", "s \\% s % C"),
    ("HTML", "<s s='s'>s<!-- C\nC --></s>"),
    ("CSS", 's { s: "/* s */" } /* C */ //s'),
    ("Fortran", "s = '! s' ! C"),
    ("OCaml", 's "(* s" (* C *)'),
    ("Batchfile", "REM C\ns rem s\n:: C"),
    ("JSON", '{"s": "// s # s"}'),
    ("", "# s // s"),
]


@pytest.mark.parametrize(("language", "program"), PROGRAMS)
def test_letters_in_comments_and_no_others_are_changed(language, program):
    changed = with_comments(program, language, lambda comment: comment.replace("C", "!").replace("s", "?"))
    assert changed == program.replace("C", "!")


def test_the_languages_have_their_usual_names():
    assert set(LANGUAGES) <= set(EXTENSIONS) and len(LANGUAGES) > 45


@given(st.text(alphabet="\"'`#/*-<>!\\\n a@b.cz%;({[|])}", max_size=60), st.sampled_from(LANGUAGES))
def test_what_is_no_comment_stays(program, language):
    assert with_comments(program, language, lambda comment: comment) == program


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_program_takes_long(language):
    start = time.process_time()
    pieces = ['"', "'", "/*", "`", "<!--", '"""', "\\", "'''", "(*", "{-", "#|", "--[[", "/", "-"]
    for piece in [*pieces, *("\\" + piece for piece in pieces), *(piece + "\n" for piece in pieces)]:
        with_comments(piece * (100_000 // len(piece)), language, str)
    assert time.process_time() - start < 3


ADDRESS = "jo.doe@mail.example.org"


@pytest.mark.parametrize(
    ("path", "program", "masked"),
    [
        ("a.py", f'x = "{ADDRESS}"  # ask {ADDRESS}\n', f'x = "{ADDRESS}"  # ask <E>\n'),
        ("a.c", f'/* {ADDRESS}, 8.8.8.8 */ s = "{ADDRESS}";', f'/* <E>, 192.0.2.1 */ s = "{ADDRESS}";'),
        ("a.py", "y = a@b.dot(c)  # 1.2.3.4", "y = a@b.dot(c)  # 192.0.2.1"),
        ("a.bin", f"# {ADDRESS}", f"# {ADDRESS}"),
    ],
)
def test_pii_within_comments(path, program, masked):
    op = component_class("op", "pii").model_validate({"kind": "pii", "within": "comments", "email": "<E>"})
    assert op.refuses({"kind": "code"}) is None
    document = Document("x", program, {"path": path})
    assert op.apply(document).text == masked
    assert op.apply(op.apply(document)).text == masked
