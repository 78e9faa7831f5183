from __future__ import annotations

import hashlib
import json
import os
import random
import shutil

import pytest

from mmp.errors import ArtifactError
from mmp.modeling.state import to_json
from mmp.tracking import manifest

FORMATS = {".json": "json", ".ubj": "ubj", "": "yaml"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "estimator").mkdir(parents=True)
    (folder / "bundle.json").write_bytes(b'{"a":1}')
    (folder / "MLmodel").write_bytes(b"")
    (folder / "estimator" / "model.ubj").write_bytes(bytes(range(256)) * 20)
    manifest.seal(folder, {"run_id": "r"}, FORMATS)
    return folder


@pytest.fixture
def copied(tmp_path):
    def copied(folder, **options):
        private = tmp_path / f"private{len(list(tmp_path.iterdir()))}"
        private.mkdir()
        return manifest.verified_copy(folder, private, **options), private

    return copied


def test_what_is_sealed_is_copied_whole(folder, copied):
    read, private = copied(folder)
    assert sorted(read.files) == ["MLmodel", "bundle.json", "estimator/model.ubj"]
    assert read.facts == {"run_id": "r"}
    assert read.files["estimator/model.ubj"].format == "ubj"
    for path, entry in read.files.items():
        assert (private / path).read_bytes() == (folder / path).read_bytes()
        assert (private / path).stat().st_size == entry.size
    assert not (private / manifest.NAME).exists()


def test_sealing_twice_gives_the_same_bytes_and_the_digest_of_the_file(folder):
    first = (folder / manifest.NAME).read_bytes()
    (folder / manifest.NAME).unlink()
    digest = manifest.seal(folder, {"run_id": "r"}, FORMATS)
    assert (folder / manifest.NAME).read_bytes() == first
    assert digest == hashlib.sha256(first).hexdigest()


def _add(folder):
    (folder / "estimator" / "more.ubj").write_bytes(b"x")


def _add_folder(folder):
    (folder / "code").mkdir()
    (folder / "code" / "model.py").write_text("import os")


def _remove(folder):
    (folder / "bundle.json").unlink()


def _remove_manifest(folder):
    (folder / manifest.NAME).unlink()


def _empty(folder):
    (folder / "bundle.json").write_bytes(b"")


def _grow(folder):
    with (folder / "bundle.json").open("ab") as file:
        file.write(b" ")


def _rename(folder):
    (folder / "bundle.json").rename(folder / "Bundle.json")


def _swap(folder):
    (folder / "MLmodel").rename(folder / "x")
    (folder / "bundle.json").rename(folder / "MLmodel")
    (folder / "x").rename(folder / "bundle.json")


def _link(folder):
    (folder / "bundle.json").rename(folder.parent / "elsewhere.json")
    (folder / "bundle.json").symlink_to(folder.parent / "elsewhere.json")


def _link_folder(folder):
    (folder / "estimator").rename(folder.parent / "elsewhere")
    (folder / "estimator").symlink_to(folder.parent / "elsewhere")


def _link_manifest(folder):
    (folder / manifest.NAME).rename(folder.parent / "m.json")
    (folder / manifest.NAME).symlink_to(folder.parent / "m.json")


def _pipe(folder):
    (folder / "bundle.json").unlink()
    os.mkfifo(folder / "bundle.json")


def _pipe_for_manifest(folder):
    (folder / manifest.NAME).unlink()
    os.mkfifo(folder / manifest.NAME)


def _folder_for_file(folder):
    (folder / "bundle.json").unlink()
    (folder / "bundle.json").mkdir()


def _deep(folder):
    (folder / "/".join("abcdefgh")).mkdir(parents=True)


