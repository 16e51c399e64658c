import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.faces.alignment import ARCFACE, MARGIN, SIZE, TEMPLATE, align, similarity


def turned(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, shift])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Equations 34 to 43 of the paper, by singular values."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)
    u, singular, vt = np.linalg.svd(covariance)
    signs = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = (singular * signs).sum() / source.var(0).sum()
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


@given(
    st.floats(-180, 180),
    st.floats(0.05, 20),
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_an_exact_similarity_is_recovered(degrees: float, scale: float, shift: tuple[float, float]) -> None:
    matrix = turned(degrees, scale, shift)
    np.testing.assert_allclose(similarity(ARCFACE, moved(ARCFACE, matrix)), matrix, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_noisy_points_are_fitted_as_in_the_paper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.uniform(0, 300, (5, 2))
    np.testing.assert_allclose(similarity(source, TEMPLATE), umeyama(source, TEMPLATE), atol=1e-9)


def test_mirrored_points_are_not_mirrored_back() -> None:
    source = TEMPLATE * [-1, 1]
    matrix = similarity(source, TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0
    np.testing.assert_allclose(matrix, umeyama(source, TEMPLATE), atol=1e-9)


def test_opencv_finds_the_same_with_outliers_switched_off() -> None:
    source = moved(ARCFACE, turned(20, 2.5, (40, -7))) + np.random.default_rng(3).normal(0, 0.2, (5, 2))
    theirs, _ = cv2.estimateAffinePartial2D(source, TEMPLATE, ransacReprojThreshold=50)
    np.testing.assert_allclose(similarity(source, TEMPLATE), theirs, atol=0.02)


def test_points_in_one_place_are_shifted_only() -> None:
    for source, target in ((np.full((5, 2), 7.0), TEMPLATE), (TEMPLATE, np.full((5, 2), 7.0))):
        matrix = similarity(source, target)
        np.testing.assert_array_equal(matrix[:, :2], np.eye(2))
        np.testing.assert_allclose(moved(source.mean(0), matrix), target.mean(0))


def test_a_picture_in_place_is_not_changed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(align(image, TEMPLATE), image)


@pytest.mark.parametrize("degrees", [-40, 0, 25])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.2, 7.7])
def test_marks_at_the_landmarks_come_to_lie_on_the_template(degrees: float, scale: float) -> None:
    landmarks = moved(TEMPLATE, turned(degrees, scale, (0, 0)))
    room = 20 * (1 + scale)
    landmarks += room - landmarks.min(0)
    height, width = (int(size) for size in (landmarks.max(0) + room)[::-1])
    rows, columns = np.mgrid[:height, :width]
    for point, place in zip(landmarks, TEMPLATE, strict=True):
        # Wide enough that interpolation to and fro does not move its centre.
        distance = ((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / (4 * max(scale, 0.5)) ** 2
        image = np.repeat((255 * np.exp(-distance / 2))[..., None].round().astype(np.uint8), 3, axis=2)
        crop = align(image, landmarks)[..., 0].astype(float)
        x, y = (crop * np.arange(SIZE)).sum() / crop.sum(), (crop.T * np.arange(SIZE)).sum() / crop.sum()
        np.testing.assert_allclose([x, y], place, atol=0.15)


def test_a_large_face_is_averaged_not_sampled() -> None:
    # A chequerboard of single pixels, ten times as large as the crop: picking pixels would show 0 and 255.
    image = ((np.indices((1440, 1440)).sum(0) % 2) * 255).astype(np.uint8)
    crop = align(np.repeat(image[..., None], 3, axis=2), TEMPLATE * 10)
    assert np.abs(crop.astype(int) - 127).max() <= 2


def test_beyond_the_picture_its_border_goes_on() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, :30] = 200
    crop = align(image, TEMPLATE - 50)
    assert (crop[:, : SIZE // 3] == 200).all()
    assert (crop[:, -SIZE // 3 :] == 0).all()


@pytest.mark.parametrize("landmarks", [np.full((5, 2), 30.0), np.full((5, 2), 5000.0), TEMPLATE * 1e-4, TEMPLATE * 1e4])
def test_any_landmarks_give_a_crop(landmarks: np.ndarray) -> None:
    image = np.full((40, 50, 3), (10, 20, 30), np.uint8)
    crop = align(image, landmarks)
    assert crop.shape == (SIZE, SIZE, 3)
    assert (crop == (10, 20, 30)).all()


def test_the_central_window_is_the_crop_of_arcface() -> None:
    image = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    landmarks = moved(ARCFACE, turned(10, 0.9, (80, 60)))
    theirs = cv2.warpAffine(
        image, umeyama(landmarks, ARCFACE), (112, 112), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    ours = align(image, landmarks)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    # OpenCV rounds positions to 1/32 px.
    assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < 4
