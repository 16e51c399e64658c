"""Ways to the right answer that have nothing to do with what a picture shows, and how to close or to offer them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from sightline.core.baselines import majority
from sightline.core.images import Pixels

Change = Callable[[Pixels, int], Pixels]


def changes(resolution: int, quality: int, seed: int) -> Mapping[str, Change]:
    """What is done to a picture (S, S, 3) uint8 RGB, by name; the second argument is its row, for what is random.

    - ``greyscale``: colours gone, luma kept.
    - ``captions_masked``: the top and the bottom fifth, where memes have their captions, are grey.
    - ``borders_only``: all is grey but a frame as wide as a sixth of the side: black bars, watermarks, HUDs.
    - ``patches_shuffled``: 4 × 4 patches in random order: texture and colours stay, shapes go.
    - ``equalised``: shrunk to ``resolution`` px, coded as JPEG at ``quality`` and enlarged again: all files are alike.
    """
    return {
        "greyscale": lambda image, _: np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
        "captions_masked": _mask_captions,
        "borders_only": _keep_borders,
        "patches_shuffled": partial(_shuffle_patches, seed),
        "equalised": partial(_equalise, resolution, quality),
    }


def file_traits(manifest: pd.DataFrame, images: NDArray[np.uint8]) -> pd.DataFrame:
    """What can be known of pictures without looking at what they show: one row each, NaN where it is not known.

    ``width``, ``height``, ``bytes``, ``quality`` (estimated, of JPEGs) are the file's; ``aspect`` and ``density``
    (bytes a pixel) follow from them; ``sharpness`` is the logarithm of the variance of the packed picture's Laplacian,
    which enlarging lowers (Pech-Pacheco et al., ICPR 2000).
    """
    traits = manifest[["width", "height", "bytes"]].astype(np.float64)
    traits["quality"] = pd.to_numeric(manifest["quality"], errors="coerce").astype(np.float64)
    traits["aspect"] = traits["width"] / traits["height"]
    traits["density"] = traits["bytes"] / (traits["width"] * traits["height"])
    traits["sharpness"] = [sharpness(image) for image in images]
    return traits.reset_index(drop=True)


def sharpness(image: Pixels) -> float:
    """The logarithm of one plus the variance of the Laplacian of the luma."""
    return float(
        np.log1p(cv2.Laplacian(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
    )


def answer_by_traits(train: pd.DataFrame, labels: NDArray[Any], test: pd.DataFrame, seed: int) -> NDArray[Any]:
    """What gradient boosted trees (Friedman 2001) that know nothing but these traits answer to ``test``.

    Trees, because a trait may give a class away at one value (all its files are 300 px wide) or in a range.
    """
    telling = [name for name in train if train[name].nunique() > 1]
    if not telling:
        return majority(labels, len(test))
    # Few and flat: the traits are seven numbers, and the training pictures hundreds.
    trees = HistGradientBoostingClassifier(
        max_iter=60, max_depth=3, min_samples_leaf=10, early_stopping=False, random_state=seed
    )
    return np.asarray(trees.fit(train[telling], labels).predict(test[telling]))


def _mask_captions(image: Pixels, _: int) -> Pixels:
    masked, band = image.copy(), round(CAPTION * len(image))
    masked[:band] = masked[len(image) - band :] = GREY
    return masked


def _keep_borders(image: Pixels, _: int) -> Pixels:
    masked, width = image.copy(), round(BORDER * len(image))
    masked[width:-width, width:-width] = GREY
    return masked


def _shuffle_patches(seed: int, image: Pixels, row: int) -> Pixels:
    side = len(image) // GRID
    inner = image[: GRID * side, : GRID * side]
    patches = inner.reshape(GRID, side, GRID, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    patches = patches[np.random.default_rng((seed, row)).permutation(GRID**2)]
    shuffled = image.copy()
    shuffled[: GRID * side, : GRID * side] = (
        patches.reshape(GRID, GRID, side, side, 3).swapaxes(1, 2).reshape(inner.shape)
    )
    return shuffled


def _equalise(resolution: int, quality: int, image: Pixels, _: int) -> Pixels:
    # Packed pictures are square: so all have the same number of pixels in either direction, whatever their files had.
    small = cv2.resize(image, (resolution, resolution), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
    return np.asarray(cv2.resize(decoded, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


GREY = 128
CAPTION = 0.2
BORDER = 1 / 6
GRID = 4
