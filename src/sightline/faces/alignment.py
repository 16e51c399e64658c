"""Bring faces into one position: the similarity transform that lays their landmarks on those of the ArcFace template.

Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE TPAMI 1991.
"""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.core.images import Pixels

Matrix = NDArray[np.float64]

SIZE = 144
"""Side of an aligned face in px."""
MARGIN = 16
"""Px on each side beyond the 112 px of ArcFace: networks of emotions want hair and chin, augmentation wants room."""
ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Where the eyes, the nose and the corners of the mouth lie in a 112 px face (Deng et al., CVPR 2019)."""
TEMPLATE = ARCFACE + MARGIN


def align(image: Pixels, landmarks: ArrayLike) -> Pixels:
    """Cut a face out, (144, 144, 3) uint8 RGB, upright and at one size; the central 112 x 112 is ArcFace's crop.

    What lies beyond the picture's sides is its border continued.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (5, 2) x and y in px: eyes, nose, corners of the mouth, left in the picture first. Where they lie in
            one point, the crop is its surroundings, upright and one to one.
    """
    matrix = similarity(landmarks, TEMPLATE)
    part, corner = _seen(image, matrix)
    # Cubic interpolation reads 4 x 4 pixels wherever it looks: a larger face is first averaged to about its new size.
    scale = min(1.0, float(np.hypot(matrix[0, 0], matrix[1, 0])))
    size = np.array([max(1, round(side * scale)) for side in part.shape[1::-1]])
    shrunk = cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA) if scale < 1 else part
    # Centres of pixels lie at whole numbers: that of a small picture's pixel x lies at (x + 0.5) * step - 0.5.
    step = part.shape[1::-1] / size
    turn = matrix[:, :2]
    composed = np.column_stack([turn * step, turn @ (0.5 * step - 0.5 + corner) + matrix[:, 2]])
    crop = cv2.warpAffine(shrunk, composed, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def similarity(source: ArrayLike, target: ArrayLike) -> Matrix:
    """The rotation, uniform scale and shift, (2, 3), that bring points (N, 2) nearest to others in least squares.

    A mirror image is never taken. Where all points of ``source`` are one, or those of ``target``, there is nothing to
    turn or scale by: the result shifts one centre to the other.
    """
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    centre, target_centre = source.mean(axis=0), target.mean(axis=0)
    x, y = (source - centre).T
    u, v = (target - target_centre).T
    # In two dimensions Umeyama's singular values have a closed form: with points as complex numbers z and w the
    # transform is the one factor a + bi that brings a z nearest to w.
    spread = float(x @ x + y @ y)
    a, b = float(x @ u + y @ v), float(x @ v - y @ u)
    if spread <= TINY or np.hypot(a, b) <= TINY * spread:
        a, b, spread = 1.0, 0.0, 1.0
    turn = np.array([[a, -b], [b, a]]) / spread
    return np.column_stack([turn, target_centre - turn @ centre])


def _seen(image: Pixels, matrix: Matrix) -> tuple[Pixels, NDArray[np.int64]]:
    """The part of the picture that the crop shows with some room around it, at least one pixel, and its corner (x, y).

    Shrinking the whole of a picture for every face in it would take far longer.
    """
    inverse = cv2.invertAffineTransform(matrix)
    ends = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]]) @ inverse[:, :2].T + inverse[:, 2]
    room = 4 + 0.05 * np.ptp(ends, axis=0).max()
    limits = np.array(image.shape[1::-1])
    first = np.clip(np.floor(ends.min(axis=0) - room), 0, limits - 1).astype(np.int64)
    last = np.clip(np.ceil(ends.max(axis=0) + room), first + 1, limits).astype(np.int64)
    return image[first[1] : last[1], first[0] : last[0]], first


TINY = 1e-9
