"""Dedup entries run over texts, without a build."""

from codemix.data.build import dedup as dedup_module
from codemix.data.build.documents import Documents, DocumentsFile
from codemix.data.execution.runner import Resources
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.store import Store
from codemix.recipe.language import schema


def frozen(folder, texts_by_source, file_rows=1000):
    """Frozen documents of several sources, without a build."""
    from codemix.data.build.funnel import Funnel
    from codemix.data.store.jsonl_zst import LineWriter

    out = []
    for name, texts in texts_by_source.items():
        files = []
        for start in range(0, len(texts), file_rows):
            writer = LineWriter(folder / name / "docs" / f"{start:05d}-000.jsonl.zst")
            for i, text in enumerate(texts[start : start + file_rows], start):
                writer.write({"id": f"{name}#{i}", "text": text, "meta": {}})
            writer.close()
            files.append(DocumentsFile(f"docs/{writer.path.name}", writer.rows, 1, ""))
        out.append(Documents(name, folder / name, "f" * 64, tuple(files), Funnel()))
    return out


def removed_ids(documents, folder, before=(), **entry):
    """Run one entry; ids removed, and the survivor named for each."""
    from codemix.data.build.identity import Identity

    store = Store(folder / "store")
    final = store.path("dedup", f"{len(list((folder / 'store').rglob('manifest.json')))}")
    spec = schema.Dedup.model_validate({"sources": [d.source for d in documents]} | entry)

    def fill(work):
        identity = Identity("f" * 64)
        dedup_module.deduplicate(spec, documents, list(before), identity, Resources(), store.jobs, work)

    store.make(final, fill)
    return {
        row["id"]: row["kept"] for path in sorted(final.glob("removed/*/*")) for row in read_lines(path)
    }, final
