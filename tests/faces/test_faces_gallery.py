"""The gallery file: enrol, forget, what is said of doubles, damage, two writers at once."""

import fcntl
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open

from sightline.core.errors import InputError
from sightline.faces import gallery as module
from sightline.faces.gallery import Gallery, enrol_in, forget_in, identify, load_gallery, save_gallery
from sightline.faces.neighbours import unit

DIMENSIONS, K, THRESHOLD = 16, 5, 0.6


def photos(person: int, count: int = 3, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of one person: near one of 16 directions that are at right angles."""
    noise = np.random.default_rng((seed, person)).normal(0, 0.1, (count, DIMENSIONS))
    return unit(np.eye(DIMENSIONS)[person] + noise)


def digests(prefix: str, count: int = 3) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def enrol(
    path: Path, name: str, vectors: NDArray[np.float32], codes: list[str], describer: str = "network"
) -> list[str]:
    """Into a file that is there or, if need be, into a new one."""
    titles = [f"{number}.jpg" for number, _ in enumerate(codes, 1)]
    return enrol_in(path, name, vectors, codes, titles, describer, K, THRESHOLD, is_new=not path.exists())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A gallery file with Ann and Ben."""
    path = tmp_path / "gallery.safetensors"
    assert enrol(path, "ann", photos(0), digests("a")) == []
    assert enrol(path, "ben", photos(1), digests("b")) == []
    return path


def test_what_was_enrolled_is_read_back_and_named(path: Path) -> None:
    gallery = load_gallery(path)
    assert gallery.people == ("ann", "ben")
    np.testing.assert_array_equal(gallery.vectors, np.concatenate([photos(0), photos(1)]))
    assert gallery.digests == (*digests("a"), *digests("b"))
    faces = np.concatenate([photos(1, 1, seed=9), photos(7, 1, seed=9)])
    names, similarity = identify(gallery, faces, K, THRESHOLD)
    assert names == ["ben", None]
    assert similarity[0] > THRESHOLD > similarity[1]


def test_the_threshold_itself_is_accepted() -> None:
    gallery = Gallery(np.eye(2, dtype=np.float32), ("ann", "ben"), ("1", "2"), "")
    query = np.array([[0.6, 0.8]], np.float32)
    _, similarity = identify(gallery, query, K, 0)
    assert identify(gallery, query, K, float(similarity[0]))[0] == ["ben"]
    assert identify(gallery, query, K, float(np.nextafter(similarity[0], 1)))[0] == [None]


def test_nobody_is_known_to_an_empty_gallery() -> None:
    names, similarity = identify(Gallery.empty(DIMENSIONS, ""), photos(0), K, THRESHOLD)
    assert names == [None] * 3
    assert (similarity == -1).all()


def test_equal_galleries_are_equal_bytes(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    save_gallery(copy, load_gallery(path))
    assert copy.read_bytes() == path.read_bytes()


def test_a_person_who_is_there_gets_further_photos(path: Path) -> None:
    assert enrol(path, " ann ", photos(0, 2, seed=5), digests("a2", 2)) == []
    gallery = load_gallery(path)
    assert gallery.names.count("ann") == 5
    assert gallery.people == ("ann", "ben")


def test_a_photo_twice_is_said_and_not_added_again(path: Path) -> None:
    before = load_gallery(path)
    (said,) = enrol(path, "ann", photos(0)[:1], digests("a", 1))
    assert said == "1.jpg is enrolled as ann already: not added again"
    assert load_gallery(path).names == before.names
    twice = np.repeat(photos(2, 1), 2, 0)
    (said,) = enrol(path, "eve", twice, ["e", "e"])
    assert said == "2.jpg is enrolled as eve already: not added again"
    assert load_gallery(path).names.count("eve") == 1


def test_one_person_under_two_names_is_warned_of_with_the_similarity(path: Path) -> None:
    said = enrol(path, "annabel", photos(0, 3, seed=4), digests("x"))
    assert len(said) == 1
    assert "ann and annabel look like one person under two names (similarity 0.8" in said[0]
    assert load_gallery(path).people == ("ann", "annabel", "ben")
    said = enrol(path, "zoe", photos(1)[:1], digests("b", 1))
    assert said[0] == "1.jpg, now enrolled as zoe, is also enrolled as ben"
    assert "ben and zoe look like one person" in said[1]


def gallery_of(*people: NDArray[np.float32]) -> Gallery:
    names = [str(number) for number, own in enumerate(people) for _ in own]
    return Gallery(np.concatenate(people), tuple(names), tuple(digests("p", len(names))), "network")


def turned(degrees: float, axis: int, spread: float) -> NDArray[np.float32]:
    """Four photos, each ``spread`` degrees from a direction in the plane of axes 0 and 1, along axes of their own."""
    middle = np.cos(np.radians(degrees)) * np.eye(DIMENSIONS)[0] + np.sin(np.radians(degrees)) * np.eye(DIMENSIONS)[1]
    ways = np.eye(DIMENSIONS)[axis : axis + 4]
    return unit(np.cos(np.radians(spread)) * middle + np.sin(np.radians(spread)) * ways)


def test_siblings_who_pass_for_each_other_are_not_one_person() -> None:
    # Photos of one person have the cosine cos²(10°) = 0.97, of two siblings 0.97 cos(40°) = 0.74: above the threshold.
    # Where photos of one person differ as much, cos²(30°) = 0.75 or cos²(35°) = 0.67, sets 5° apart are one person's.
    siblings = gallery_of(turned(0, 2, 10), turned(40, 6, 10), turned(90, 10, 10))
    assert siblings.doubles(K, 0.7) == []
    one = gallery_of(turned(0, 2, 30), turned(5, 6, 30), turned(90, 10, 35))
    (said,) = one.doubles(K, 0.7)
    assert "0 and 1 look like one person under two names (similarity 0.75)" in said
    assert one.doubles(K, 0.7, "1") == [said]


def test_who_is_not_known_again_is_not_taken_for_another() -> None:
    # The first two have one photo each, the same; of all others no two of a person reach the threshold.
    twins, others = [turned(0, 2, 40)[:1]] * 2, [turned(90, 6, 40), turned(60, 10, 40)]
    assert gallery_of(*twins, *others).doubles(K, 0.9) == []
    assert len(gallery_of(*twins, turned(90, 6, 10), turned(60, 10, 10)).doubles(K, 0.9)) == 1


def test_forgetting_leaves_nothing_of_a_person_in_the_file_or_beside_it(path: Path) -> None:
    vectors = photos(1)
    assert vectors[0].tobytes() in path.read_bytes()
    forget_in(path, "ben")
    for file in path.parent.iterdir():
        content = file.read_bytes()
        assert not any(vector.tobytes() in content for vector in vectors)
        assert b"ben" not in content
        assert b"b-0" not in content
    assert load_gallery(path).people == ("ann",)
    assert identify(load_gallery(path), vectors, K, THRESHOLD)[0] == [None] * 3
    forget_in(path, "ann")
    assert len(load_gallery(path)) == 0
    assert enrol(path, "ben", vectors, digests("b")) == []


def test_forgetting_a_stranger_is_one_line_that_names_who_is_there(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(InputError, match="nobody called 'eve' is enrolled; there are ann, ben"):
        forget_in(path, "eve")
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="no such gallery"):
        forget_in(path.with_name("other.safetensors"), "ann")
    assert not path.with_name("other.safetensors").exists()


@pytest.mark.parametrize("harm", ["cut", "flip", "rename", "empty", "text"])
def test_a_damaged_file_is_told_and_left_as_it_is(path: Path, harm: str) -> None:
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 1
    damaged = {
        "cut": content[:-20],
        "flip": bytes(flipped),
        "rename": content.replace(b"ann", b"eve"),
        "empty": b"",
        "text": b"no gallery at all",
    }[harm]
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="is damaged and was left as it is"):
        load_gallery(path)
    with pytest.raises(InputError, match="is damaged"):
        enrol(path, "eve", photos(3), digests("e"))
    with pytest.raises(InputError, match="is damaged"):
        forget_in(path, "ann")
    assert path.read_bytes() == damaged


def test_a_failing_enrolment_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(InputError, match="do not fit"):
        enrol(path, "eve", np.eye(3, dtype=np.float32), digests("e"))
    with pytest.raises(InputError, match="no photo"):
        enrol(path, "eve", np.empty((0, DIMENSIONS), np.float32), [])
    with pytest.raises(InputError, match="unit length"):
        enrol(path, "eve", np.zeros((1, DIMENSIONS), np.float32), ["e"])
    with pytest.raises(InputError, match="another network"):
        enrol(path, "eve", photos(3), digests("e"), "other")
    for name in ("", "  ", "a\nb"):
        with pytest.raises(InputError, match="is no name"):
            enrol(path, name, photos(3), digests("e"))
    assert path.read_bytes() == before


def test_accents_may_be_coded_either_way(path: Path) -> None:
    enrol(path, "Jose\u0301", photos(4), digests("j"))
    forget_in(path, "Jos\u00e9")
    assert load_gallery(path).people == ("ann", "ben")


def test_writers_at_once_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "gallery.safetensors"
    save_gallery(path, Gallery.empty(DIMENSIONS, "network"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: enrol(path, f"person {n}", photos(n), digests(str(n))), range(16)))
    gallery = load_gallery(path)
    assert len(gallery.people) == 16
    assert len(gallery) == 48


@pytest.mark.parametrize("is_new", [True, False])
def test_a_file_is_made_on_an_explicit_wish_alone(path: Path, tmp_path: Path, is_new: bool) -> None:
    """A name that was mistyped neither makes a gallery nor adds to the wrong one."""
    named = path if is_new else tmp_path / "new" / "mistyped.safetensors"
    before = path.read_bytes()
    with pytest.raises(InputError, match="is there already" if is_new else r"mistyped.*no such gallery"):
        enrol_in(named, "eve", photos(3), digests("e"), digests("e"), "network", K, THRESHOLD, is_new=is_new)
    assert path.read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_a_gallery_that_another_process_holds_is_not_waited_for_without_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    lock = path.with_name(f".{path.name}.lock")
    before = path.read_bytes()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for attempt in (lambda: enrol(path, "eve", photos(3), digests("e")), lambda: forget_in(path, "ann")):
            with pytest.raises(InputError, match="is being changed by another process") as error:
                attempt()
            assert str(path) in str(error.value)
            assert str(lock) in str(error.value)
    assert path.read_bytes() == before
    forget_in(path, "ann")
    assert load_gallery(path).people == ("ben",)


def test_any_reader_of_safetensors_understands_the_file(path: Path) -> None:
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["gallery"])
        assert file.get_tensor("vectors").shape == (6, DIMENSIONS)
    assert about["names"] == ["ann"] * 3 + ["ben"] * 3


