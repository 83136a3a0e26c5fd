"""Class data archives: used when whole, written when missing, never kept when half written."""

from __future__ import annotations

from pathlib import Path

from infra.stack.class_archive import ARCHIVES_MAX, ClassArchive, base_archive


def archive(folder: Path, *, layered: bool = True, class_path: str = "a.jar") -> ClassArchive:
    return ClassArchive(folder, "kafka", class_path, layered)


def test_flags_follow_what_is_there(tmp_path: Path) -> None:
    one = archive(tmp_path)
    assert one.flags() == one.base_flags() == []
    base_archive(tmp_path).touch()
    base = f"-XX:SharedArchiveFile={base_archive(tmp_path)}"
    assert archive(tmp_path, layered=False).flags() == [base]
    assert one.flags() == [base, f"-XX:ArchiveClassesAtExit={one.partial}"]
    one.layer.touch()
    assert one.flags() == [f"{base}:{one.layer}"]
    # Other jars, another archive.
    assert archive(tmp_path, class_path="b.jar").flags()[0] == base


def test_what_a_killed_jvm_wrote_is_not_kept(tmp_path: Path) -> None:
    one = archive(tmp_path)
    one.partial.write_text("half")
    one.keep(ended_well=False)
    assert not one.layer.exists()
    assert not one.partial.exists()
    one.partial.write_text("whole")
    one.keep(ended_well=True)
    assert one.layer.read_text() == "whole"
    assert not one.partial.exists()
    one.keep(ended_well=True)  # it wrote none this time


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    for number in range(ARCHIVES_MAX + 5):
        one = archive(tmp_path, class_path=f"{number}.jar")
        one.partial.touch()
        one.keep(ended_well=True)
    assert len(list(tmp_path.iterdir())) == ARCHIVES_MAX
