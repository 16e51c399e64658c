"""Who is enrolled: one file of vectors and names that is replaced whole or not at all.

``gallery.safetensors`` holds the vectors; in its header stand, as JSON, a name and a digest of the photo for each, what
described them, and a checksum. Equal galleries are equal bytes. ``enrol_in`` and ``forget_in`` change the file under a
lock, so that two writers at once take turns.
"""

import glob
import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sightline.core.errors import InputError
from sightline.core.files import replacing, sha256_of
from sightline.faces.neighbours import Numbers, Rough, Vectors, alike, nearest_people, own_similarity, roughly


@dataclass(frozen=True)
class Gallery:
    """Enrolled photos.

    Attributes:
        vectors: float32 (N, D), unit length.
        names: whose each is, N texts.
        digests: of the aligned crops that they come from (:func:`sightline.core.images.pixel_digest`), N texts.
        describer: what made the vectors, the digest of a network for instance; those of another mean nothing here.
    """

    vectors: Vectors
    names: tuple[str, ...]
    digests: tuple[str, ...]
    describer: str

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def empty(cls, dimensions: int, describer: str) -> "Gallery":
        """A gallery of nobody."""
        return cls(np.empty((0, dimensions), np.float32), (), (), describer)

    @cached_property
    def people(self) -> tuple[str, ...]:
        """The names, each once, sorted."""
        return tuple(sorted(set(self.names)))

    @cached_property
    def numbers(self) -> Numbers:
        """Whose each vector is, int64 (N,), as a place in :attr:`people`."""
        places = {name: number for number, name in enumerate(self.people)}
        return np.array([places[name] for name in self.names], np.int64)

    @cached_property
    def rough(self) -> Rough | None:
        """What :func:`~sightline.faces.neighbours.nearest_people` reads first, where the vectors are many."""
        return roughly(self.vectors) if self.vectors.size >= MANY else None

    def enrol(
        self, name: str, vectors: Vectors, digests: Sequence[str], photos: Sequence[str], k: int, threshold: float
    ) -> tuple["Gallery", list[str]]:
        """Add photos of a person, who may be there already.

        Args:
            name: the person; blanks at its ends and the way in which accents are coded do not matter.
            vectors: float32 (M, D), unit length.
            digests: of their M aligned crops.
            photos: what the M are called in what the user is told.
            k: as in :func:`sightline.faces.neighbours.nearest_people`.
            threshold: from which similarity on two faces are taken for one person's.

        Returns:
            The new gallery, and what the user should know: photos that were enrolled before (not added again if under
            this name), people enrolled under two names.

        Raises:
            InputError: the name is empty or has a line break, there is no photo, or the vectors do not fit.
        """
        name = clean_name(name)
        if vectors.ndim != 2 or len(vectors) != len(digests) or vectors.shape[1] != self.vectors.shape[1]:
            raise InputError(
                f"{name}: vectors {vectors.shape} of {len(digests)} photos do not fit a gallery of {self.vectors.shape}"
            )
        if not len(vectors):
            raise InputError(f"{name}: no photo to enrol")
        if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
            raise InputError(f"{name}: a photo gives no vector of unit length: is there a face in it?")
        said: list[str] = []
        known: dict[str, set[str]] = {}
        for owner, digest in zip(self.names, self.digests, strict=True):
            known.setdefault(digest, set()).add(owner)
        fresh = []
        for row, (digest, photo) in enumerate(zip(digests, photos, strict=True)):
            owners = known.setdefault(digest, set())
            if name in owners:
                said.append(f"{photo} is enrolled as {name} already: not added again")
                continue
            if owners:
                said.append(f"{photo}, now enrolled as {name}, is also enrolled as {_listed(owners)}")
            owners.add(name)
            fresh.append(row)
        added = Gallery(
            np.concatenate([self.vectors, vectors[fresh]]).astype(np.float32),
            (*self.names, *[name] * len(fresh)),
            (*self.digests, *[digests[row] for row in fresh]),
            self.describer,
        )
        return added, said + added.doubles(k, threshold, name)

    def forget(self, name: str) -> "Gallery":
        """The gallery without a person: all vectors, digests and the name are gone.

        Raises:
            InputError: nobody of that name is enrolled.
        """
        name = clean_name(name)
        kept = [row for row, owner in enumerate(self.names) if owner != name]
        if len(kept) == len(self):
            raise InputError(f"nobody called '{name}' is enrolled; there are {_listed(self.people) or 'no people'}")
        return replace(
            self,
            vectors=self.vectors[kept],
            names=tuple(self.names[row] for row in kept),
            digests=tuple(self.digests[row] for row in kept),
        )

    def doubles(self, k: int, threshold: float, name: str | None = None) -> list[str]:
        """Warnings of people who seem to be enrolled under two names; of ``name`` and another only, if given.

        They are accepted as each other, and are about as alike as photos of one person are in this gallery. The
        threshold alone lets a share of all strangers pass, and of many people some pairs must come out: siblings, say.
        """
        people, numbers = self.people, self.numbers
        chosen = np.ones(len(self), bool)
        if name is not None:
            # Everybody would have to be compared with everybody; only those that the person is taken for can matter.
            own = numbers == people.index(name)
            others, scores = nearest_people(self.vectors[own], self.vectors[~own], numbers[~own], k)
            chosen = own | np.isin(numbers, others[scores.astype(np.float64) >= threshold])
        pairs = alike(self.vectors[chosen], numbers[chosen], k, threshold)
        if not (pairs := [pair for pair in pairs if name in (None, people[pair[0]], people[pair[1]])]):
            return []
        own = own_similarity(self.vectors, numbers, k)
        if len(own) and np.median(own) < threshold:
            # What does not know people again by most of their photos cannot tell whether two are one.
            return []
        least = np.quantile(own, LIKE_ONE) if len(own) else threshold
        return [
            f"{people[a]} and {people[b]} look like one person under two names (similarity {similarity:.2f})"
            for a, b, similarity in pairs
            if similarity >= least
        ]