def test_behind_a_link_the_file_itself_is_changed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    forget_in(link, "ann")
    assert link.is_symlink()
    assert load_gallery(path).people == ("ben",)


def test_who_may_read_the_file_stays_as_it_was(path: Path) -> None:
    path.chmod(0o600)
    forget_in(path, "ann")
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_writer_left_is_gone_after_forgetting(path: Path) -> None:
    left = path.with_name(f".{path.stem}.1a2b3c4d.part{path.suffix}")
    left.write_bytes(path.read_bytes())
    other = path.with_name(".other.1a2b3c4d.part.safetensors")
    other.write_bytes(b"another file's")
    forget_in(path, "ann")
    assert not left.exists()
    assert other.exists()


def test_a_large_gallery_is_read_by_its_rounded_copy_and_answers_as_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    vectors = unit(rng.standard_normal((600, 8)))
    names = tuple(f"p{number // 3}" for number in range(600))
    faces = unit(vectors[:5] + 0.1 * rng.standard_normal((5, 8)))
    plain = Gallery(vectors, names, names, "test")
    assert plain.rough is None
    expected = identify(plain, faces, 5, 0.5)
    monkeypatch.setattr("sightline.faces.gallery.MANY", vectors.size - 100)
    large = Gallery(vectors, names, names, "test")
    assert large.rough is not None
    found = identify(large, faces, 5, 0.5)
    assert found[0] == expected[0] == ["p0", "p0", "p0", "p1", "p1"]
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
    # Nobody who is taken out is left in the copy.
    without = large.forget("p0")
    assert without.rough is not None
    assert len(without.rough.codes) == len(without) == 597
    assert "p0" not in identify(without, faces, 5, -1)[0]
