"""The ``parts`` section of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sightline.params import Fraction, Section


class Synthetic(Section):
    """The drawn videos: seconds of each split, and what falls in them.

    ``parts_per_second`` start to fall, ``nuts`` of them are nuts, the others bolts.
    """

    train_seconds: float = Field(gt=0)
    val_seconds: float = Field(gt=0)
    test_seconds: float = Field(gt=0)
    size: Annotated[int, Field(ge=64, multiple_of=2)]
    fps: Annotated[int, Field(ge=1)]
    parts_per_second: float = Field(gt=0)
    nuts: Fraction
    seed: int = Field(ge=0)


class Official(Section):
    """The published challenge; ``digest`` is the archive's SHA-256, null until it is known."""

    url: str
    digest: str | None


class Data(Section):
    """Which videos to use. ``first_image_id`` is the ``image_id`` that annotations give to the first frame."""

    source: Literal["synthetic", "path", "official"]
    path: Path
    first_image_id: Annotated[int, Field(ge=0)]
    synthetic: Synthetic
    official: Official


class Audit(Section):
    """How annotations are checked: a frame offset of up to ``max_shift`` frames either way is looked for."""

    max_shift: Annotated[int, Field(ge=1, le=30)]


class Parts(Section):
    """All parameters of this task."""

    data: Data
    audit: Audit
