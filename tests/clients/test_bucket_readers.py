"""Engines and platforms that read a bucket themselves: below a model's path they find its files, and nothing else."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.buckets import BUCKET, Place
from tests.environments import python_environment
from tests.published import name_of, publish

FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": b"one" * 1000,
    "model-00002-of-00002.safetensors": b"two" * 1000,
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "onnx/odd name [x]+@~.onnx": b"odd",
}
_PULL = """
import json, sys
from runai_model_streamer_s3.files.files import glob, pull_files
path, folder = sys.argv[1:]
pull_files(path, folder, ignore_pattern=["*.safetensors"])
print(json.dumps(glob(path, ["*.safetensors"])))
"""
_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")


@pytest.fixture
def path(bucket: Place) -> str:
    """That of a model with neighbours whose names begin as its own does, and one that arrives beside it."""
    store = bucket.open()
    model_id = publish(store, "acme/llama", FILES)
    for name in ("acme/llama-hf", "acme/llama"):
        publish(store, name, {"config.json": b"{}", "other.safetensors": b"other"})
    return store.path(name_of("acme/llama"), model_id)


def test_kserve_finds_the_model_and_nothing_else(bucket: Place, path: str) -> None:
    # As its storage initializer lists: without a slash at the end, and empty objects are left out.
    prefix = path.removeprefix(f"s3://{BUCKET}/")
    found = {
        one.key.removeprefix(prefix).lstrip("/"): bucket.objects.get(one.key)
        for one in bucket.objects.below(prefix)
        if one.size and not one.key.endswith("/")
    }
    assert found == FILES


def test_the_run_ai_streamer_finds_the_model_and_nothing_else(bucket: Place, path: str, tmp_path: Path) -> None:
    # What it depends on beside these is torch, which only the loading needs.
    bin_ = python_environment("runai-streamer", "--no-deps", "runai-model-streamer-s3==0.17.1", *_PACKAGES)
    options = bucket.server.options
    environment = os.environ | {
        "AWS_ENDPOINT_URL": options.endpoint,
        "AWS_ACCESS_KEY_ID": options.access_key,
        "AWS_SECRET_ACCESS_KEY": options.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
    }
    words = [str(bin_ / "python"), "-c", _PULL, path, str(tmp_path)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    weights = {one for one in FILES if one.endswith(".safetensors")}
    assert set(json.loads(done.stdout)) == {f"{path}/{one}" for one in weights}
    pulled = {one.relative_to(tmp_path).as_posix(): one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    assert pulled == {one: content for one, content in FILES.items() if one not in weights}
