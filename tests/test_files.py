"""Files are there whole or not at all, with the permissions that the umask says;
digests are the known ones.
"""

import os

import pytest

from codemix.files import digest, file_digest, replacing, text_digest, write_whole


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_whole(path, "old")
    with pytest.raises(RuntimeError):
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError
    assert path.read_text() == "old" and os.listdir(path.parent) == ["a.txt"]
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_permissions_are_what_the_umask_says(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_digests(tmp_path):
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (tmp_path / "empty").touch()
    assert file_digest(tmp_path / "empty") == text_digest("") == empty
    assert digest({"b": 1, "a": "é"}) == text_digest('{"a":"é","b":1}')
    assert text_digest("\ud800") != text_digest("?")  # half of a surrogate pair counts as it is
