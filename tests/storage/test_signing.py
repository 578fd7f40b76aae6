"""Addresses that are signed by temporary credentials: good for no longer than these."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from app.storage.locations import S3Options
from app.storage.s3.objects import Objects
from tests.buckets import BUCKET, Server


@pytest.mark.parametrize(("minutes", "seconds"), [(20, 900), (45, 1800), (600, 3600)])
def test_an_address_ends_with_the_credentials_that_signed_it(
    versitygw: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, seconds: int
) -> None:
    options = versitygw.options
    told = {
        "Version": 1,
        "AccessKeyId": options.access_key,
        "SecretAccessKey": options.secret_key,
        "Expiration": (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat(),
    }
    (tmp_path / "told.json").write_text(json.dumps(told))
    script = f"print(open({str(tmp_path / 'told.json')!r}).read())"
    (tmp_path / "process.py").write_text(script)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} {tmp_path / 'process.py'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    objects, key = Objects(BUCKET, S3Options(options.endpoint)), f"{versitygw.place().prefix}/a"
    objects.put(key, b"content")
    assert objects.lifetime() == seconds
    assert httpx2.get(objects.presign(key, objects.lifetime())).content == b"content"
