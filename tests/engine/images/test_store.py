"""Finding, tagging and removing images."""

from __future__ import annotations

import io

import pytest

from engine.errors import Busy, Corrupt, InvalidRequest, NotFound
from engine.images.spec import Image, ImageConfig
from tests.engine.images.archives import config, digest, docker_save, tar
from tests.engine.images.conftest import Store

BASE, TOP = tar({"a": b"base"}), tar({"b": b"top"})


@pytest.fixture
def image(store: Store) -> Image:
    (image,) = store.images.load(io.BytesIO(tar(docker_save([BASE], "app:1"))))
    return image


@pytest.fixture
def other(store: Store, image: Image) -> Image:
    (other,) = store.images.load(io.BytesIO(tar(docker_save([BASE, TOP], "other"))))
    return other


def test_an_image_is_found_by_tag_id_and_prefix(store: Store, image: Image) -> None:
    digits = image.id.removeprefix("sha256:")
    for ref in ("app:1", image.id, digits, digits[:4], image.short_id, f"sha256:{digits[:10]}"):
        assert store.images.get(ref) == image


@pytest.mark.parametrize("ref", ["app", "app:2", "ffffffffffff", "sha256:" + "0" * 64, "abc"])
def test_an_unknown_image_is_not_found(store: Store, image: Image, ref: str) -> None:
    with pytest.raises(NotFound):
        store.images.get(ref)


@pytest.mark.parametrize("ref", ["", "../x", "A B", "%", "sha256:", "a\0b", "x" * 300])
def test_a_malformed_reference_is_refused(store: Store, image: Image, ref: str) -> None:
    with pytest.raises(InvalidRequest):
        store.images.get(ref)


def test_a_prefix_of_two_images_is_refused(store: Store) -> None:
    with store.database.transaction() as connection:
        for end in "ab":
            connection.execute("INSERT INTO images VALUES (?, '{}', 'amd64', 0)", (f"sha256:{'c' * 63}{end}",))
    with pytest.raises(InvalidRequest, match="several images"):
        store.images.get("cccc")


def test_a_tag_wins_over_an_id_prefix(store: Store, image: Image, other: Image) -> None:
    name = image.short_id
    store.images.tag(other.id, name)
    assert store.images.get(name).id == other.id


def test_the_newest_image_comes_first(store: Store, image: Image, other: Image) -> None:
    assert [found.id for found in store.images.list()] == [other.id, image.id]


def test_a_tag_moves_to_the_image_that_takes_it(store: Store, image: Image, other: Image) -> None:
    assert store.images.tag("other", "app:1").tags == ("app:1", "other:latest")
    assert store.images.get(image.id).tags == ()
    assert store.events[-1] == ("image", "tag", other.id, "app:1")


def test_removing_one_of_two_tags_keeps_the_image(store: Store, image: Image) -> None:
    store.images.tag("app:1", "app:2")
    store.images.remove("app:1")
    assert store.images.get(image.id).tags == ("app:2",)
    assert store.events[-1] == ("image", "untag", image.id, "app:1")


def test_removing_the_last_tag_removes_image_and_layers(store: Store, image: Image) -> None:
    store.images.remove("app:1")
    assert store.images.list() == []
    assert store.layers() == set()
    assert store.events[-1] == ("image", "remove", image.id, "app:1")


def test_layers_of_other_images_stay(store: Store, image: Image, other: Image) -> None:
    store.images.remove("other")
    assert store.layers() == {digest(BASE)}
    store.images.remove("app:1")
    assert store.layers() == set()


def test_removing_by_id_needs_force_with_several_tags(store: Store, image: Image) -> None:
    store.images.tag("app:1", "app:2")
    with pytest.raises(Busy, match="2 tags: app:1, app:2"):
        store.images.remove(image.id)
    store.images.remove(image.short_id, force=True)
    assert store.images.list() == []


@pytest.mark.parametrize("force", [False, True])
def test_an_image_in_use_is_busy_and_names_its_users(store: Store, image: Image, force: bool) -> None:
    store.add_container("web", image.id)
    store.add_container("db", image.id)
    with pytest.raises(Busy, match="used by db, web"):
        store.images.remove("app:1", force=force)
    assert store.images.get("app:1").used_by == 2


def test_layers_are_kept_while_somebody_loads_and_go_at_its_end(store: Store, image: Image) -> None:
    with store.images._layers.loading():
        store.images.remove("app:1")
        assert store.layers() == {digest(BASE)}
    assert store.layers() == set()


def test_what_was_left_half_loaded_goes_when_nobody_loads(store: Store) -> None:
    left = store.paths.tmp / ("layer-" + "ab" * 32)
    (left / "tree" / "etc").mkdir(parents=True)
    with store.images._layers.loading():
        store.images.tidy()
        assert left.exists(), "somebody may be at it"
    assert not left.exists()


def test_a_damaged_record_breaks_one_image_only(store: Store, image: Image, other: Image) -> None:
    with store.database.transaction() as connection:
        connection.execute("UPDATE images SET config = '{' WHERE id = ?", (image.id,))
    assert [found.config.cmd for found in store.images.list()] == [("/bin/sh",), ()]
    with pytest.raises(Corrupt, match="damaged"):
        store.images.get("app:1")
    store.images.remove("app:1")
    assert [found.id for found in store.images.list()] == [other.id]


def test_images_made_here_have_a_stable_id(store: Store) -> None:
    settings = ImageConfig(cmd=("a",), env=("B=c",))
    one = store.images.load_rootfs(io.BytesIO(BASE), "made", settings)
    two = store.images.load_rootfs(io.BytesIO(BASE), "made", settings)
    assert one == two
    assert (one.config.cmd, one.config.env) == (("a",), ("B=c",))
    assert one.id != digest(config([BASE]))
