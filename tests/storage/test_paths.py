"""Which names of a repository's files are kept under one folder: never one that leads out of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Failed
from app.storage.names import check_paths

PIECES = st.sampled_from(["..", ".", "", "/", "a", "b.bin", "..a", "\\", "~", "\0", "\ud800", "é", "n" * 256])


@given(st.lists(PIECES, min_size=1, max_size=5).map("/".join))
def test_a_path_is_refused_or_stays_below_its_folder(path: str) -> None:
    folder = Path("/storage/tree")
    refused = False
    try:
        check_paths([path])
    except Failed:
        refused = True
    if not refused:
        assert (folder / path).is_relative_to(folder)
        assert ".." not in (folder / path).parts
        assert (folder / path).as_posix() == f"{folder}/{path}"


@pytest.mark.parametrize(
    "paths", [["a", "a/b"], ["a/b/c", "a"], ["a/b", "a/b/c/d"], ["a", "a"], ["x" * 256], ["a/" * 500 + "b"]]
)
def test_names_that_can_not_all_be_kept_are_refused(paths: list[str]) -> None:
    with pytest.raises(Failed, match="repository"):
        check_paths(paths)


@pytest.mark.parametrize("paths", [["a", "A"], ["a/b", "a.b"], ["x" * 255], ["..."], ["a b", "a\\b", "é", "e\u0301"]])
def test_unusual_names_are_kept(paths: list[str]) -> None:
    check_paths(paths)
