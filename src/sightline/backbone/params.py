"""The ``backbone`` section of params.yaml."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sightline.params import Augment, Count, Fraction, Section

SIDE = Annotated[int, Field(ge=32, le=512)]
RGB = tuple[float, float, float]


class Network(Section):
    """One pretrained network.

    ``architecture`` is a timm name, with its tag for source 'imagenet'; ``arguments`` go to ``timm.create_model``.
    ``mean`` and ``std`` default to timm's for the architecture; ``revision`` and ``digest`` (SHA-256) pin what source
    'imagenet' downloads.
    """

    source: Literal["imagenet", "path", "procedural", "random"]
    architecture: str
    path: Path
    image_size: SIDE
    arguments: dict[str, Any] = Field(default_factory=dict)
    mean: RGB | None = None
    std: RGB | None = None
    revision: str = "main"
    digest: str | None = None


class Procedural(Section):
    """The drawn pictures, and how a network is trained to tell their classes apart.

    ``things`` and ``worlds`` are the numbers of classes of the two kinds: the same object in every picture, and the
    same style. ``scale`` is the factor of the cosines that are the network's logits.
    """

    things: Annotated[int, Field(ge=0)]
    worlds: Annotated[int, Field(ge=0)]
    pictures: Annotated[int, Field(ge=4)]
    val_share: Fraction
    image_size: SIDE
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    crop_size: SIDE
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_epochs: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    ema_decay: float = Field(ge=0, lt=1)
    scale: float = Field(gt=0)
    augment: Augment

    @property
    def classes(self) -> int:
        """How many classes there are in all."""
        return self.things + self.worlds

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.classes < 8:
            raise ValueError(f"things and worlds: {self.classes} classes are too few to learn from, 8 are the least")
        return self


class Backbone(Section):
    """Everything that the stage reads from params.yaml."""

    seed: int = Field(ge=0)
    networks: dict[str, Network] = Field(min_length=1)
    procedural: Procedural
