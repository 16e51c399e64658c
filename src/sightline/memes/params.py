"""The ``memes`` section of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sightline.params import Section

Pictures = Annotated[int, Field(ge=20)]


class Synthetic(Section):
    """The drawn data set: pictures of each of the two games, of neither, and of the game that is added later."""

    per_class: Pictures
    unknown: Pictures
    later: Pictures
    seed: int = Field(ge=0)


class Official(Section):
    """Where the published set lies; a digest of null is recorded at the first download."""

    url: str
    digest: str | None


class Data(Section):
    """Which pictures to use."""

    source: Literal["synthetic", "path", "official"]
    path: Path
    synthetic: Synthetic
    official: Official


class Memes(Section):
    """All parameters of the task."""

    data: Data