def identify(
    gallery: Gallery, vectors: Vectors, k: int, threshold: float
) -> tuple[list[str | None], NDArray[np.float64]]:
    """Say whose faces these are.

    >>> names, similarity = identify(gallery, embedder(crops), k=5, threshold=0.34)

    Args:
        gallery: who is known.
        vectors: the faces, float32 (M, D), unit length.
        k: photos of a person that count, at most.
        threshold: the similarity from which on a face is given a name.

    Returns:
        M names, None for nobody known, and similarities float64 (M,) to the best person, named or not.

    Raises:
        InputError: the vectors have another length than the gallery's.
    """
    if vectors.shape[1] != gallery.vectors.shape[1]:
        raise InputError(f"vectors of {vectors.shape[1]} numbers do not fit a gallery of {gallery.vectors.shape[1]}")
    people = gallery.people
    best, scores = nearest_people(vectors, gallery.vectors, gallery.numbers, k, gallery.rough)
    similarity = scores.astype(np.float64)
    pairs = zip(best, similarity, strict=True)
    return [people[number] if number >= 0 and score >= threshold else None for number, score in pairs], similarity


def save_gallery(path: Path, gallery: Gallery, mode: int | None = None) -> None:
    """Write a gallery, whole or not at all, with the file mode ``mode`` if given."""
    vectors = np.ascontiguousarray(gallery.vectors, np.float32)
    about = {
        "names": gallery.names,
        "digests": gallery.digests,
        "describer": gallery.describer,
        "sha256": _checksum(vectors, gallery.names, gallery.digests),
    }
    # One entry: safetensors writes several in any order.
    content = save({"vectors": vectors}, {"gallery": json.dumps(about, ensure_ascii=False)})
    with replacing(path) as part:
        part.write_bytes(content)
        if mode is not None:
            part.chmod(mode)


