"""What a bundle reader must refuse, and that it names the guilty file."""

from __future__ import annotations

import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
from bundles import detector_parts, write_detector

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import (
    BundleError,
    IntegrityError,
    ManifestError,
    OutputError,
    SchemaVersionError,
)
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle

FORMS = ["bundle.edge", "bundle"]


@pytest.fixture(params=FORMS, ids=["file", "directory"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_detector(tmp_path / request.param)


def members(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def put(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        for name, data in content.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def sealed(manifest: dict[str, object], content: dict[str, bytes]) -> dict[str, bytes]:
    """Content whose manifest is ``manifest``, with a digest that fits: what a careful attacker would make."""
    text = json.dumps(manifest).encode()
    return {**content, "manifest.json": text, "manifest.json.sha256": f"{sha256_hex(text)}  manifest.json\n".encode()}


def test_round_trip_gives_back_manifest_and_payload(bundle: Path) -> None:
    manifest, payload = detector_parts()
    with open_bundle(bundle) as opened:
        assert opened.manifest.variants == manifest.variants
        assert {name: opened.read(name) for name in payload} == payload
        assert opened.array("arrays/anchors.npy").shape == (16, 4)


def test_both_forms_of_one_bundle_have_one_digest(tmp_path: Path) -> None:
    digests = set()
    for form in FORMS:
        with open_bundle(write_detector(tmp_path / form)) as opened:
            digests.add(opened.digest)
    assert len(digests) == 1


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = write_detector(tmp_path / "a.edge"), write_detector(tmp_path / "b.edge")
    assert first.read_bytes() == second.read_bytes()


def test_one_changed_byte_in_any_file_is_found_and_named(bundle: Path) -> None:
    original = members(bundle)
    assert len(original) == 5
    for name, data in original.items():
        for position in (0, len(data) // 2, len(data) - 1):
            changed = bytearray(data)
            changed[position] ^= 0x01
            put(bundle, {**original, name: bytes(changed)})
            with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
                open_bundle(bundle)


def test_one_changed_byte_in_place_in_the_file_is_found(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "x.edge")
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        starts = {i.filename: data.index(archive.read(i.filename), i.header_offset) for i in archive.infolist()}
    for name, start in starts.items():
        changed = bytearray(data)
        changed[start + 3] ^= 0x80
        path.write_bytes(changed)
        with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
            open_bundle(path)


@pytest.mark.parametrize("where", ["before", "after", "between"])
def test_bytes_that_belong_to_no_file_are_refused(tmp_path: Path, where: str) -> None:
    path = write_detector(tmp_path / "x.edge")
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    cut = {"before": 0, "after": len(data), "between": start}[where]
    path.write_bytes(data[:cut] + b"x" + data[cut:])
    with pytest.raises(IntegrityError, match="altered"):
        open_bundle(path)


@pytest.mark.parametrize("keep", [0, 10, 200, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = write_detector(tmp_path / "x.edge")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 or keep == 0 else keep * len(data))])
    with pytest.raises(BundleError, match=r"x\.edge"):
        open_bundle(path)


def test_a_missing_and_a_foreign_file_are_refused(bundle: Path) -> None:
    original = members(bundle)
    put(bundle, {k: v for k, v in original.items() if k != "arrays/anchors.npy"})
    with pytest.raises(IntegrityError, match="anchors.npy is missing"):
        open_bundle(bundle)
    put(bundle, {**original, "models/extra.onnx": b"x"})
    with pytest.raises(IntegrityError, match="extra.onnx is not declared"):
        open_bundle(bundle)


def test_a_file_longer_than_declared_is_refused(bundle: Path) -> None:
    original = members(bundle)
    put(bundle, {**original, "golden.npz": original["golden.npz"] + b"\0"})
    with pytest.raises(IntegrityError, match="golden.npz"):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\evil", "./evil", "a//evil", "ev\x00il"])
def test_paths_that_leave_the_bundle_are_refused(tmp_path: Path, name: str) -> None:
    path = write_detector(tmp_path / "x.edge")
    content = members(path)
    manifest = json.loads(content["manifest.json"])
    manifest["files"].append({"path": name, "bytes": 1, "sha256": sha256_hex(b"x")})
    put(path, sealed(manifest, content))
    with pytest.raises(ManifestError, match="file path|printable"):
        open_bundle(path)
    manifest["files"].pop()
    put(path, {**sealed(manifest, content), name: b"x"})
    with pytest.raises(IntegrityError):
        open_bundle(path)


def test_links_are_refused_in_a_directory(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "d")
    model = path / "models/float32.onnx"
    outside = tmp_path / "outside.onnx"
    shutil.copy(model, outside)
    model.unlink()
    model.symlink_to(outside)
    with pytest.raises(IntegrityError, match="link or a special file"):
        open_bundle(path)


def test_special_files_are_refused(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "d")
    os.mkfifo(path / "pipe")
    with pytest.raises(IntegrityError, match="pipe"):
        open_bundle(path)
    with pytest.raises(BundleError, match="neither"):
        open_bundle(path / "pipe")


def test_links_are_refused_in_a_file(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "x.edge")
    content = members(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16 if name == "golden.npz" else 0
            archive.writestr(info, data)
    with pytest.raises(IntegrityError, match=r"golden\.npz is a link"):
        open_bundle(path)


def test_compressed_members_are_refused_so_no_bomb_is_unpacked(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "x.edge")
    content = members(path)
    put(path, {**content, "golden.npz": b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(IntegrityError, match="compressed"):
        open_bundle(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_members_are_refused(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "x.edge")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("golden.npz", b"second")
    with pytest.raises(IntegrityError, match=r"golden\.npz is there twice"):
        open_bundle(path)


def test_a_manifest_with_very_many_files_is_refused_at_once(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "x.edge")
    content = members(path)
    manifest = json.loads(content["manifest.json"])
    manifest["files"] = [{"path": f"f{i}", "bytes": 1, "sha256": "0" * 64} for i in range(20_000)]
    put(path, sealed(manifest, content))
    with pytest.raises(ManifestError, match="lists 20000 files"):
        open_bundle(path)


def test_a_newer_major_is_refused_with_what_reads_it(bundle: Path) -> None:
    content = members(bundle)
    manifest = json.loads(content["manifest.json"])
    manifest["schema_major"] = 2
    manifest["variants"] = "something this version cannot know"
    put(bundle, sealed(manifest, content))
    with pytest.raises(SchemaVersionError, match=r"schema 2\.1.*reads 1\.x.*pip install --upgrade edgewright"):
        open_bundle(bundle)


def test_unknown_fields_of_a_newer_minor_survive_a_rewrite(bundle: Path, tmp_path: Path) -> None:
    content = members(bundle)
    manifest = json.loads(content["manifest.json"])
    manifest["schema_minor"] = 7
    manifest["colour_of_the_bikeshed"] = {"a": [1, 2]}
    manifest["variants"][0]["sparsity"] = 0.5
    manifest["decode"]["soft_nms"] = True
    put(bundle, sealed(manifest, content))
    with open_bundle(bundle) as opened:
        payload = {entry.path: opened.read(entry.path) for entry in opened.manifest.files}
        write_bundle(tmp_path / "again.edge", opened.manifest, payload)
    assert json.loads(members(tmp_path / "again.edge")["manifest.json"]) == manifest


def test_a_file_swapped_after_opening_is_not_handed_out(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "d")
    with open_bundle(path) as opened:
        (path / "models/float32.onnx").write_bytes(b"other")
        with pytest.raises(IntegrityError, match=r"float32\.onnx was altered"):
            opened.read("models/float32.onnx")
        with pytest.raises(IntegrityError, match="declares no file"):
            opened.read("models/unheard-of.onnx")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "No such file"),
        (lambda p: p.write_bytes(b""), "not an .edge file"),
        (lambda p: p.write_bytes(b"PK\x03\x04" + b"\xff" * 500), "not an .edge file"),
        (lambda p: p.mkdir(), "no manifest.json"),
    ],
    ids=["nothing", "empty", "noise", "empty folder"],
)
def test_what_is_no_bundle_says_so(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "x.edge"
    make(path)  # type: ignore[operator]
    with pytest.raises(BundleError, match=message):
        open_bundle(path)


def test_a_failed_write_leaves_the_old_bundle(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "x.edge")
    before = path.read_bytes()
    manifest, payload = detector_parts()
    with pytest.raises(ManifestError, match="size or sha256"):
        write_bundle(path, manifest, {**payload, "models/float32.onnx": b"other"})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.edge"]


@pytest.mark.parametrize("name", ["x.edge", "x"])
def test_where_no_file_can_be_made_there_is_one_error(name: str) -> None:
    manifest, payload = detector_parts()
    with pytest.raises(OutputError, match="cannot write"):
        write_bundle(Path("/proc/self") / name, manifest, payload)


def test_writing_over_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    keep = tmp_path / "photos"
    keep.mkdir()
    (keep / "a.jpg").write_bytes(b"x")
    manifest, payload = detector_parts()
    with pytest.raises(OutputError, match="not a bundle"):
        write_bundle(keep, manifest, payload)
    assert (keep / "a.jpg").read_bytes() == b"x"
    (tmp_path / "dir.edge").mkdir()
    with pytest.raises(OutputError, match="directory of that name"):
        write_bundle(tmp_path / "dir.edge", manifest, payload)


def test_a_bundle_directory_is_replaced_whole(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "d", frames=1)
    write_detector(path, frames=2)
    with open_bundle(path) as opened:
        assert opened.manifest.golden is not None
        assert opened.manifest.golden.count == 2
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
