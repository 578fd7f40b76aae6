"""How the Hub puts things: its JSON, and its errors."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tests.fakehub.content import Bytes
from tests.fakehub.exchange import Answer
from tests.fakehub.repository import Commit, Entry, Folder, Repo

Told = dict[str, Any]
"""What is announced of a file: `size`, `oid`, and `sha256` if it is in LFS."""


class Refusal(Exception):
    """An error in the form of the Hub, whose clients go by the headers."""

    def __init__(self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] = {}) -> None:
        super().__init__(message)
        told = {"X-Error-Message": _header(message)} | ({"X-Error-Code": code} if code else {})
        self.answer = json_answer({"error": message}, status, told | dict(headers))


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    named = {"Content-Type": "application/json; charset=utf-8"} | dict(headers or {})
    return Answer(status, named, Bytes(json.dumps(value).encode()))


def truth(entry: Entry) -> Told:
    return {"size": entry.content.size, "oid": entry.oid} | ({"sha256": entry.content.sha256} if entry.lfs else {})


def listed(one: Entry | Folder, told: Callable[[Entry], Told], commit: Commit, *, expand: bool = False) -> Told:
    """A line of a tree, or of paths-info."""
    extra: Told = {"lastCommit": {"id": commit.id, "title": commit.title, "date": commit.date}} if expand else {}
    if isinstance(one, Folder):
        return {"type": "directory", "oid": one.oid, "size": 0, "path": one.path} | extra
    said = told(one)
    line = {"type": "file", "oid": said["oid"], "size": said["size"], "path": one.path}
    if one.lfs:
        line["lfs"] = {"oid": said["sha256"], "size": said["size"], "pointerSize": len(one.pointer)}
    if one.xet_hash is not None:
        line["xetHash"] = one.xet_hash
    if expand:
        scan = {"status": "safe", "avScan": None, "pickleImportScan": None}
        extra["securityFileStatus"] = scan
    return line | extra


def sibling(entry: Entry, said: Told | None) -> Told:
    """A file in a model's description: its name, or with `blobs` all about it."""
    if said is None:
        return {"rfilename": entry.path}
    line = {"rfilename": entry.path, "size": said["size"], "blobId": said["oid"]}
    if entry.lfs:
        line["lfs"] = {"sha256": said["sha256"], "size": said["size"], "pointerSize": len(entry.pointer)}
    return line


def info(repo: Repo, commit: Commit) -> Told:
    return {
        "_id": commit.id[:24],
        "id": repo.name,
        "modelId": repo.name,
        "author": repo.name.partition("/")[0],
        "sha": commit.id,
        "lastModified": commit.date,
        "createdAt": commit.date,
        "private": repo.private,
        "gated": "auto" if repo.gated else False,
        "disabled": repo.disabled,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "usedStorage": repo.used_storage,
        **repo.about,
    }


def expanded(description: Told, wanted: Collection[str]) -> Told:
    """What is left of a description when only some of its keys are asked for."""
    return {name: value for name, value in description.items() if name in {*wanted, "_id", "id", "sha"}}


def _header(message: str) -> str:
    """A message may name a file, and a file may be named anything."""
    return message.encode("ascii", "replace").decode().translate(dict.fromkeys((*range(32), 127), "?"))
