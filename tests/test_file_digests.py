"""Digests of folders."""

from pathlib import Path

from haymaker.file_digests import folder_digest
from haymaker.files import write_text


def test_a_folder_s_digest_is_of_names_and_contents_alone(tmp_path: Path) -> None:
    for home in ("one", "other"):
        for name in ("b", "a") if home == "one" else ("a", "b"):
            write_text(tmp_path / home / "deep" / name, name)
    write_text(tmp_path / "other" / "clock.txt", "now")
    one = folder_digest(tmp_path / "one")
    assert folder_digest(tmp_path / "other", volatile=("clock.*",)) == one
    assert folder_digest(tmp_path / "other") != one
    (tmp_path / "one" / "deep" / "a").rename(tmp_path / "one" / "deep" / "c")
    assert folder_digest(tmp_path / "one") != one
