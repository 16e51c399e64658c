"""Find copies and near-copies of pictures, keep them together, and prove that no split knows another's pictures."""

from collections.abc import Sequence

import imagehash
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sightline.core.errors import InputError
from sightline.core.images import Pixels

BLOCK = 1024


def perceptual_hash(image: Pixels) -> int:
    """The 64-bit DCT hash ('pHash', Zauner 2010) of an RGB picture: equal pictures at other sizes or JPEG qualities
    differ in few bits, unrelated ones in about half.
    """
    return int(str(imagehash.phash(Image.fromarray(image))), 16)


def near_duplicates(hashes: ArrayLike, max_bits: int) -> NDArray[np.int64]:
    """All pairs (P, 2), first < second, whose 64-bit hashes differ in at most ``max_bits`` bits."""
    hashes = np.asarray(hashes, dtype=np.uint64)
    pairs = []
    for start in range(0, len(hashes), BLOCK):
        distances = np.bitwise_count(hashes[start : start + BLOCK, None] ^ hashes[None])
        first, second = np.nonzero(distances <= max_bits)
        first += start
        pairs.append(np.stack([first, second], axis=1)[first < second])
    return np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)


def group_duplicates(hashes: ArrayLike, max_bits: int) -> NDArray[np.int64]:
    """A group number for each picture, (N,): near-duplicates, and near-duplicates of those, share one."""
    hashes = np.asarray(hashes, dtype=np.uint64)
    pairs = near_duplicates(hashes, max_bits)
    edges = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(hashes),) * 2)
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)


def check_leakage(
    names: Sequence[str],
    splits: ArrayLike,
    groups: ArrayLike,
    digests: ArrayLike,
    hashes: ArrayLike,
    max_bits: int | None,
) -> None:
    """Fail if two splits share a group, an exact copy or a near-duplicate; all arguments have one entry a picture.

    With ``max_bits`` None near-duplicates are no matter: for splits by class, where look-alikes are what is asked for.

    Raises:
        InputError: the first few offending pairs by name, and how they are alike.
    """
    splits, groups, digests = np.asarray(splits), np.asarray(groups), np.asarray(digests)
    found = []
    for reason, keys in (("the same group", groups), ("the same pixels", digests)):
        for key in np.unique(keys):
            members = np.flatnonzero(keys == key)
            others = members[splits[members] != splits[members[0]]]
            found += [(members[0], other, reason) for other in others]
    pairs = near_duplicates(hashes, -1 if max_bits is None else max_bits)
    crossing = pairs[splits[pairs[:, 0]] != splits[pairs[:, 1]]]
    found += [(first, second, "near-duplicates") for first, second in crossing]
    if found:
        shown = "; ".join(f"{names[a]} ({splits[a]}) and {names[b]} ({splits[b]}): {why}" for a, b, why in found[:3])
        raise InputError(f"{len(found)} pairs of pictures leak between splits: {shown}")