def _huge_manifest(folder):
    with (folder / manifest.NAME).open("ab") as file:
        file.truncate(1 << 30)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_add, "'estimator/more.ubj' is not one of its own"),
        (_add_folder, "'code/model.py' is not one of its own"),
        (_remove, "'bundle.json' is missing"),
        (_remove_manifest, "'mmp_manifest.json' cannot be opened"),
        (_empty, "'bundle.json' has 0 bytes instead of 7"),
        (_grow, "'bundle.json' has 8 bytes instead of 7"),
        (_rename, "'bundle.json' is missing"),
        (_swap, "'MLmodel' has 7 bytes instead of 0"),
        (_link, "'bundle.json' is a link"),
        (_link_folder, "'estimator' is a link"),
        (_link_manifest, "'mmp_manifest.json' cannot be opened"),
        (_pipe, "'bundle.json' is a link, a device"),
        (_pipe_for_manifest, "'mmp_manifest.json' is no plain file"),
        (_folder_for_file, "'bundle.json' is missing"),
        (_deep, "'a/b/c/d/e' is a link, a device or too deep"),
        (_huge_manifest, "larger than a manifest can be"),
    ],
)
def test_a_folder_that_is_not_as_written_is_refused(folder, copied, damage, message):
    damage(folder)
    with pytest.raises(ArtifactError, match=message) as caught:
        copied(folder)
    assert caught.value.hint


def test_no_folder_is_told_apart_from_a_damaged_one(tmp_path, copied):
    with pytest.raises(ArtifactError, match="There is no model folder"):
        copied(tmp_path / "nowhere")


def test_mlflows_own_note_beside_a_registered_model_is_left_alone(folder, copied):
    (folder / "registered_model_meta").write_text("model_name: x\n")
    _, private = copied(folder)
    assert not (private / "registered_model_meta").exists()


def test_every_bit_of_the_manifest_counts(folder):
    good = (folder / manifest.NAME).read_bytes()
    rng = random.Random(1)
    for _ in range(2000):
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        with pytest.raises(ArtifactError):
            manifest.Manifest.from_bytes(bytes(bad))
    for length in range(len(good)):
        with pytest.raises(ArtifactError):
            manifest.Manifest.from_bytes(good[:length])


def _rewritten(folder, change):
    content = json.loads((folder / manifest.NAME).read_bytes())
    del content["checksum"]
    change(content)
    content["checksum"] = hashlib.sha256(to_json(content)).hexdigest()
    (folder / manifest.NAME).write_bytes(to_json(content))


def _entry(**fields):
    return {"size": 7, "sha256": "0" * 64, "format": "json"} | fields


@pytest.mark.parametrize(
    "files",
    [
        {},
        [],
        None,
        {"../outside.json": _entry()},
        {"/etc/passwd": _entry()},
        {"a/../../b.json": _entry()},
        {"a//b.json": _entry()},
        {"a\\b.json": _entry()},
        {"": _entry()},
        {".": _entry()},
        {"bundle.json": _entry(size=-1)},
        {"bundle.json": _entry(size=2**63)},
        {"bundle.json": _entry(size=7.0)},
        {"bundle.json": _entry(size=True)},
        {"bundle.json": _entry(sha256="0" * 63)},
        {"bundle.json": _entry(sha256=None)},
        {"bundle.json": _entry(format=1)},
        {"bundle.json": _entry(more=1)},
        {"bundle.json": 7},
        {f"f{number}.json": _entry() for number in range(1001)},
    ],
)
def test_a_manifest_that_a_stranger_wrote_leads_nowhere(folder, copied, files):
    _rewritten(folder, lambda content: content.update(files=files))
    with pytest.raises(ArtifactError, match="The model is damaged: its manifest"):
        copied(folder)


@pytest.mark.parametrize("change", [{"facts": []}, {"more": 1}, {"format": True}])
def test_other_parts_are_refused(folder, copied, change):
    _rewritten(folder, lambda content: content.update(change))
    with pytest.raises(ArtifactError, match="manifest"):
        copied(folder)


def test_another_format_asks_for_another_version(folder, copied):
    _rewritten(folder, lambda content: content.update(format=2))
    with pytest.raises(ArtifactError, match="format 2; this version of mmp reads 1"):
        copied(folder)


def test_a_consistent_rewrite_is_found_by_the_digest_that_the_run_keeps(folder, copied):
    digest = hashlib.sha256((folder / manifest.NAME).read_bytes()).hexdigest()
    copied(folder, expected_digest=digest)
    (folder / "bundle.json").write_bytes(b'{"a":2}')
    (folder / manifest.NAME).unlink()
    manifest.seal(folder, {"run_id": "r"}, FORMATS)
    copied(folder)
    with pytest.raises(ArtifactError, match="not the one that the run recorded"):
        copied(folder, expected_digest=digest)


def test_what_changes_after_the_copy_changes_nothing(folder, copied):
    _, private = copied(folder)
    shutil.rmtree(folder)
    assert (private / "bundle.json").read_bytes() == b'{"a":1}'
