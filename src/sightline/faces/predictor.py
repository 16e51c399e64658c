"""The deployed predictor: a photo in; its faces, whose they are and how they seem to feel out. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.images import Pixels, UnreadableImageError, pixel_digest, read_image
from sightline.faces.alignment import SIZE, align
from sightline.faces.feelings import load_emotion
from sightline.faces.gallery import enrol_in, forget_in, load_gallery
from sightline.faces.identity import BY_GALLERY, open_method
from sightline.faces.mtcnn import POINTS, Detections, Detector
from sightline.faces.params import EMOTIONS

ENROLLING = (
    "add photos to the data set's gallery and run 'dvc repro', which trains it again; or deploy a method that enrols "
    "without training by 'dvc exp run -S faces.infer.method=knn faces-infer' (or =embedding, if that was trained)"
)
FORGETTING = (
    "delete their photos from the data set, run 'dvc repro', which trains it again, and then 'dvc gc --workspace'"
)


@dataclass(frozen=True)
class Face:
    """What is said of one face; places are in px of the upright photo.

    Attributes:
        box_xyxy: left, top, right, bottom; it may reach beyond the photo's sides.
        landmarks: x and y of each of :data:`~sightline.faces.mtcnn.POINTS`.
        score: of the detection, from 0 to 1.
        name: who it is, None for nobody known.
        similarity: to the person most alike, named or not; None where nobody is enrolled.
        emotions: the probability of each emotion.
    """

    box_xyxy: tuple[float, ...]
    landmarks: tuple[tuple[float, float], ...]
    score: float
    name: str | None
    similarity: float | None
    emotions: dict[str, float]

    @property
    def emotion(self) -> str:
        """The likeliest."""
        return max(self.emotions, key=self.emotions.__getitem__)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: places to a hundredth of a px; the distance is 1 less the similarity."""
        points = ([round(value, 2) for value in point] for point in self.landmarks)
        return {
            "box": [round(value, 2) for value in self.box_xyxy],
            "landmarks": dict(zip(POINTS, points, strict=True)),
            "score": round(self.score, 6),
            "name": self.name,
            "distance": None if self.similarity is None else round(1 - self.similarity, 6),
            "emotion": self.emotion,
            "probabilities": {emotion: round(share, 6) for emotion, share in self.emotions.items()},
        }


class FacesPredictor:
    """Finds, identifies and reads faces with a deployed model; may be used by several threads at once.

    >>> predictor = FacesPredictor(Path("models/faces/deployed"))
    >>> [(face.name, face.emotion) for face in predictor.look(read_image(Path("group.jpg")))]
    [('anna', 'happiness'), (None, 'neutral')]

    Args:
        deployed: the folder that ``faces-infer`` writes.
        gallery: a gallery file instead of the one in that folder.
        threads: of ONNX Runtime; 0 for as many as there are cores.

    Raises:
        InputError: the folder or the gallery is missing, damaged or of another kind.
    """

    def __init__(self, deployed: Path, gallery: Path | None = None, threads: int = 0) -> None:
        config = read_config(deployed)
        self.detector = Detector.from_folder(deployed / "detector", threads)
        method = open_method(deployed / "identity", threads)
        self.method = replace(method, threshold=float(config["threshold"]["value"]))
        # A network that was trained on people has no gallery; one that is asked for is refused.
        has_one = gallery is not None or self.method.name in BY_GALLERY
        self.gallery = load_gallery(gallery_file(deployed, gallery)) if has_one else None
        if self.gallery is not None and self.gallery.describer != self.method.describer:
            raise InputError(
                f"{gallery_file(deployed, gallery)} was made by another model than {deployed}: enrol its people anew"
            )
        self.read_emotion = load_emotion(deployed / "emotion", threads)

    def look(self, image: Pixels) -> list[Face]:
        """The faces of a photo, (H, W, 3) uint8 RGB, by descending detection score."""
        found = self.detector.detect(image)
        if not len(found):
            return []
        crops = cut(image, found)
        names, similarity = self.method.identify(crops, self.gallery)
        shares = self.read_emotion(crops).astype(np.float64)
        nobody = self.gallery is not None and not len(self.gallery)
        return [
            Face(
                tuple(map(float, found.boxes_xyxy[row])),
                tuple((float(x), float(y)) for x, y in found.landmarks[row]),
                float(found.scores[row]),
                names[row],
                None if nobody else float(similarity[row]),
                dict(zip(EMOTIONS, map(float, shares[row]), strict=True)),
            )
            for row in range(len(found))
        ]


def answer(image: Pixels, faces: Sequence[Face]) -> dict[str, Any]:
    """What is said of a photo, as JSON has it."""
    return {"width": image.shape[1], "height": image.shape[0], "faces": [face.as_dict() for face in faces]}


