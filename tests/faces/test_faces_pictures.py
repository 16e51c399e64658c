"""Result pictures: colours, words that stay inside and can be read, crowds, odd sizes."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.core.images import read_image
from sightline.faces.params import EMOTIONS
from sightline.faces.pictures import GREEN, GREY, LARGEST_PICTURE, RED, Mark, draw, marks_of, picture_names, write_jpeg
from sightline.faces.predictor import Face


def plain(height: int, width: int, tone: int = 128) -> NDArray[np.uint8]:
    return np.full((height, width, 3), tone, np.uint8)


def plates(photo: NDArray[np.uint8], marks: list[Mark]) -> list[list[int]]:
    """Left, top, right and bottom of what words add to a picture that has the boxes without them."""
    boxes_alone = draw(photo, [replace(mark, lines=()) for mark in marks])
    is_plate = (draw(photo, marks) != boxes_alone).any(2).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(is_plate)
    return [[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:].tolist()]


def face(name: str | None) -> Face:
    shares = dict.fromkeys(EMOTIONS, 0.05) | {"sadness": 0.7}
    return Face((10.0, 20.0, 90.0, 120.0), ((0.0, 0.0),) * 5, 0.99, name, 0.8, shares)


def test_known_is_green_and_unknown_is_grey_and_the_emotion_stands_below() -> None:
    known, unknown = marks_of([face("Zoë"), face(None)])
    assert (known.colour, known.lines) == (GREEN, ("Zoë", "sadness 70%"))
    assert (unknown.colour, unknown.lines) == (GREY, ("unknown", "sadness 70%"))


@pytest.mark.parametrize("tone", [0, 90, 255])
def test_a_box_has_its_colour_and_a_rim_and_the_photo_is_left_alone(tone: int) -> None:
    photo = plain(400, 500, tone)
    before = photo.copy()
    picture = draw(photo, [Mark((200, 100, 300, 220), ("ann",), RED)])
    np.testing.assert_array_equal(photo, before)
    assert picture.shape == photo.shape
    # Across the left side of the box: photo, rim, colour, rim, photo.
    across = picture[160, 190:215].astype(int)
    changes = across[np.flatnonzero(np.abs(np.diff(across, axis=0, prepend=across[:1] - 300)).sum(1))].tolist()
    expected = [[tone] * 3, [255] * 3, list(RED), [255] * 3, [tone] * 3]
    assert changes == (expected if tone < 255 else [expected[0], expected[2], expected[4]])
    np.testing.assert_array_equal(picture[120:200, 215:285], photo[120:200, 215:285])


WORDS = ("maria sharapova", "happiness 100%")


@pytest.mark.parametrize(
    "box",
    [(0, 0, 80, 100), (420, 0, 500, 100), (0, 300, 80, 400), (420, 300, 500, 400), (210, 0, 290, 400),
     (-30, -40, 80, 60), (420, 350, 530, 460)],
)  # fmt: skip
def test_words_are_whole_and_beside_the_face_wherever_it_is(box: tuple[int, int, int, int]) -> None:
    (amid,) = plates(plain(400, 500), [Mark((210, 150, 290, 250), WORDS, GREEN)])
    ((left, top, right, bottom),) = plates(plain(400, 500), [Mark(box, WORDS, GREEN)])
    assert (right - left, bottom - top) == (amid[2] - amid[0], amid[3] - amid[1])
    assert min(left, top) >= 0
    assert right <= 500
    assert bottom <= 400
    assert left >= box[2] or right <= box[0] or top >= box[3] or bottom <= box[1]


def test_words_have_the_contrast_that_small_print_needs() -> None:
    # WCAG 2.1: 4.5 to 1 against white.
    for colour in (GREEN, GREY, RED):
        parts = [value / 255 for value in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        assert 1.05 / (float(np.dot(linear, [0.2126, 0.7152, 0.0722])) + 0.05) >= 4.5


def test_neighbours_do_not_cover_each_others_words() -> None:
    boxes = [(60 + 110 * column, 60, 140 + 110 * column, 160) for column in range(5)]
    marks = [Mark(box, ("serena williams", "neutral 51%"), GREEN) for box in boxes]
    assert len(plates(plain(500, 700), marks)) == 5


def test_words_get_smaller_before_they_cover_faces() -> None:
    """Between the rows there is less room than words beside a single face of that size take."""
    corners = [(180 * column, 240 * row) for row in range(3) for column in range(4)]
    crowd = [Mark((x, y, x + 160, y + 200), ("roger", "sadness 51%"), GREY) for x, y in corners]
    ((_, top, _, bottom),) = plates(plain(720, 720), crowd[5:6])
    assert bottom - top > 40
    found = plates(plain(720, 720), crowd)
    assert len(found) == 12
    assert all(bottom - top <= 40 and top % 240 >= 200 for _, top, _, bottom in found)


def test_small_faces_are_enlarged_and_large_photos_stay() -> None:
    assert draw(plain(300, 400), [Mark((10, 10, 30, 35), ("a",), GREY)]).shape == (1080, 1440, 3)
    assert draw(plain(3000, 4000), [Mark((10, 10, 30, 35), ("a",), GREY)]).shape == (3000, 4000, 3)
    crowd = [Mark((x, y, x + 6, y + 8), ("a", "fear 40%"), GREY) for x in range(0, 200, 10) for y in range(0, 100, 10)]
    assert max(draw(plain(100, 200), crowd).shape) == LARGEST_PICTURE


@pytest.mark.parametrize("shape", [(1, 1), (12, 12), (5, 900), (900, 5)])
def test_photos_of_any_shape_can_be_drawn_on(shape: tuple[int, int]) -> None:
    mark = Mark((-3, -3, 40, 2), ("somebody with a very long name indeed" * 3, "surprise 99%"), GREEN)
    picture = draw(plain(*shape), [mark])
    assert picture.shape[0] >= shape[0]
    assert picture.shape[1] >= shape[1]
    assert draw(plain(*shape), []).dtype == np.uint8


def test_a_name_that_is_too_long_is_shortened() -> None:
    ((left, _, right, _),) = plates(plain(400, 400), [Mark((150, 100, 230, 200), ("x" * 500,), GREEN)])
    assert 0 <= left < right <= 400


def test_names_keep_their_accents() -> None:
    drawn = [
        draw(plain(400, 400), [Mark((150, 100, 250, 200), (name,), GREY)]) for name in ("Jose", "José", "Йосе", "????")
    ]
    assert len({picture.tobytes() for picture in drawn}) == 4


def test_what_is_written_has_a_name_of_its_own() -> None:
    assert picture_names(["a.jpg", "b/a.jpg", "a.png", "a-2.jpg", "a.gif"]) == ["a", "b/a", "a-2", "a-2-2", "a-3"]


def test_who_is_named_comes_before_the_others_and_lies_over_them() -> None:
    marks = marks_of([face(None), face("Zoë"), face(None), face("ann")])
    assert [mark.lines[0] for mark in marks] == ["Zoë", "ann", "unknown", "unknown"]
    # Plates that fill the picture: there is room for one.
    lines = ("somebody with a very long name indeed" * 9,) * 90
    marks = [Mark((100, 100, 200, 200), lines, colour) for colour in (GREEN, GREY)]
    inside = draw(plain(400, 400), marks)[20:-20, 20:-20]
    assert (inside == GREEN).all(2).any()
    assert not (inside == GREY).all(2).any()


def test_what_no_jpeg_can_hold_is_an_error_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="66000 x 1 px are too many for a JPEG"):
        write_jpeg(tmp_path / "a.jpg", plain(1, 66000))
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_written_in_its_colours(tmp_path: Path) -> None:
    picture = np.tile(np.array(RED, np.uint8), (40, 40, 1))
    write_jpeg(tmp_path / "new" / "a.jpg", picture)
    assert np.abs(read_image(tmp_path / "new" / "a.jpg").astype(int) - picture).max() < 8
