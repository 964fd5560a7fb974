"""README.md of a dataset's folder: the header that `datasets` reads, how the rows were made, and what checks found."""

from typing import Any

POOLED_NOTE = (
    "\nTexts stand once each in documents.parquet, and rows refer to them by number; "
    "`haymaker data unpool` writes the rows out.\n"
)
MOST_FAILED_ROWS = 20


def card(manifest: dict[str, Any]) -> str:
    """The page for a manifest; a pure function of it."""
    recipe = manifest["recipe"]
    title = f"# {recipe['task']}, {recipe['setting']}, {recipe['length']} tokens\n"
    note = POOLED_NOTE if "documents" in manifest else ""
    return f"{header(manifest)}{title}\nBuilt by Haymaker.\n{note}" + "".join(
        section(heading, facts) for heading, facts in sections(manifest).items() if facts
    )


def header(manifest: dict[str, Any]) -> str:
    """Which files hold which split."""
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    lines += [f"  - split: {manifest['recipe']['split']}", "    path: data-*.parquet"]
    if "documents" in manifest:
        lines += ["- config_name: documents", "  data_files: documents.parquet"]
    return "\n".join([*lines, "---", ""])


def sections(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    recipe = {**manifest["recipe"], "rows": f"{manifest['rows']} of {manifest['recipe']['rows']} asked for"}
    made = {
        key: manifest.get(key)
        for key in ("answer_room", "identity", "prompt", "template_date", "tokenizer_name", "tokenizer_sha256")
    }
    failed = {f"row {failure['row']}": failure["reason"] for failure in manifest["failed"][:MOST_FAILED_ROWS]}
    hidden = len(manifest["failed"]) - MOST_FAILED_ROWS
    more = {"further rows": f"{hidden}, in manifest.json"} if hidden > 0 else {}
    return {
        "How it was made": {key: value for key, value in (recipe | made).items() if value is not None},
        "Inputs (sha256)": manifest["inputs"],
        "Source rows rejected": manifest["rejected"],
        "Rows that could not be built": failed | more,
        "Checks": manifest["checks"],
        "Rows shared with other datasets": manifest.get("overlap", {}),
        "Versions": manifest["versions"],
    }


def section(heading: str, facts: dict[str, Any]) -> str:
    return f"\n## {heading}\n" + "".join(f"- {name}: {value}\n" for name, value in facts.items())