def cut(image: Pixels, found: Detections) -> Pixels:
    """The faces found in a photo, aligned, uint8 RGB (N, 144, 144, 3)."""
    crops = np.empty((len(found), SIZE, SIZE, 3), np.uint8)
    for row, landmarks in enumerate(found.landmarks):
        crops[row] = align(image, landmarks)
    return crops


def enrol(
    deployed: Path, gallery: Path | None, name: str, photos: Sequence[Path], *, is_new: bool = False
) -> list[str]:
    """Add a person's photos, each with exactly one face, to the gallery file: all of them, or none.

    Args:
        deployed: the folder that ``faces-infer`` writes.
        gallery: a gallery file instead of the one in that folder.
        name: the person, who may be there already.
        photos: files.
        is_new: make the gallery file, which must not be there yet; without, it must be.

    Returns:
        What the user should know: photos enrolled before, a person enrolled under two names.

    Raises:
        InputError: a photo cannot be read, shows no face or several, or as
            :func:`sightline.faces.gallery.enrol_in`; the gallery is as it was.
    """
    path = gallery_file(deployed, gallery)
    if not photos:
        raise InputError(f"no photo of {name} to enrol")
    detector = Detector.from_folder(deployed / "detector")
    method = open_method(deployed / "identity")
    threshold = float(read_config(deployed)["threshold"]["value"])
    crops, unfit = [], []
    for photo in photos:
        try:
            image = read_image(photo)
        except UnreadableImageError as error:
            unfit.append(str(error))
            continue
        found = detector.detect(image)
        if len(found) == 1:
            crops.append(cut(image, found)[0])
        else:
            unfit.append(f"{photo} shows {len(found) or 'no'} face{'s' * (len(found) > 1)}")
    if unfit:
        raise InputError(f"{'; '.join(unfit)}: nobody was enrolled, each photo must show one face, that of {name}")
    assert method.describe is not None
    vectors, digests = method.describe(np.stack(crops)), [pixel_digest(crop) for crop in crops]
    titles = [str(photo) for photo in photos]
    neighbours, describer = method.neighbours, method.describer
    return enrol_in(path, name, vectors, digests, titles, describer, neighbours, threshold, is_new=is_new)


def forget(deployed: Path, gallery: Path | None, name: str) -> Path:
    """Take a person out of the gallery file, which is returned: of a file that is named, whatever is deployed.

    Raises:
        InputError: nobody of that name is enrolled, the gallery is missing or damaged, another process holds it, or
            it is that of ``cnn``, which has none.
    """
    path = gallery or gallery_file(deployed, advice=FORGETTING)
    forget_in(path, name)
    return path


def gallery_file(deployed: Path, gallery: Path | None = None, advice: str = ENROLLING) -> Path:
    """The file that a deployed method compares faces with: ``gallery``, or the one in the deployed folder.

    Raises:
        InputError: the deployed method is ``cnn``, which knows the people it was trained on (``advice`` says what to do
            then), or the folder holds no model.
    """
    if read_config(deployed)["method"] not in BY_GALLERY:
        raise InputError(
            f"{deployed} identifies by 'cnn', a network that knows the people whom it was trained on and has no "
            f"gallery: {advice}"
        )
    return gallery or deployed / "gallery.safetensors"


def people(deployed: Path, gallery: Path | None = None) -> dict[str, int | None]:
    """Who can be identified, sorted, with the number of enrolled photos; None for ``cnn``, which has none.

    Raises:
        InputError: the gallery is missing or damaged or, where none is named, the folder holds no deployed model.
    """
    if gallery is None and read_config(deployed)["method"] not in BY_GALLERY:
        return dict.fromkeys(open_method(deployed / "identity").people)
    found = load_gallery(gallery or gallery_file(deployed))
    return {name: found.names.count(name) for name in found.people}


def read_config(deployed: Path) -> dict[str, Any]:
    """What ``faces-infer`` notes of the deployed model.

    Raises:
        InputError: the folder holds none.
    """
    try:
        config: dict[str, Any] = read_json(deployed / "config.json")
    except FileNotFoundError:
        raise InputError(f"{deployed} holds no deployed model: run 'dvc repro faces-infer' or 'dvc pull'") from None
    except ValueError as error:
        raise InputError(f"{deployed / 'config.json'} is not valid JSON: {error}") from None
    task = config.get("task") if isinstance(config, dict) else None
    if task != "faces":
        raise InputError(f"{deployed} holds a model of task {task!r}, not of 'faces'")
    if missing := [name for name in ("method", "threshold") if name not in config]:
        raise InputError(f"{deployed / 'config.json'} lacks {', '.join(missing)}: run 'dvc repro faces-infer'")
    return config
