"""The ``minerals`` section of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sightline.params import Augment, Count, Fraction, Section, Share

SIDE = Annotated[int, Field(ge=32, le=512)]


class Official(Section):
    """Where the published set lies; a digest of null is recorded at the first download."""

    url: str
    digest: str | None
    examples: str
    examples_digest: str | None


class Synthetic(Section):
    """The drawn data set."""

    photos: Annotated[int, Field(ge=14)]
    seed: int = Field(ge=0)


class Data(Section):
    """Which photos to use."""

    source: Literal["synthetic", "path", "official"]
    path: Path
    classes: tuple[str, ...] = Field(min_length=2)
    synthetic: Synthetic
    official: Official

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is listed twice")
        if NONE in self.classes:
            raise ValueError(f"'{NONE}' is not a class: it is what the network says of patches without one")
        return self


class PerSplit(Section):
    """A number for each split."""

    train: Count
    val: Count
    test: Count


class Negatives(Section):
    """Patches that show none of the classes."""

    per_positive: float = Field(ge=0, le=10)
    max_iou: Share
    max_covered: Share
    max_filled: Share
    near_share: Share
    busy_share: Share

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.near_share + self.busy_share > 1:
            raise ValueError("near_share and busy_share must not exceed 1 together: the rest lies anywhere")
        return self


class Patches(Section):
    """How patches are cut from photos and shared out among the splits."""

    patch_size: SIDE
    seed: int = Field(ge=0)
    val_fraction: Fraction
    test_fraction: Fraction
    near_duplicate_bits: Annotated[int, Field(ge=0, le=32)]
    per_box: PerSplit
    examples: int = Field(ge=0)
    min_iou: Fraction
    negatives: Negatives

    @model_validator(mode="after")
    def _bands_and_splits(self) -> Self:
        if self.negatives.max_iou >= self.min_iou:
            raise ValueError("negatives.max_iou must lie below min_iou: between them is the band that is ignored")
        if self.val_fraction + self.test_fraction >= 0.9:
            raise ValueError("val_fraction and test_fraction leave too little for training")
        return self


class MixingAugment(Augment):
    """How training patches are varied, mixing them with one another included; alphas of 0: no mixing."""

    mixup_alpha: float = Field(ge=0)
    cutmix_alpha: float = Field(ge=0)


class Network(Section):
    """The shape of our own network, see ``model.py``."""

    width: Count
    dropout: Share
    drop_path: Share
    depth: Count


class Memory(Section):
    """What the network remembers of its training patches, see ``memory.py``."""

    exemplars: Count
    ridge: float = Field(gt=0)


class Train(Section):
    """How the network is trained."""

    seed: int = Field(ge=0)
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    crop_size: SIDE
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_epochs: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    ema_decay: float = Field(ge=0, lt=1)
    none_share: Share
    network: Network
    memory: Memory
    augment: MixingAugment


class Infer(Section):
    """How the trained network is deployed."""

    max_error: Fraction
    confidence: Fraction
    mirror: bool
    batch_size: Count


class Evaluate(Section):
    """How figures get their intervals."""

    resamples: Annotated[int, Field(ge=100)]
    seed: int = Field(ge=0)


class Minerals(Section):
    """Everything that the task reads from params.yaml."""

    data: Data
    patches: Patches
    train: Train
    infer: Infer
    evaluate: Evaluate


NONE = "none of them"
"""The name of the extra output for patches without a mineral."""
