"""Requests to real object stores: what they keep, and how what goes wrong is told."""

import errno
import hashlib
import ssl
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from app.storage.base import StoreAway
from app.storage.locations import S3Options
from app.storage.s3.client import _add_md5
from app.storage.s3.errors import Changed, NoObject, NoUpload
from app.storage.s3.objects import Objects
from app.storage.s3.reading import ObjectFile, ObjectReader
from tests.buckets import BUCKET, Place, SeaweedFS, Server
from tests.faults.relays import Relay
from tests.processes import free_port

MIB = 1 << 20
_DATA = bytes(range(256)) * 64
_ODD = ["plain.bin", "dir/in dir/file", "模型.bin", "a+b=c&d.txt", "@rev~1234", "feature%2Fx/config.json", "q?x#y.bin"]


def test_objects_have_the_keys_bytes_and_checksums_that_they_were_given(bucket: Place) -> None:
    objects = bucket.objects
    for name in _ODD:
        etag = objects.put(f"{bucket.prefix}/{name}", memoryview(_DATA), verified=True)
        head = objects.head(f"{bucket.prefix}/{name}")
        assert head == (len(_DATA), etag, hashlib.sha256(_DATA).hexdigest())
        assert objects.get(f"{bucket.prefix}/{name}") == _DATA
    assert bucket.keys() == sorted(_ODD)
    objects.delete_all([f"{bucket.prefix}/{name}" for name in _ODD])
    objects.delete(f"{bucket.prefix}/plain.bin")
    assert bucket.keys() == []
    with pytest.raises(NoObject):
        objects.get(f"{bucket.prefix}/plain.bin")
    with pytest.raises(NoObject):
        objects.head(f"{bucket.prefix}/plain.bin")


def test_more_objects_than_a_page_has_are_listed_and_deleted(bucket: Place) -> None:
    objects, names = bucket.objects, [f"{bucket.prefix}/deep/{number:04}" for number in range(1001)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: objects.put(name, b""), names))
    objects.put(f"{bucket.prefix}/deeper", b"")
    assert len(list(objects.below(f"{bucket.prefix}/deep/"))) == 1001
    assert [one.key for one in objects.level(f"{bucket.prefix}/")] == [f"{bucket.prefix}/deeper"]
    objects.delete_all(names)
    assert bucket.keys() == ["deeper"]
    assert objects.batches


def test_where_several_objects_are_not_deleted_at_once_each_is_deleted(juicefs_gateway: Server) -> None:
    place = juicefs_gateway.place()
    objects, names = place.objects, [f"{place.prefix}/{number}" for number in range(3)]
    for name in names:
        objects.put(name, b"x")
    # Without it, this server refuses the request.
    objects._client.meta.events.unregister("before-call.s3.DeleteObjects", _add_md5)
    objects.delete_all(names)
    assert place.keys() == []
    assert not objects.batches


def test_ranges_are_read_and_never_those_of_another_object(bucket: Place) -> None:
    objects, key = bucket.objects, f"{bucket.prefix}/file"
    etag = objects.put(key, _DATA)
    file = ObjectFile(objects, key, len(_DATA), etag)
    assert [file.read(0, 3), file.read(100, 50), file.read(len(_DATA) - 2, 99)] == [
        _DATA[:3],
        _DATA[100:150],
        _DATA[-2:],
    ]
    assert file.read(len(_DATA), 1) == b""
    with file.reader() as reader:
        assert reader.read() == _DATA
    objects.put(key, _DATA[::-1])
    with pytest.raises(Changed):
        file.read(0, 3)


def test_a_reader_goes_on_where_its_connection_broke(bucket: Place) -> None:
    objects, key, data = bucket.objects, f"{bucket.prefix}/file", bytes(3 * MIB) + _DATA
    etag = objects.put(key, data)
    with ObjectReader(objects, key, len(data), etag) as reader:
        began = reader.read(MIB)
        reader._stream.close()
        assert began + reader.read() == data


def test_an_address_that_was_signed_needs_no_credentials(bucket: Place) -> None:
    key = f"{bucket.prefix}/dir/a b+c@1.bin"
    bucket.objects.put(key, _DATA)
    request = urllib.request.Request(bucket.objects.presign(key, 60), headers={"Range": "bytes=5-9"})
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.read()) == (206, _DATA[5:10])


