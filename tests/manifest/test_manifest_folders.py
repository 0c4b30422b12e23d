"""Promises of Manifest.from_folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infeed.errors import ManifestError
from infeed.manifest.manifest import Manifest


def fill(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def uris(manifest: Manifest) -> list[str]:
    return [manifest.uri(position) for position in range(len(manifest))]


def test_each_folder_is_a_class_and_all_below_it_belongs_to_it(tmp_path):
    fill(tmp_path, "b/z.jpg", "b/deep/er/y.PNG", "b/deep/a.jpeg", "a/x.JPG", "稻/w.avif")
    manifest = Manifest.from_folders(tmp_path)
    assert manifest.class_names == ("a", "b", "稻")
    assert uris(manifest) == ["a/x.JPG", "b/z.jpg", "b/deep/a.jpeg", "b/deep/er/y.PNG", "稻/w.avif"]
    assert manifest.labels.tolist() == [0, 1, 1, 1, 2]
    assert manifest.images == str(tmp_path)
    manifest.check_images()


def test_folders_are_sorted_as_text_like_in_keras(tmp_path):
    manifest = Manifest.from_folders(fill(tmp_path, "10/a.jpg", "9/b.jpg"))
    assert manifest.class_names == ("10", "9")


def test_hidden_names_and_other_files_are_left_out(tmp_path):
    fill(tmp_path, ".git/a.jpg", "a/.b.jpg", "a/.c/d.jpg", "a/notes.txt", "a/jpg", "top.jpg")
    manifest = Manifest.from_folders(fill(tmp_path, "a/e.jpg"))
    assert uris(manifest) == ["a/e.jpg"]
    assert manifest.class_names == ("a",)


def test_a_class_folder_without_images_is_a_class(tmp_path):
    (tmp_path / "none").mkdir()
    manifest = Manifest.from_folders(fill(tmp_path, "some/a.jpg"))
    assert manifest.class_names == ("none", "some")
    assert manifest.class_counts.tolist() == [0, 1]


def test_class_names_choose_folders_and_their_order(tmp_path):
    fill(tmp_path, "a/1.jpg", "b/2.jpg", "3/3.jpg")
    manifest = Manifest.from_folders(tmp_path, class_names=[3, "a"])
    assert manifest.class_names == ("3", "a")
    assert uris(manifest) == ["3/3.jpg", "a/1.jpg"]
    with pytest.raises(
        ManifestError, match=r"no folder for class 'dog'; folders are '3', 'a', 'b'"
    ):
        Manifest.from_folders(tmp_path, class_names=["a", "dog"])


def test_without_labels_every_image_counts(tmp_path):
    manifest = Manifest.from_folders(fill(tmp_path, "a/1.jpg", "0.jpg"), labelled=False)
    assert uris(manifest) == ["0.jpg", "a/1.jpg"]
    assert manifest.labels is None
    assert manifest.num_classes == 0
    with pytest.raises(ValueError, match="class_names were given for a manifest without labels"):
        Manifest.from_folders(tmp_path, labelled=False, class_names=["a"])


def test_extensions_can_be_chosen(tmp_path):
    fill(tmp_path, "a/1.jpg", "a/2.TXT")
    assert uris(Manifest.from_folders(tmp_path, extensions=["txt"])) == ["a/2.TXT"]
    with pytest.raises(TypeError, match="extensions must be a list"):
        Manifest.from_folders(tmp_path, extensions="txt")
    with pytest.raises(ValueError, match="extensions must name at least one"):
        Manifest.from_folders(tmp_path, extensions=[])


def test_what_holds_no_images_is_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"no class folders in it \(0 images"):
        Manifest.from_folders(tmp_path)
    fill(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(ManifestError, match=r"\(2 images directly in it\).*labelled=False"):
        Manifest.from_folders(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(ManifestError, match=r"no image in it; expected files that end in '\.jpg'"):
        Manifest.from_folders(tmp_path)
    with pytest.raises(ManifestError, match="there is no such folder"):
        Manifest.from_folders(tmp_path / "none")
    with pytest.raises(ManifestError, match=r"1\.jpg is a file; expected a folder"):
        Manifest.from_folders(tmp_path / "1.jpg")


def test_names_that_are_not_utf_8_are_kept(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xb5\xbe"
    Path(os.fsdecode(folder)).mkdir()
    Path(os.fsdecode(folder + b"/\xff.jpg")).touch()
    manifest = Manifest.from_folders(tmp_path)
    assert manifest.arena == b"\xb5\xbe/\xff.jpg"
    assert manifest.class_names == (b"\xb5\xbe".decode("utf-8", "surrogateescape"),)
    assert len(manifest.fingerprint()) == 32
    manifest.check_images()


def test_links_to_folders_below_a_class_are_followed_only_on_request(tmp_path):
    fill(tmp_path, "set/a/1.jpg", "other/2.jpg")
    (tmp_path / "set/a/link").symlink_to(tmp_path / "other")
    (tmp_path / "set/b").symlink_to(tmp_path / "other")
    assert uris(Manifest.from_folders(tmp_path / "set")) == ["a/1.jpg", "b/2.jpg"]
    followed = Manifest.from_folders(tmp_path / "set", follow_links=True)
    assert uris(followed) == ["a/1.jpg", "a/link/2.jpg", "b/2.jpg"]


def test_a_link_back_to_its_own_folder_ends(tmp_path):
    fill(tmp_path, "a/b/1.jpg")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    assert uris(Manifest.from_folders(tmp_path, follow_links=True)) == ["a/b/1.jpg"]


def test_a_broken_link_is_listed_so_that_its_reader_can_name_it(tmp_path):
    fill(tmp_path, "a/1.jpg")
    (tmp_path / "a/2.jpg").symlink_to("nowhere")
    manifest = Manifest.from_folders(tmp_path)
    with pytest.raises(ManifestError, match=r"1 images .*row 2: 'a/2\.jpg' does not exist"):
        manifest.check_images()


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_no_file_is_listed_without_being_touched(tmp_path, labelled):
    fill(tmp_path, "a/1.jpg")
    os.mkfifo(tmp_path / "a/2.jpg")
    os.mkfifo(tmp_path / "a/pipe")
    (tmp_path / "a/3.jpg").symlink_to("/dev/zero")
    (tmp_path / "a/4.jpg").symlink_to("4.jpg")
    (tmp_path / "a/5.jpg").symlink_to("6.jpg")
    (tmp_path / "a/6.jpg").symlink_to("5.jpg")
    manifest = Manifest.from_folders(tmp_path, labelled=labelled)
    assert uris(manifest) == [f"a/{number}.jpg" for number in range(1, 7)]
    with pytest.raises(ManifestError) as caught:
        manifest.check_images()
    assert "5 images cannot be found" in str(caught.value)
    assert "row 2: 'a/2.jpg' is not a regular file" in str(caught.value)
    assert "row 4: 'a/4.jpg' cannot be read (Too many levels" in str(caught.value)


def test_pipes_and_loops_beside_the_class_folders_are_no_classes(tmp_path):
    fill(tmp_path, "a/1.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert Manifest.from_folders(tmp_path).class_names == ("a",)


@pytest.mark.parametrize("target", [".", "..", "/", "../set/a/.."])
@pytest.mark.parametrize("follow_links", [True, False])
def test_a_class_that_is_a_link_to_what_holds_the_classes_is_refused(
    tmp_path, target, follow_links
):
    """Else every image would come again as one of that class, and a whole disk would be walked."""
    root = fill(tmp_path, "set/a/1.jpg") / "set"
    (root / "b\x1b[2J").symlink_to(target)
    with pytest.raises(ManifestError) as caught:
        Manifest.from_folders(root, follow_links=follow_links)
    assert r"the class folder 'b\x1b[2J' is a link to a folder that holds all class" in str(
        caught.value
    )
    with pytest.raises(ManifestError, match="is a link to a folder that holds all class folders"):
        Manifest.from_folders(root, class_names=["a", "b\x1b[2J"], follow_links=follow_links)
    assert uris(Manifest.from_folders(root, class_names=["a"])) == ["a/1.jpg"]


def test_a_link_below_a_class_to_what_holds_the_classes_is_not_followed(tmp_path):
    root = fill(tmp_path, "set/a/1.jpg", "set/b/2.jpg", "3.jpg") / "set"
    for number, target in enumerate(["..", "../..", "/"]):
        (root / f"a/up{number}").symlink_to(target)
    manifest = Manifest.from_folders(root, follow_links=True)
    assert uris(manifest) == ["a/1.jpg", "b/2.jpg"]


def test_folders_that_all_link_to_each_other_are_visited_once_in_each_class(tmp_path):
    """There are more than 10^25 ways through these, none of them in a circle."""
    for number in range(26):
        fill(tmp_path, f"a/{number}/{number}.jpg")
        for other in range(26):
            (tmp_path / f"a/{number}/to{other}").symlink_to(tmp_path / f"a/{other}")
    manifest = Manifest.from_folders(tmp_path, follow_links=True)
    assert sorted(uri.rpartition("/")[2] for uri in uris(manifest)) == sorted(
        f"{number}.jpg" for number in range(26)
    )


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\x1b[2J\n"])
def test_a_folder_that_cannot_be_is_refused_in_words_that_steer_nothing(tmp_path, name):
    with pytest.raises(ManifestError) as caught:
        Manifest.from_folders(f"{tmp_path}/{name}")
    assert str(caught.value).isprintable()
    with pytest.raises(ManifestError):
        Manifest.open(f"{tmp_path}/{name}")


def test_class_folders_are_told_apart_by_their_bytes(tmp_path):
    names = ["Rust", "rust", "rust ", "rust.", "é", "e\u0301", "..rust", "C:\\rust", "new\nline"]
    for name in names:
        fill(tmp_path, f"{name}/1.jpg")
    shown = [name for name in names if not name.startswith(".")]
    manifest = Manifest.from_folders(tmp_path)
    assert manifest.class_names == tuple(sorted(shown, key=str.encode))
    assert manifest.class_counts.tolist() == [1] * len(shown)
