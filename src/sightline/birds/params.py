"""The ``birds`` section of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sightline.params import Count, Fraction, Section, Share

Crop = Literal["box", "full"]


class Synthetic(Section):
    """The drawn data set."""

    species: Annotated[int, Field(ge=4)]
    photos: Count
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _every_species_has_photos(self) -> Self:
        if self.photos < 2 * self.species:
            raise ValueError("photos must be at least twice species: a photo needs another of its kind to find")
        return self


class Official(Section):
    """Where the published set lies; a digest of null is recorded at the first download."""

    url: str
    digest: str | None


class Data(Section):
    """Which photos to use."""

    source: Literal["synthetic", "path", "official"]
    path: Path
    synthetic: Synthetic
    official: Official


class Eda(Section):
    """How the photos are looked at before anything is learned from them."""

    near_duplicate_bits: Annotated[int, Field(ge=0, le=32)]
    sample: Count


class Split(Section):
    """Which classes train; with null the first half of those that there are, by class id."""

    last_train_class: int | None


class Embed(Section):
    """Which networks describe the photos, and what of a photo they see."""

    backbones: tuple[str, ...] = Field(min_length=1)
    crops: tuple[Crop, ...] = Field(min_length=1)
    batch_size: Count

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.backbones)) < len(self.backbones) or len(set(self.crops)) < len(self.crops):
            raise ValueError("a backbone or a crop is listed twice")
        return self


class Whiten(Section):
    """PCA whitening: what is tried on held-out train classes."""

    dimensions: tuple[Count, ...] = Field(min_length=1)
    powers: tuple[Share, ...] = Field(min_length=1)


class Discriminant(Section):
    """Within-class whitening with stress on what tells classes apart: what is tried on held-out train classes."""

    shrinkages: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    emphases: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1)


class ProxyAnchor(Section):
    """A linear projection trained with the Proxy-Anchor loss (Kim et al., CVPR 2020), from one discriminant on."""

    shrinkage: float = Field(gt=0)
    emphasis: float = Field(ge=0)
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    lr: float = Field(gt=0)
    alpha: float = Field(gt=0)
    margin: float = Field(ge=0)


class Project(Section):
    """What the train classes alone add to frozen features."""

    val_share: Fraction
    whiten: Whiten
    discriminant: Discriminant
    proxy_anchor: ProxyAnchor
    seed: int = Field(ge=0)


class Evaluate(Section):
    """How figures get their intervals, and whose stand at the top of metrics.json."""

    resamples: Annotated[int, Field(ge=100)]
    seed: int = Field(ge=0)
    primary: str
    baselines: tuple[str, ...]
    clusters_restarts: Count


class Birds(Section):
    """Everything that the task reads from params.yaml."""

    data: Data
    eda: Eda
    split: Split
    embed: Embed
    project: Project
    evaluate: Evaluate

    @model_validator(mode="after")
    def _primary_is_embedded(self) -> Self:
        variants = [f"{backbone}-{crop}" for backbone in self.embed.backbones for crop in self.embed.crops]
        if self.evaluate.primary not in variants:
            raise ValueError(f"evaluate.primary must be one of {', '.join(variants)}")
        known = [PIXELS, *variants]
        if not set(self.evaluate.baselines) <= set(known) - {self.evaluate.primary}:
            raise ValueError(f"evaluate.baselines must be some of {', '.join(known)}, and not evaluate.primary")
        return self


PIXELS = "pixels-box"
"""The raw-pixel baseline, which is always there."""
