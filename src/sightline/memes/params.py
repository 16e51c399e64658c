"""The ``memes`` section of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sightline.params import Augment, Count, Fraction, Section, Share

Space = Literal["finetuned", "frozen"]
Scorer = Literal["msp", "max_logit", "energy", "knn", "mahalanobis", "vim", "knn_contrast"]

UNKNOWN = "unknown"
"""The folder, and the label, of pictures that show none of the classes."""


class Synthetic(Section):
    """The drawn data set."""

    pictures: Count
    unknown: Count
    later: Count
    seed: int = Field(ge=0)


class Official(Section):
    """Where the published set lies; a digest of null is recorded at the first download."""

    url: str
    digest: str | None


class Kinds(Section):
    """Which unknown pictures are near the classes: a table in the data folder, and what its column says of them.

    The table has a column ``file``, the path below the folder. Without the table all unknown pictures are of one kind.
    """

    table: str
    column: str
    near: tuple[str, ...]


class Data(Section):
    """Which pictures to use; ``later`` names the folder of the class that is to be added later, null for none."""

    source: Literal["synthetic", "path", "official"]
    path: Path
    later: str | None
    kinds: Kinds
    synthetic: Synthetic
    official: Official


class Samples(Section):
    """How pictures are shared out; near-duplicates of one another stay on one side."""

    seed: int = Field(ge=0)
    val_fraction: Fraction
    test_fraction: Fraction
    near_duplicate_bits: Annotated[int, Field(ge=0, le=32)]


class Probe(Section):
    """Logistic regression on frozen features; the inverse strengths ``c`` are tried by cross-validation on train."""

    c: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)


class Train(Section):
    """Linear probe, then fine-tuning from it with smaller rates in earlier layers; the same from scratch beside it.

    ``frozen_stages`` of the pretrained network, those nearest to the picture, stay as they are while it is fine-tuned;
    the head, which the probe has solved already, learns at ``head_factor`` of ``lr``. What is kept lies at ``blend`` of
    the way from the probe's weights to the trained ones.
    """

    backbone: str
    seed: int = Field(ge=0)
    folds: Count
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    lr: float = Field(gt=0)
    layer_decay: float = Field(gt=0, le=1)
    frozen_stages: int = Field(ge=0)
    head_factor: float = Field(gt=0)
    blend: Share
    weight_decay: float = Field(ge=0)
    warmup_epochs: float = Field(ge=0)
    label_smoothing: Share
    ema_decay: Share
    mixup_alpha: float = Field(ge=0)
    scratch_lr: float = Field(gt=0)
    probe: Probe
    augment: Augment


class Infer(Section):
    """How unknown pictures are told: what is tried on validation, and the share of known ones that is kept."""

    batch_size: Count
    mirror: bool
    keep: Fraction
    spaces: tuple[Space, ...] = Field(min_length=1)
    scorers: tuple[Scorer, ...] = Field(min_length=1)
    neighbours: tuple[Count, ...] = Field(min_length=1)
    vim_dimensions: Annotated[int, Field(ge=1)] | None


class Evaluate(Section):
    """How figures get their intervals."""

    resamples: Annotated[int, Field(ge=100)]
    seed: int = Field(ge=0)


class Explain(Section):
    """Whose labels are suspected, and how often the cure is tried."""

    seed: int = Field(ge=0)
    neighbours: Count
    suspects: Fraction
    folds: Annotated[int, Field(ge=2)]


class Luck(Section):
    """Tests of whether anything was learned."""

    seed: int = Field(ge=0)
    shuffles: Annotated[int, Field(ge=19)]
    shares: tuple[Share, ...] = Field(min_length=1)
    repeats: Count
    quality: Annotated[int, Field(ge=1, le=100)]
    resolution: Annotated[int, Field(ge=16)]


class Extend(Section):
    """Adding a class from few pictures."""

    seed: int = Field(ge=0)
    shots: tuple[Count, ...] = Field(min_length=1)
    repeats: Count
    projections: Count
    ridge: float = Field(gt=0)
    epochs: Count


class Memes(Section):
    """Everything that the task reads from params.yaml."""

    data: Data
    samples: Samples
    train: Train
    infer: Infer
    evaluate: Evaluate
    explain: Explain
    luck: Luck
    extend: Extend
