"""The contract's own check refuses what would break a reader, and names the field."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from schemas import check
from schemas.catalog import SCHEMAS_DIR, CatalogError, Topics, load_topics, topic

Schema = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the contract that may be broken."""
    copied = tmp_path / "schemas"
    shutil.copytree(SCHEMAS_DIR / "avro", copied / "avro")
    shutil.copytree(SCHEMAS_DIR / "examples", copied / "examples")
    for name in ("topics.yaml", "published.lock"):
        shutil.copy(SCHEMAS_DIR / name, copied / name)
    return copied


def add_version(folder: Path, name: str, version: int, schema: Schema) -> None:
    (folder / "avro" / f"{name}.v{version}.avsc").write_text(json.dumps(schema))
    example = (folder / "examples" / f"{name}.v1.json").read_text()
    (folder / "examples" / f"{name}.v{version}.json").write_text(example)


def first(folder: Path, name: str) -> Schema:
    schema: Schema = json.loads((folder / "avro" / f"{name}.v1.avsc").read_text())
    return copy.deepcopy(schema)


def test_the_contract_of_this_repository_is_right() -> None:
    assert check.problems(SCHEMAS_DIR) == []
    assert check.main([]) == 0


def test_a_new_field_without_a_default_is_refused_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = first(folder, "TweetLiked")
    schema["fields"].append({"name": "reaction", "type": "string", "doc": "Which."})
    add_version(folder, "TweetLiked", 2, schema)
    assert check.main(["--folder", str(folder), "--publish"]) == 1
    told = capsys.readouterr().err
    assert "TweetLiked.v2.avsc: cannot read what TweetLiked.v1.avsc wrote" in told
    assert "'reaction'" in told


def test_compatibility_is_with_all_versions_and_not_the_last_alone(folder: Path) -> None:
    second = first(folder, "UserErased")
    second["fields"].append({"name": "why", "type": "string", "default": "", "doc": "Why."})
    add_version(folder, "UserErased", 2, second)
    third = copy.deepcopy(second)
    del third["fields"][-1]["default"]
    add_version(folder, "UserErased", 3, third)
    found = [line for line in check.problems(folder) if "cannot read" in line]
    assert len(found) == 1
    assert "UserErased.v1.avsc" in found[0]
    assert "'why'" in found[0]


def test_a_compatible_version_is_accepted_and_published_once(folder: Path) -> None:
    schema = first(folder, "UserErased")
    schema["fields"].append({"name": "why", "type": "string", "default": "", "doc": "Why."})
    add_version(folder, "UserErased", 2, schema)
    assert any("UserErased.v2.avsc: is not in published.lock" in p for p in check.problems(folder))
    assert check.main(["--folder", str(folder), "--publish"]) == 0
    assert check.problems(folder) == []


def test_a_published_file_is_frozen(folder: Path) -> None:
    path = folder / "avro" / "TweetLiked.v1.avsc"
    path.write_text(path.read_text().replace("A user liked", "Somebody liked"))
    assert check.main(["--folder", str(folder), "--publish"]) == 1
    assert any("TweetLiked.v1.avsc: is published and frozen" in p for p in check.problems(folder))


def test_a_published_file_may_not_go(folder: Path) -> None:
    (folder / "avro" / "TweetLiked.v1.avsc").unlink()
    found = check.problems(folder)
    assert "TweetLiked.v1.avsc: is published and must not be removed" in found
    assert "topics.yaml: event TweetLiked has no schema" in found


def test_every_field_needs_a_doc_and_every_schema_a_topic_and_an_example(folder: Path) -> None:
    schema = first(folder, "UserErased")
    schema["name"] = "UserForgotten"
    del schema["fields"][2]["doc"]
    (folder / "avro" / "UserForgotten.v1.avsc").write_text(json.dumps(schema))
    told = "\n".join(check.problems(folder))
    assert "UserForgotten.v1.avsc: field UserForgotten.user_id has no doc" in told
    assert "event UserForgotten is in 0 topics" in told
    assert "UserForgotten.v1.avsc: example:" in told


def test_an_example_that_does_not_fit_its_schema_is_told(folder: Path) -> None:
    path = folder / "examples" / "TweetLiked.v1.json"
    example = json.loads(path.read_text())
    example["user_id"] = "five"
    path.write_text(json.dumps(example))
    assert any("TweetLiked.v1.avsc: example" in p for p in check.problems(folder))


def test_versions_have_no_hole(folder: Path) -> None:
    add_version(folder, "UserErased", 3, first(folder, "UserErased"))
    assert "versions are [1, 3]" in check.problems(folder)[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("users: {about: x}", "missing required field"),
        ("users: 3", "users"),
        ("a: [", "not YAML"),
    ],
)
def test_a_bad_topic_table_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "topics.yaml"
    path.write_text(text)
    with pytest.raises(CatalogError, match=told):
        load_topics(path)


def test_names_under_a_prefix_lead_back() -> None:
    topics = Topics("t1.", "local")
    assert topics.name("new-tweets") == "t1.new-tweets"
    assert topics.logical("t1.new-tweets") == "new-tweets"
    assert topics.partitions("new-tweets") == 8
    assert Topics().partitions("new-tweets") == 256
    with pytest.raises(CatalogError, match="prefix"):
        topics.logical("new-tweets")
    with pytest.raises(CatalogError, match="there are: new-tweets"):
        topics.name("new-tweet")


def test_source_topics_are_kept_for_ever() -> None:
    kept = ("new-tweets", "engagements", "social-graph", "users", "usernames", "user-activity")
    for name in (*kept, "lists", "bookmarks"):
        assert topic(name).retention_ms == -1
        assert topic(name).timestamp == "LogAppendTime"
