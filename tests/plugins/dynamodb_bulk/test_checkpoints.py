import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dynamodb_bulk.checkpoints import CheckpointStore, LocalCheckpoints, S3Checkpoints

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
