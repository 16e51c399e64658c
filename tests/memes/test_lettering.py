"""Words on pictures."""

import numpy as np
import pytest

from sightline.memes.lettering import FACES, letters, write


@pytest.mark.parametrize("face", FACES)
def test_capitals_are_as_tall_as_asked_for(face):
    rows = np.flatnonzero((letters("HEN", 40, face) > 100).any(1))
    fatter = 2 * 40 * FACES[face].fatter
    assert rows[-1] + 1 - rows[0] == pytest.approx(40 + fatter, abs=5)


@pytest.mark.parametrize("face", FACES)
def test_a_line_stays_inside_the_width_that_it_has_to_fit(face):
    picture = np.zeros((100, 300, 3), np.uint8)
    wide = write(picture, "A RATHER LONG LINE OF WORDS", (150, 50), 40, (255, 255, 255), face, fit=200)
    columns = np.flatnonzero(picture.any((0, 2)))
    assert columns[-1] - columns[0] <= 210
    assert wide <= 204


def test_an_outline_surrounds_the_letters_and_does_not_move_them():
    plain, outlined = (np.full((80, 200, 3), 128, np.uint8) for _ in range(2))
    write(plain, "RIM", (100, 40), 30, (255, 255, 255), "impact")
    write(outlined, "RIM", (100, 40), 30, (255, 255, 255), "impact", outline=(0, 0, 0))
    inside = (plain == 255).all(2)
    assert inside.sum() > 300
    assert (outlined[inside] == 255).all()
    assert (outlined == 0).all(2).sum() > 200
    assert (outlined[plain[..., 0] > 140] != 0).any()


def test_words_beside_the_picture_leave_it_alone():
    picture = np.full((40, 60, 3), 7, np.uint8)
    write(picture, "AWAY", (400, 300), 20, (255, 0, 0))
    write(picture, "", (30, 20), 20, (255, 0, 0))
    assert (picture == 7).all()
