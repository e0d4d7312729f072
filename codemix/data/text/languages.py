"""Programming and markup languages: one name each, whatever a data set calls them, and what a file's name
says."""

from __future__ import annotations

from codemix.data.document import Document

# canonical name (GitHub Linguist's) -> file name extensions, most telling first
EXTENSIONS: dict[str, tuple[str, ...]] = {
    "Assembly": (".asm", ".s"),
    "Batchfile": (".bat", ".cmd"),
    "C": (".c", ".h"),
    "C#": (".cs", ".csx"),
    "C++": (".cpp", ".cc", ".cxx", ".c++", ".hpp", ".hh", ".hxx", ".inl"),
    "CMake": (".cmake",),
    "CSS": (".css",),
    "CSV": (".csv", ".tsv"),
    "CUDA": (".cu", ".cuh"),
    "Clojure": (".clj", ".cljs", ".cljc", ".edn"),
    "CoffeeScript": (".coffee",),
    "Common Lisp": (".lisp", ".cl"),
    "Dart": (".dart",),
    "Dockerfile": (".dockerfile",),
    "Elixir": (".ex", ".exs"),
    "Elm": (".elm",),
    "Erlang": (".erl", ".hrl"),
    "F#": (".fs", ".fsi", ".fsx"),
    "Fortran": (".f90", ".f", ".f95", ".f03", ".for"),
    "Go": (".go",),
    "Groovy": (".groovy", ".gradle"),
    "HTML": (".html", ".htm", ".xhtml"),
    "Haskell": (".hs", ".lhs"),
    "INI": (".ini", ".cfg"),
    "JSON": (".json", ".jsonl", ".geojson", ".webmanifest"),
    "JSX": (".jsx",),
    "Java": (".java",),
    "JavaScript": (".js", ".mjs", ".cjs"),
    "Julia": (".jl",),
    "Jupyter Notebook": (".ipynb",),
    "Kotlin": (".kt", ".kts"),
    "Less": (".less",),
    "Lua": (".lua",),
    "M4": (".m4", ".ac"),
    "Makefile": (".mk", ".mak", ".make"),
    "Markdown": (".md", ".markdown", ".mdx"),
    "OCaml": (".ml", ".mli"),
    "Objective-C": (".m", ".mm"),
    "PHP": (".php", ".phtml"),
    "Pascal": (".pas", ".pp"),
    "Perl": (".pl", ".pm"),
    "PowerShell": (".ps1", ".psm1"),
    "Protocol Buffer": (".proto",),
    "Python": (".py", ".pyi", ".pyw"),
    "R": (".r",),
    "RMarkdown": (".rmd",),
    "Ruby": (".rb", ".rake", ".gemspec"),
    "Rust": (".rs",),
    "SCSS": (".scss",),
    "SQL": (".sql",),
    "Sass": (".sass",),
    "Scala": (".scala", ".sc"),
    "Scheme": (".scm", ".ss"),
    "Shell": (".sh", ".bash", ".zsh", ".ksh"),
    "Smalltalk": (".st",),
    "Solidity": (".sol",),
    "Swift": (".swift",),
    "TOML": (".toml",),
    "Tcl": (".tcl",),
    "TeX": (".tex", ".sty", ".cls", ".bib"),
    "Text": (".txt",),
    "TypeScript": (".ts", ".tsx", ".mts", ".cts"),
    "VHDL": (".vhd", ".vhdl"),
    "Verilog": (".v", ".vh", ".sv"),
    "Visual Basic": (".vb", ".bas"),
    "Vue": (".vue",),
    "XML": (".xml", ".xsd", ".svg", ".xul"),
    "XSLT": (".xsl", ".xslt"),
    "YAML": (".yaml", ".yml"),
    "Zig": (".zig",),
    "reStructuredText": (".rst", ".rest"),
}
_NAMES = {
    "makefile": "Makefile",
    "gnumakefile": "Makefile",
    "dockerfile": "Dockerfile",
    "cmakelists.txt": "CMake",
    "rakefile": "Ruby",
    "gemfile": "Ruby",
}
_BY_EXTENSION = {extension: name for name, extensions in EXTENSIONS.items() for extension in extensions}
_ALIASES = {
    "c-sharp": "C#",
    "csharp": "C#",
    "cpp": "C++",
    "cplusplus": "C++",
    "f-sharp": "F#",
    "golang": "Go",
    "js": "JavaScript",
    "ts": "TypeScript",
    "tsx": "TypeScript",
    "py": "Python",
    "rb": "Ruby",
    "rs": "Rust",
    "sh": "Shell",
    "bash": "Shell",
    "rst": "reStructuredText",
    "restructured-text": "reStructuredText",
    "md": "Markdown",
    "yml": "YAML",
    "jupyter": "Jupyter Notebook",
    "jupyter-notebook": "Jupyter Notebook",
    "objective-c": "Objective-C",
    "visual-basic": "Visual Basic",
    "protocol-buffer": "Protocol Buffer",
    "protobuf": "Protocol Buffer",
    "common-lisp": "Common Lisp",
    "cuda": "CUDA",
    "latex": "TeX",
} | {name.lower(): name for name in EXTENSIONS}

# paper (arXiv 2408.10914) Table 3 and Table 4, in their order
PAPER_CODE = (
    "Java",
    "JavaScript",
    "PHP",
    "Python",
    "C#",
    "TypeScript",
    "C",
    "C++",
    "Go",
    "Ruby",
    "Shell",
    "Kotlin",
    "Swift",
    "Vue",
    "Rust",
    "Scala",
    "JSX",
    "SQL",
    "Dart",
    "Makefile",
    "Lua",
    "Haskell",
    "Smalltalk",
    "TeX",
    "Clojure",
)
PAPER_MARKUP = (
    "Markdown",
    "YAML",
    "JSON",
    "HTML",
    "CSS",
    "SCSS",
    "reStructuredText",
    "TOML",
    "Sass",
    "RMarkdown",
)


def canonical(name: str) -> str:
    """One name for a language, `C++` for `cpp`, `c++` and `C++`; unknown names as they are."""
    return _ALIASES.get(name.strip().lower(), name.strip())


def of_path(path: str) -> str:
    """The language that a file's name says, or an empty string. `.h` counts as C."""
    name = (
        path.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    )  # pathlib would take ten times as long
    stem, _, extension = name.rpartition(".")
    return _NAMES.get(name) or (_BY_EXTENSION.get(f".{extension}", "") if stem else "")


def names_of(language: str) -> tuple[str, ...]:
    """Whole names of files, in lower case, that tell a language: `makefile`."""
    names = []
    for name, named_language in _NAMES.items():
        if named_language == language:
            names.append(name)
    return tuple(names)


def of(doc: Document) -> str:
    """The language of a document: what is known of it, else what its path says, else an empty string."""
    known = doc.meta.get("language")
    if isinstance(known, str) and known:
        return canonical(known)
    path = doc.meta.get("path")
    return of_path(path) if isinstance(path, str) else ""