def test_an_object_of_parts_has_the_parts_that_are_named(bucket: Place) -> None:
    objects, key = bucket.objects, f"{bucket.prefix}/large"
    upload = objects.begin(key, "a" * 64)
    first, last = bytes(5 * MIB), b"the end"
    etags = [objects.send(key, upload, 1, first), objects.send(key, upload, 2, memoryview(last))]
    assert objects.parts(key, upload) == {1: etags[0], 2: etags[1]}
    objects.complete(key, upload, etags)
    assert objects.get(key) == first + last
    assert objects.head(key).sha256 == "a" * 64
    aborted = objects.begin(key, None)
    for _ in "twice":
        objects.abort(key, aborted)
    with pytest.raises(NoUpload):
        objects.send(key, aborted, 1, last)
    with pytest.raises(NoUpload):
        objects.parts(key, aborted)


def test_a_copy_is_made_of_the_object_that_was_meant(bucket: Place) -> None:
    objects, source, target = bucket.objects, f"{bucket.prefix}/source ü", f"{bucket.prefix}/copy"
    etag = objects.put(source, _DATA, verified=True)
    objects.copy(source, target, etag)
    assert objects.get(target) == _DATA
    assert objects.head(target).sha256 == hashlib.sha256(_DATA).hexdigest()
    objects.put(source, b"other")
    with pytest.raises(Changed):
        objects.copy(source, target, etag)
    with pytest.raises(NoObject):
        objects.copy(f"{bucket.prefix}/nowhere", target, etag)


def test_wrong_credentials_are_told_with_the_settings_and_without_the_secret(bucket: Place) -> None:
    secret = "hunter2 hunter2"
    right = bucket.server.options
    for wrong in (replace(right, secret_key=secret), replace(right, access_key="nobody", secret_key=secret)):
        assert secret not in repr(wrong)
        assert right.access_key not in repr(right)
        objects = Objects(BUCKET, wrong)
        for attempt in (objects.check, lambda objects=objects: objects.put(f"{bucket.prefix}/x", b"x")):
            with pytest.raises(PermissionError, match="DEPOT_S3_SECRET_KEY") as refused:
                attempt()
            assert secret not in str(refused.value)
            assert secret not in str(refused.value.__cause__)


def test_a_bucket_that_is_not_there_is_told(bucket: Place) -> None:
    objects = Objects("nothing-here", bucket.server.options)
    attempts: list[Callable[[], object]] = [objects.check, lambda: objects.get("x"), lambda: objects.put("x", b"x")]
    # SeaweedFS answers a write to it with 500. No write comes before a check.
    for attempt in attempts[:2] if isinstance(bucket.server, SeaweedFS) else attempts:
        with pytest.raises(FileNotFoundError, match="no bucket 'nothing-here'") as missing:
            attempt()
        assert not isinstance(missing.value, NoObject)


def test_a_server_that_does_not_answer_is_away() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    objects = Objects(BUCKET, S3Options(address, access_key="key", secret_key="secret"))
    with pytest.raises(StoreAway, match=address) as away:
        objects.check()
    assert away.value.errno


def test_without_credentials_the_settings_are_named(monkeypatch: pytest.MonkeyPatch, bucket: Place) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(PermissionError, match="DEPOT_S3_ACCESS_KEY"):
        Objects(BUCKET, S3Options(bucket.server.options.endpoint)).check()


def test_credentials_come_from_where_those_of_other_clients_do(monkeypatch: pytest.MonkeyPatch, bucket: Place) -> None:
    options = bucket.server.options
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options.secret_key)
    Objects(BUCKET, S3Options(options.endpoint)).check()


@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_that_nobody_vouches_for_is_refused(
    versitygw: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool
) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    # To botocore, an empty one means that anything is trusted.
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem") if trusted else "")
    with Relay(("127.0.0.1", versitygw.port), tls) as relay:
        objects = Objects(BUCKET, replace(versitygw.options, endpoint=f"https://127.0.0.1:{relay.port}"))
        if trusted:
            objects.check()
        else:
            with pytest.raises(StoreAway, match="AWS_CA_BUNDLE"):
                objects.check()


def test_a_key_that_is_too_long_is_told(versitygw: Server) -> None:
    bucket = versitygw.place()
    with pytest.raises(OSError, match="exclude") as refused:
        bucket.objects.put("/".join([bucket.prefix, *["x" * 100] * 50]), b"x")
    assert refused.value.errno == errno.ENAMETOOLONG
