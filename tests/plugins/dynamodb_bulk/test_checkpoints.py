import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dynamodb_bulk.checkpoints import CheckpointStore, LocalCheckpoints, S3Checkpoints, own_folder
from dynamodb_bulk.errors import CheckpointError

PLUGINS = Path(__file__).parents[3] / "plugins"


@pytest.fixture(params=["folder", "fast folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CheckpointStore]:
    if request.param == "s3":
        with mock_aws():
            client = boto3.client("s3", region_name="us-east-1")
            client.create_bucket(Bucket="bucket")
            client.put_object(Bucket="bucket", Key="other", Body=b"stays")
            yield S3Checkpoints(client, "bucket", "checkpoints/one/")
            assert [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket")["Contents"]] == ["other"]
    else:
        yield LocalCheckpoints(tmp_path / "not" / "there", durable=request.param == "folder")


def test_documents_are_kept_replaced_and_removed(store: CheckpointStore) -> None:
    store.clear()
    assert store.get("a.json") is None
    store.put("a.json", b"1")
    store.put("shards/00001/b.bin", bytes(range(256)))
    store.put("a.json", b"22")
    assert store.get("a.json") == b"22"
    assert store.get("shards/00001/b.bin") == bytes(range(256))
    assert store.get("shards") is None
    assert store.get_range("shards/00001/b.bin", 10, 5) == bytes(range(10, 15))
    assert store.get_range("shards/00001/b.bin", 10, 0) == b""
    store.clear()
    assert store.get("a.json") is None
    assert store.get("shards/00001/b.bin") is None


def test_a_document_that_could_not_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalCheckpoints(tmp_path)
    store.put("a", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.put("a", b"new")
    assert store.get("a") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_killed_writer_never_leaves_half_a_document(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(PLUGINS)!r})\n"
        "from dynamodb_bulk.checkpoints import LocalCheckpoints\n"
        f"store = LocalCheckpoints({str(tmp_path)!r}, durable=False)\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    store.put('doc', bytes([n % 256]) * 300_000)\n"
        "    print(n, flush=True)\n"
    )
    for lines in (1, 7, 20):
        process: Any = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        for _ in range(lines):
            process.stdout.readline()
        process.kill()
        process.wait()
        process.stdout.close()
        data = LocalCheckpoints(tmp_path).get("doc")
        assert data is not None
        assert len(data) == 300_000
        assert len(set(data)) == 1


def test_a_folder_that_holds_other_files_is_not_taken_as_it_would_be_emptied(tmp_path: Path) -> None:
    own_folder(tmp_path / "not there", "first").put("first", b"1")
    own_folder(tmp_path / "not there", "first").put("second", b"2")
    own_folder(tmp_path / "not there", "first").clear()
    own_folder(tmp_path / "not there", "first")
    (tmp_path / "not there" / ".draft-1").write_text("left by a writer that was killed")
    own_folder(tmp_path / "not there", "first")
    (tmp_path / "orders.csv").write_text("id\n1\n")
    with pytest.raises(CheckpointError, match=r"holds 'not there' but no checkpoint.*name one that is empty"):
        own_folder(tmp_path, "first")


def test_a_removal_that_was_killed_leaves_what_was_put_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalCheckpoints(tmp_path)
    names = ["load.json", "shards/00000/survey.json", "file.json", "decision.json", "shards/00000/written.json"]
    for moment, name in enumerate(names):
        store.put(name, b"1")
        os.utime(tmp_path / name, (moment, moment))
    unlink = Path.unlink

    def killed(path: Path) -> None:
        if path.name == "file.json":
            raise KeyboardInterrupt
        unlink(path)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        store.clear()
    assert [name for name in names if store.get(name)] == names[:3]


def test_a_document_that_s3_does_not_remove_is_an_error() -> None:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        S3Checkpoints(client, "bucket", "checkpoints/").put("load.json", b"1")
        refusal = {"Errors": [{"Key": "checkpoints/load.json", "Code": "AccessDenied", "Message": "Access Denied"}]}
        store = S3Checkpoints(Refusing(client, refusal), "bucket", "checkpoints/")
        with pytest.raises(
            CheckpointError, match=r"s3://bucket/checkpoints/load\.json cannot be removed \(AccessDenied"
        ):
            store.clear()


class Refusing:
    """An S3 client that may not delete."""

    def __init__(self, client: Any, refusal: dict[str, Any]) -> None:
        self.get_paginator = client.get_paginator
        self._refusal = refusal

    def delete_objects(self, **_: Any) -> Any:
        return self._refusal