def load_gallery(path: Path) -> Gallery:
    """Read what :func:`save_gallery` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such gallery: is its name right? 'sightline faces enrol --new' makes one, and 'dvc repro "
            "faces-infer' the one of a deployed model"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["gallery"])
            vectors = file.get_tensor("vectors")
        names, digests = tuple(map(str, about["names"])), tuple(map(str, about["digests"]))
        is_whole = vectors.ndim == 2 and vectors.dtype == np.float32 and len(vectors) == len(names) == len(digests)
        if not is_whole or about["sha256"] != _checksum(vectors, names, digests):
            raise ValueError("its checksum differs")
        return Gallery(vectors, names, digests, str(about["describer"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is damaged and was left as it is ({reason}): restore a copy of it") from None


def enrol_in(
    path: Path,
    name: str,
    vectors: Vectors,
    digests: Sequence[str],
    photos: Sequence[str],
    describer: str,
    k: int,
    threshold: float,
    *,
    is_new: bool = False,
) -> list[str]:
    """Add photos of a person to a gallery file.

    Args:
        path: the file.
        name, vectors, digests, photos, k, threshold: as :meth:`Gallery.enrol` takes them.
        describer: what made the vectors.
        is_new: make the file, which must not be there yet; without, it must be.

    Returns:
        What the user should know, see :meth:`Gallery.enrol`.

    Raises:
        InputError: as :func:`load_gallery` and :meth:`Gallery.enrol`, another describer made the gallery, the file is
            there or not against ``is_new``, or another process holds it; the file is as it was.
    """
    said: list[str] = []

    def change(gallery: Gallery) -> Gallery:
        if gallery.describer != describer:
            raise InputError(f"{path} holds vectors of another network: enrol everybody anew in another file")
        changed, messages = gallery.enrol(name, vectors, digests, photos, k, threshold)
        said.extend(messages)
        return changed

    _change(path, change, Gallery.empty(vectors.shape[-1], describer) if is_new else None)
    return said


def forget_in(path: Path, name: str) -> None:
    """Take a person out of a gallery file: the file that replaces it holds nothing of theirs.

    Raises:
        InputError: as :func:`load_gallery` and :meth:`Gallery.forget`, or another process holds the file, which is as
            it was.
    """
    _change(path, lambda gallery: gallery.forget(name))


def clean_name(name: str) -> str:
    """A name as it is kept: composed characters (NFC), no blanks at its ends.

    Raises:
        InputError: it is empty or has characters that are not printed.
    """
    cleaned = unicodedata.normalize("NFC", name).strip()
    if not cleaned or not cleaned.isprintable():
        raise InputError(f"{name!r} is no name: it must have letters, and no line breaks or control characters")
    return cleaned


def _change(path: Path, change: Callable[[Gallery], Gallery], start: Gallery | None = None) -> None:
    """Replace a gallery file by what ``change`` makes of it or, where there is none yet, of ``start``."""
    # A link stays one: it is the file behind it that must not hold what was taken out.
    path = path.resolve()
    if start is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.is_file():
        load_gallery(path)
    with _locked(path):
        # What a killed writer left: nobody else writes while the lock is held.
        for left in path.parent.glob(f".{glob.escape(path.stem)}.*.part{path.suffix}"):
            left.unlink()
        if start is not None and path.exists():
            raise InputError(f"{path} is there already: without --new people are added to it")
        found = load_gallery(path) if start is None else start
        # Whoever keeps others from reading these vectors goes on doing so.
        mode = path.stat().st_mode if start is None else None
        save_gallery(path, change(found), mode)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE)
    try:
        held = lock.acquire()
    except Timeout:
        raise InputError(
            f"{path} is being changed by another process, which holds {lock.lock_file}: nothing was changed, try again "
            "when that process has ended"
        ) from None
    with held:
        yield


def _checksum(vectors: Vectors, names: Sequence[str], digests: Sequence[str]) -> str:
    return sha256_of(vectors.tobytes(), repr(vectors.shape), *names, *digests)


def _listed(names: "Sequence[str] | set[str]") -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:5]) + (f" and {len(ordered) - 5} more" if len(ordered) > 5 else "")


PATIENCE = 5.0
"""Seconds for which a gallery that another process is changing is waited for."""
LIKE_ONE = 0.1
"""The share of photos that may be less like the others of their person than two people who look like one are alike."""
MANY = 4_000_000
"""Numbers in all, from which on rounding them once is soon paid back."""
