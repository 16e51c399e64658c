"""A pretrained face network: from aligned crops to unit vectors whose cosine says how alike two faces are.

Its weights are an ONNX file, or a safetensors file of a timm architecture; how it wants its pictures stands in a JSON
file of the same stem in the same folder. What is deployed is a folder with ``model.onnx`` and ``config.json``.

    embedder = Embedder.open(Path("models/faces/identity/embedding"))
    vectors = embedder(crops)  # uint8 RGB (N, 144, 144, 3) to float32 (N, D)
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from sightline.core.errors import InputError
from sightline.core.files import read_json, write_json
from sightline.core.images import Pixels
from sightline.core.serving import open_session
from sightline.faces.neighbours import CROP, Vectors, centre, unit
from sightline.params import Section

Size = tuple[Annotated[int, Field(ge=1, le=CROP)], Annotated[int, Field(ge=1, le=CROP)]]
Offset = tuple[Annotated[int, Field(ge=0, lt=CROP)], Annotated[int, Field(ge=0, lt=CROP)]]
Positive = Annotated[float, Field(gt=0)]
EXAMPLE = '{"size": [112, 112], "offset": [0, 0], "colour": "RGB", "mean": 127.5, "std": 128, "mirror": true}'


class Settings(Section):
    """How a face network wants its pictures.

    ``size`` is (height, width) of its input in px and ``offset`` (down, right) where that window begins in the 112 px
    crop; ``mean`` is taken off the pixels (0 to 255) and the rest divided by ``std``, one number or one a channel in
    the order of ``colour`` (0 and 1 for a network that does it itself). ``mirror`` averages a face and its mirror
    image. ``architecture`` (a timm name) and ``arguments`` build the network of a safetensors file.
    """

    size: Size
    offset: Offset = (0, 0)
    colour: Literal["RGB", "BGR"]
    mean: float | tuple[float, float, float]
    std: Positive | tuple[Positive, Positive, Positive]
    mirror: bool = True
    architecture: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)

    def inputs(self, crops: Pixels) -> NDArray[np.float32]:
        """The network's input float32 (N, 3, h, w) of aligned crops, uint8 RGB (N, S, S, 3)."""
        (height, width), (top, left) = self.size, self.offset
        window = centre(crops)[:, top : top + height, left : left + width]
        if self.colour == "BGR":
            window = window[..., ::-1]
        normalised = (window - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2), np.float32)


