"""Typed parameters: every section of params.yaml is checked before any work starts.

Each task describes its own section in ``sightline/<task>/params.py`` with models derived from :class:`Section`; this
module knows how to read them, the two sections that belong to no task, and what several tasks share.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sightline.core.errors import InputError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A section of params.yaml: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Compute(Section):
    """What the arithmetic runs on. Part of the result: another value gives other weights."""

    threads: Count
    accelerator: Literal["cpu", "gpu", "mps"]
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]


class Runtime(Section):
    """How the machine is used. Never part of a result, so no stage depends on it."""

    workers: int = Field(ge=0)


class Augment(Section):
    """How training pictures are varied, see :class:`sightline.core.augment.Augmentation`."""

    crop_area: tuple[Share, Share]
    aspect: float = Field(ge=1)
    rotate: float = Field(ge=0, le=180)
    flip: Share
    flip_vertical: Share = 0
    brightness: Share
    contrast: Share
    saturation: Share
    hue: float = Field(ge=0, le=0.5)
    grayscale: Share = 0
    blur: Share = 0
    erase: Share = 0

    @model_validator(mode="after")
    def _crops_have_an_area(self) -> Self:
        if not 0 < self.crop_area[0] <= self.crop_area[1]:
            raise ValueError("crop_area must be the smallest and the largest share, both above 0")
        return self


S = TypeVar("S", bound=Section)


def load(name: str, model: type[S], path: Path = Path("params.yaml")) -> S:
    """Read and check the section ``name`` of the parameter file.

    Raises:
        InputError: the file is missing or not YAML, the section is missing, a key is unknown or a value is bad; the
            message names every culprit by its dotted name.
    """
    try:
        tree = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: stages run from the repository's root") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict) or name not in tree:
        raise InputError(f"{path} has no section '{name}'")
    try:
        return model.model_validate(tree[name])
    except ValidationError as error:
        raise InputError(f"{path}: " + "; ".join(_describe(name, issue) for issue in error.errors())) from None


def _describe(section: str, issue: Any) -> str:
    where = ".".join([section, *map(str, issue["loc"])])
    if issue["type"] == "extra_forbidden":
        return f"unknown parameter '{where}'"
    if issue["type"] == "missing":
        return f"parameter '{where}' is missing"
    if issue["type"] == "value_error":
        # From a validator of a whole section, which is too long to be shown.
        return f"parameter '{where}': {issue['ctx']['error']}"
    return f"parameter '{where}': {issue['msg'][0].lower()}{issue['msg'][1:]} (it is {issue['input']!r})"
