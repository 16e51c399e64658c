"""The ``faces`` section of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sightline.params import Augment, Count, Fraction, Section, Share

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
"""The labels of FER+ (Barsoum et al., ICMI 2016) without contempt, in its order."""


class Synthetic(Section):
    """The drawn data set: how many people of each role, and pictures of each."""

    people: Annotated[int, Field(ge=2)]
    photos: Annotated[int, Field(ge=2)]
    strangers: Annotated[int, Field(ge=2)]
    stranger_photos: Count
    groups: Count
    empty: Count
    emotions: Count
    seed: int = Field(ge=0)


class Official(Section):
    """Labeled Faces in the Wild (Huang et al., 2007), the funneled archive that scikit-learn fetches.

    People with at least ``min_photos`` photos are enrolled, at most ``max_people`` of them; of the others at most
    ``max_strangers`` are strangers. ``digest`` is the archive's SHA-256; null until it is known.
    """

    url: str
    digest: str | None
    min_photos: Annotated[int, Field(ge=2)]
    max_people: Annotated[int, Field(ge=2)]
    max_strangers: Count


class Data(Section):
    """Which photos to use."""

    source: Literal["synthetic", "path", "official"]
    path: Path
    synthetic: Synthetic
    official: Official


class Detect(Section):
    """MTCNN: ``score`` is that of its last stage, ``min_face`` the shortest side of a face in px that it looks for.

    Photos of one person with a shorter side below ``whole_below`` px are taken for a face that was cut out already.
    Photos whose perceptual hashes differ in ``near_duplicate_bits`` or fewer are not used on both sides of a split.
    """

    score: Fraction
    min_face: Annotated[int, Field(ge=12)]
    whole_below: int = Field(ge=0)
    near_duplicate_bits: Annotated[int, Field(ge=0, le=32)]


class Embedding(Section):
    """A pretrained face network: ``weights`` is a folder with it (ONNX or safetensors) and its settings, or nothing."""

    weights: Path


class Network(Section):
    """How a network of our own is trained on aligned faces, for identities or for emotions."""

    width: Count
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_epochs: float = Field(ge=0)
    label_smoothing: Share
    ema_decay: Share
    mixup_alpha: float = Field(ge=0)


class Identity(Section):
    """Who is enrolled, from how many photos, and how strangers are told.

    ``enrolled`` names people of the gallery, null for all; the gallery's other people are strangers. ``val_people`` is
    the share of the strangers whose photos choose the threshold and who appear nowhere else; ``false_accepts`` the
    share of strangers' faces, estimated from them, that a threshold may let through at the least careful.
    """

    enrolled: tuple[str, ...] | None
    photos: Annotated[int, Field(ge=2)]
    neighbours: Count
    val_people: Fraction
    false_accepts: Fraction
    seed: int = Field(ge=0)
    network: Network


class Emotion(Section):
    """Pretrained networks for emotions (a folder of ONNX files and their settings, or nothing), or how to train one.

    ``trust`` is how much a face counts by the source of its label when networks are calibrated: 1 where none is named.
    """

    weights: Path
    trust: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    val_fraction: Fraction
    test_fraction: Fraction
    seed: int = Field(ge=0)
    network: Network


class Infer(Section):
    """``method`` is what identifies when deployed: null for the best on validation."""

    method: Literal["knn", "cnn", "embedding"] | None


class Evaluate(Section):
    """How figures get their intervals; ``iou`` is the overlap from which a found face is the true one."""

    iou: Fraction
    resamples: Annotated[int, Field(ge=100)]
    seed: int = Field(ge=0)


class Faces(Section):
    """Everything that the task reads from params.yaml."""

    data: Data
    detect: Detect
    embedding: Embedding
    augment: Augment
    identity: Identity
    emotion: Emotion
    infer: Infer
    evaluate: Evaluate