class Embedder:
    """Runs a face network by ONNX Runtime on the CPU.

    Args:
        path: the ONNX file; one input (B, 3, h, w) float32, B free or 1, whose first output is (B, D).
        settings: how it wants its pictures.
        threads: that compute; 0 for as many as there are cores.

    Raises:
        InputError: the file cannot be loaded, or does not fit the settings.
    """

    def __init__(self, path: Path, settings: Settings, threads: int = 1) -> None:
        self.session = open_session(path, threads)
        self.settings = settings
        self.input = self.session.get_inputs()[0]
        fixed = self.input.shape[0] if self.input.shape else None
        self.batch_size = fixed if isinstance(fixed, int) else BATCH
        blank = np.zeros((self.batch_size, CROP, CROP, 3), np.uint8)
        try:
            shape = self._run(settings.inputs(blank)).shape
        except Exception as error:  # noqa: BLE001 - as above
            reason = " ".join(str(error).split())
            raise InputError(f"{path} does not take pictures of size {list(settings.size)}: {reason}") from None
        if len(shape) != 2 or shape[0] != self.batch_size:
            raise InputError(f"{path} gives {shape} for {self.batch_size} faces: a face network gives one vector each")
        self.dimensions = int(shape[1])

    @classmethod
    def open(cls, folder: Path, threads: int = 1) -> "Embedder":
        """Load what :func:`deploy` wrote.

        Raises:
            InputError: the folder holds no face network.
        """
        try:
            settings = Settings.model_validate(read_json(folder / "config.json")["preprocessing"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder} holds no face network: {' '.join(str(error).split())}") from None
        return cls(folder / "model.onnx", settings, threads)

    def __call__(self, crops: Pixels) -> Vectors:
        """Unit vectors float32 (N, D) of aligned crops, uint8 RGB (N, S, S, 3), S at least 112.

        Raises:
            InputError: the network gives what is no number.
        """
        vectors = np.zeros((len(crops), self.dimensions), np.float32)
        for start in range(0, len(crops), self.batch_size):
            faces = self.settings.inputs(np.asarray(crops[start : start + self.batch_size]))
            count = len(faces)
            # Always whole batches: the kernels that a runtime chooses, and with them the last digits, depend on the
            # batch, and a face must get the same vector alone and among others.
            faces = np.concatenate([faces, np.zeros((self.batch_size - count, *faces.shape[1:]), np.float32)])
            found = self._run(faces)[:count]
            if self.settings.mirror:
                found = found + self._run(np.ascontiguousarray(faces[..., ::-1]))[:count]
            vectors[start : start + count] = found
        if not np.isfinite(vectors).all():
            raise InputError("the face network gives what is no number: are its weights and their settings right?")
        return unit(vectors)

    def _run(self, faces: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.session.run(None, {self.input.name: faces})[0])


def read_settings(weights: Path) -> Settings:
    """Read the JSON file beside ``weights``.

    Raises:
        InputError: the weights are of no known kind, or the JSON file is missing or wrong; the message has an example.
    """
    if weights.suffix not in (".onnx", ".safetensors"):
        raise InputError(f"faces.embedding.weights is {weights}: an .onnx or a .safetensors file is needed")
    path = weights.with_suffix(".json")
    try:
        settings = Settings.model_validate(read_json(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: it says how {weights.name} wants its pictures, e.g. {EXAMPLE}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}), e.g. {EXAMPLE}") from None
    except (ValidationError, UnicodeDecodeError) as error:
        reasons = _reasons(error) if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{path}: {reasons}; e.g. {EXAMPLE}") from None
    (height, width), (top, left) = settings.size, settings.offset
    if top + height > CROP or left + width > CROP:
        raise InputError(f"{path}: a window of {height} x {width} px at {top}, {left} leaves the {CROP} px crop")
    if weights.suffix == ".safetensors" and not settings.architecture:
        raise InputError(f"{path} lacks 'architecture', the timm name of the network in {weights.name}")
    return settings


def deploy(weights: Path, folder: Path) -> Embedder:
    """Copy a face network to ``folder`` as ``model.onnx``, with its settings in ``config.json``, and load it.

    Raises:
        InputError: the weights or their settings are wrong.
    """
    settings = read_settings(weights)
    folder.mkdir(parents=True, exist_ok=True)
    if weights.suffix == ".onnx":
        shutil.copyfile(weights, folder / "model.onnx")
    else:
        _convert(weights, settings, folder / "model.onnx")
    write_json(folder / "config.json", {"preprocessing": settings.model_dump(mode="json")})
    return Embedder(folder / "model.onnx", settings)


def _convert(weights: Path, settings: Settings, path: Path) -> None:
    # Only here: who runs the network needs none of them.
    import timm
    from safetensors.torch import load_file

    from sightline.core.deploy import export_onnx

    name = settings.architecture or ""
    try:
        network = timm.create_model(name, pretrained=False, **{"num_classes": 0, **settings.arguments})
        network.load_state_dict(load_file(weights))
    except Exception as error:  # noqa: BLE001 - timm, torch and safetensors raise almost anything
        reason = " ".join(str(error).split())
        raise InputError(f"{weights} is no '{name}' with {settings.arguments}: {reason}") from None
    noise = np.random.default_rng(0).integers(0, 256, (4, CROP, CROP, 3), dtype=np.uint8)
    sample: Any = settings.inputs(noise)
    export_onnx(network, path, sample, outputs=("vectors",))


def _reasons(error: ValidationError) -> str:
    issues: Sequence[Any] = error.errors()
    return "; ".join(f"'{'.'.join(map(str, issue['loc']))}': {issue['msg'].lower()}" for issue in issues)


BATCH = 4
