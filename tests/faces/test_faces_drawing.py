"""Drawn people: heads in space against geometry, moods that move what they should, faces in their boxes."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy import ndimage

from sightline.core.rendering import Array
from sightline.faces.blanks import THINGS, draw_blank
from sightline.faces.crowds import Member, draw_group
from sightline.faces.expressions import PROTOTYPES, UNITS, Expression, express
from sightline.faces.features import Features, place_features
from sightline.faces.heads import (
    ROWS,
    STYLES,
    Form,
    Person,
    Pose,
    look_at,
    make_form,
    make_person,
    make_sibling,
    project,
    skull_of,
)
from sightline.faces.params import EMOTIONS
from sightline.faces.portraits import Sitter, Wear, draw_portrait, draw_sitter, make_lamp

STRAIGHT = Pose(0.0, 0.0, 0.0)
CALM = Expression()


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def person(*seed: int) -> Person:
    return make_person(rng(*seed))


def pixels(size: int = 220, scale: float = 60.0) -> tuple[Array, Array]:
    line = (np.arange(size, dtype=np.float32) + 0.5 - size / 2) / np.float32(scale)
    x, y = np.meshgrid(line, line)
    return x, y


def ellipsoid(wide: float, high: float, deep: float) -> Form:
    levels = np.linspace(-high, high, 41)
    share = np.sqrt(np.clip(1 - (levels / high) ** 2, 0, 1))
    return make_form(levels, wide * share, deep * share, -deep * share)


@pytest.mark.parametrize("yaw", [0.0, 0.3, -0.5])
def test_a_turned_head_is_where_geometry_puts_it(yaw: float) -> None:
    """Each pixel's point, turned by hand, falls on that pixel and on the ellipsoid's near side."""
    wide, high, deep = 0.8, 1.2, 1.0
    pose = Pose(yaw, 0.0, 0.0)
    x, y = pixels()
    seen = look_at(ellipsoid(wide, high, deep), x, y, pose, 60)
    inside = (seen.cover == 1) & (np.abs(seen.y) < 0.9 * high)
    assert inside.sum() > 5000
    across = np.cos(yaw) * seen.x
    # x' = x cos + z sin, so z of the unturned point follows from x'.
    ahead = (x - across) / np.sin(yaw) if yaw else np.sqrt(np.clip(1 - (x / wide) ** 2 - (y / high) ** 2, 0, 1)) * deep
    on_it = (seen.x / wide) ** 2 + (seen.y / high) ** 2 + (ahead / deep) ** 2
    np.testing.assert_allclose(on_it[inside], 1, atol=0.03)
    depth = ahead * np.cos(yaw) - seen.x * np.sin(yaw)
    np.testing.assert_allclose(seen.z[inside], depth[inside], atol=0.02)


@pytest.mark.parametrize("pose", [Pose(0.3, 0.0, 0.0), Pose(-0.25, 0.15, 0.0), Pose(0.1, -0.2, 0.0)])
def test_a_point_of_the_head_is_projected_to_the_pixel_that_sees_it(pose: Pose) -> None:
    form = skull_of(person(1), 0.0)
    x, y = pixels()
    seen = look_at(form, x, y, pose, 60)
    rows, columns = np.nonzero((seen.cover == 1) & (np.abs(seen.turn) < 1.0) & (np.abs(seen.y) < 0.8))
    for row, column in list(zip(rows, columns, strict=True))[::500]:
        level = np.interp(seen.y[row, column], np.linspace(form.top, form.bottom, len(form.wide)), np.arange(ROWS))
        middle, deep = (np.interp(level, np.arange(ROWS), table) for table in (form.middle, form.deep))
        point = (
            float(seen.x[row, column]),
            float(seen.y[row, column]),
            float(middle + deep * np.cos(seen.turn[row, column])),
        )
        np.testing.assert_allclose(project(point, pose), (x[row, column], y[row, column]), atol=0.03)


def test_everybody_has_a_whole_head_whatever_the_chance() -> None:
    for number in range(60):
        form = skull_of(person(2, number), 1.0)
        assert form.top < -1.1
        assert 0.9 < form.bottom < 1.5
        assert 0.6 < form.wide.max() < 1.0
        # One widest place: no waist between the crown and the chin.
        turns = np.diff(np.sign(np.diff(form.wide[2:-2])))
        assert np.count_nonzero(turns) <= 2


def test_a_sibling_is_more_like_its_kin_than_a_stranger_is_but_not_the_same() -> None:
    known = [person(3, number) for number in range(40)]
    traits = np.array([astuple(one.traits) for one in known])
    siblings = np.array([astuple(make_sibling(rng(4, number), one).traits) for number, one in enumerate(known)])
    kin = np.linalg.norm(siblings - traits, axis=1)
    strangers = np.linalg.norm(np.roll(traits, 1, axis=0) - traits, axis=1)
    assert kin.mean() < 0.85 * strangers.mean()
    assert kin.min() > 1.0
    assert make_sibling(rng(4, 0), known[0]).style == known[0].style


def test_moods_follow_their_prototype_and_grow_with_strength() -> None:
    for emotion in EMOTIONS:
        weak, strong = (
            np.mean([astuple(express(rng(5, number), emotion, strength)) for number in range(80)], axis=0)
            for strength in (0.3, 1.0)
        )
        moved = {UNITS[k] for k in np.flatnonzero(strong > 0.2)}
        assert moved == {name for name, most in PROTOTYPES[emotion].items() if most > 0.22}
        for name in moved:
            assert strong[UNITS.index(name)] > 1.8 * weak[UNITS.index(name)]
    with pytest.raises(ValueError, match="'joy' is none of"):
        express(rng(1), "joy", 1.0)


@pytest.mark.parametrize(
    ("unit", "part", "grows"),
    [
        ("smile", lambda at: at.corner, False),
        ("sulk", lambda at: at.corner, True),
        ("smile", lambda at: at.mouth_wide, True),
        ("stretch", lambda at: at.mouth_wide, True),
        ("tight", lambda at: at.mouth_wide, False),
        ("jaw", lambda at: at.gap, True),
        ("jaw", lambda at: at.chin, True),
        ("wide_eyes", lambda at: at.lid_up, True),
        ("squint", lambda at: at.lid_up, False),
        ("cheeks", lambda at: at.lid_down, False),
        ("nose", lambda at: at.nose_tip, False),
        ("blink", lambda at: at.lid_up, False),
    ],
)  # fmt: skip
def test_an_action_unit_moves_its_part_of_the_face(unit: str, part: object, grows: bool) -> None:
    one = person(6)
    rest, moved = (place_features(one, replace(CALM, **{unit: value})) for value in (0.0, 1.0))

    def at(features: Features) -> float:
        return float(part(features))  # type: ignore[operator]

    assert (at(moved) > at(rest)) == grows
    assert at(moved) != at(rest)


def sit(sitter: Sitter, shape: tuple[int, int] = (240, 240), scale: float = 55.0) -> tuple[Array, tuple[float, ...]]:
    picture = np.full((*shape, 3), 0.2, np.float32)
    box = draw_sitter(rng(7), picture, sitter, make_lamp(rng(8)), (shape[1] / 2, shape[0] / 2), scale)
    return picture, box


def bare(one: Person, mood: Expression = CALM, pose: Pose = STRAIGHT) -> Sitter:
    return Sitter(replace(one, style="bald", beard="none", mole=None), mood, pose, Wear(None, False, False))


def test_the_box_lies_on_the_face_and_follows_the_turn() -> None:
    """The eyes lie symmetrically in the upper half of the box of a face that looks straight ahead."""
    for number in range(8):
        one = person(9, number)
        _, (left, top, right, bottom) = sit(bare(one))
        assert (left + right) / 2 == pytest.approx(120, abs=0.5)
        assert 1.0 < (bottom - top) / (right - left) < 1.6
        eyes = place_features(one, CALM).eye
        assert left < 120 - 55 * eyes[0] < 120 + 55 * eyes[0] < right
        assert 0.25 < (120 + 55 * eyes[1] - top) / (bottom - top) < 0.5
    boxes = {turn: sit(bare(person(9), pose=Pose(turn, 0, 0)))[1] for turn in (-0.4, 0.4)}
    assert boxes[-0.4][0] + boxes[-0.4][2] < 236 < 244 < boxes[0.4][0] + boxes[0.4][2]
    _, up = sit(bare(person(9), pose=Pose(0, 0.2, 0)))
    _, down = sit(bare(person(9), pose=Pose(0, -0.2, 0)))
    assert up[3] < down[3]


def test_a_face_that_looks_straight_ahead_is_nearly_its_own_mirror_image() -> None:
    one = person(11)
    picture = np.zeros((200, 200, 3), np.float32)
    lamp = make_lamp(rng(8))
    front = replace(lamp, towards=np.array([0, -0.5, 0.866], np.float32))
    draw_sitter(rng(12), picture, bare(one), front, (100, 100), 50)
    face = picture[60:150, 62:138].mean(2)
    assert np.corrcoef(face.ravel(), face[:, ::-1].ravel())[0, 1] > 0.9


def test_light_from_one_side_brightens_that_cheek() -> None:
    one = person(11)
    lamp = make_lamp(rng(8))
    sides = []
    for across in (-0.6, 0.6):
        picture = np.zeros((200, 200, 3), np.float32)
        light = replace(lamp, towards=np.array([across, -0.3, np.sqrt(1 - across**2 - 0.09)], np.float32))
        draw_sitter(rng(12), picture, bare(one), light, (100, 100), 50)
        sides.append(picture[100:125, 66:82].mean() - picture[100:125, 118:134].mean())
    assert sides[0] > 0.02 > -0.02 > sides[1]


def test_an_open_mouth_shows_a_dark_hollow_and_a_smile_teeth() -> None:
    """Of green people only teeth are white."""
    green = replace(person(13), skin=np.array([0, 0.6, 0], np.float32), lips=np.array([0, 0.4, 0], np.float32))
    closed, gaping, grin = (
        sit(bare(green, replace(CALM, **units)))[0][140:180, 100:140]
        for units in ({}, {"jaw": 0.9}, {"jaw": 0.9, "smile": 1.0})
    )
    dark = [np.count_nonzero(mouth.max(2) < 0.06) for mouth in (closed, gaping)]
    assert dark[1] > dark[0] + 30
    white = [np.count_nonzero((mouth[..., 0] > 0.2) & (mouth[..., 2] > 0.15)) for mouth in (closed, gaping, grin)]
    assert white[0] == 0
    assert white[2] > 1.3 * white[1]


@pytest.mark.parametrize("style", STYLES)
def test_every_hair_style_is_drawn_and_leaves_the_face_free(style: str) -> None:
    one = replace(person(14), hair=np.array([0, 0.9, 0], np.float32), beard="none", style=style, frame=None)
    picture, (left, top, right, bottom) = sit(Sitter(one, CALM, STRAIGHT, Wear(None, False, False)))
    assert np.isfinite(picture).all()
    assert picture.min() >= 0
    green = picture[..., 1] > 1.5 * picture[..., [0, 2]].max(2)
    if style != "bald":
        assert green.sum() > 400
    middle = np.s_[round(top + 0.45 * (bottom - top)) : round(bottom) - 6, round(left) + 22 : round(right) - 22]
    assert green[middle].mean() < 0.02


def test_dark_glasses_hide_the_eyes_and_a_hat_the_hair() -> None:
    one = replace(person(15), style="side", hair=np.array([0, 0.9, 0], np.float32), beard="none")
    eyes = np.s_[108:120, 96:144]
    plain, dark, hat = (
        sit(Sitter(one, CALM, STRAIGHT, wear))[0]
        for wear in (Wear(None, False, False), Wear(1, True, False), Wear(None, False, True))
    )
    assert dark[eyes].mean() < 0.6 * plain[eyes].mean()
    green = [np.count_nonzero(p[..., 1] > 1.5 * p[..., [0, 2]].max(2)) for p in (plain, hat)]
    assert green[1] < 0.5 * green[0]


def test_a_portrait_depends_on_its_random_numbers_alone() -> None:
    first, again, other = (draw_portrait(rng(16, seed), person(17), "fear", 0.8, (120, 160)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.box_xyxy == again.box_xyxy
    assert first.box_xyxy != other.box_xyxy


def test_the_same_person_changes_less_than_people_differ() -> None:
    """In one pose and light: the mood moves pixels of the face, another person moves more."""
    people = [person(18, number) for number in range(6)]
    moods = (CALM, replace(CALM, smile=0.8, cheeks=0.6), replace(CALM, frown=0.8))

    def face(one: Person, mood: Expression) -> Array:
        picture, box = sit(bare(replace(one, skin=people[0].skin, lips=people[0].lips, age=0.3), mood))
        left, top, right, bottom = (round(side) for side in box)
        crop = picture[top:bottom, left:right].mean(2)
        return np.asarray(ndimage.zoom(crop, (40 / crop.shape[0], 40 / crop.shape[1]), order=1)[:40, :40])

    faces = [[face(one, mood) for mood in moods] for one in people]
    within = [np.abs(own[0] - other).mean() for own in faces for other in own[1:]]
    between = [np.abs(a[0] - b[0]).mean() for i, a in enumerate(faces) for b in faces[:i]]
    assert np.median(within) < np.median(between)


def test_groups_have_a_box_for_everyone_inside_the_picture_and_say_who_is_hidden() -> None:
    for number, count in enumerate((1, 3, 5, 8)):
        members = [Member(person(19, number, k), None, "neutral", 0.5) for k in range(count)]
        image, faces = draw_group(rng(20, number), members)
        assert len(faces) == count
        height, width = image.shape[:2]
        for face in faces:
            left, top, right, bottom = face.box_xyxy
            assert -2 < left < right < width + 2
            assert -2 < top < bottom < height + 2
            assert min(right - left, bottom - top) > 24
            assert 0 <= face.hidden <= 1
            assert face.ignore == (face.hidden > 0.5)
        assert faces[-1].hidden == 0


def test_there_is_a_blank_of_each_kind() -> None:
    images = [draw_blank(rng(21, number), number) for number in range(len(THINGS) + 1)]
    for image in images:
        assert image.dtype == np.uint8
        assert image.std() > 8
