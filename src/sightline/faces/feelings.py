"""Which of seven emotions a face shows: one network or a panel of several, as ``faces-emotion`` left them; no torch.

A face comes as the aligned crop of 144 px that ``faces-detect`` cuts, with 16 px of margin around the 112 px that
ArcFace networks see. Networks for emotions learned from other framings, so each says in its settings which window of
the crop it wants to see.

>>> read_emotion = load_emotion(Path("models/faces/emotion"))
>>> probabilities = read_emotion(crops)  # crops: uint8 RGB (N, 144, 144, 3)
>>> EMOTIONS[probabilities[0].argmax()]
'happiness'
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from scipy import special

from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.images import Pixels
from sightline.core.serving import OnnxNetwork
from sightline.faces.params import EMOTIONS
from sightline.params import Count, Section

FloatArray = NDArray[np.float64]
Channels = float | tuple[float, float, float]
Window = tuple[int, int, int, int]

CROP_SIZE = 144
FACE_WINDOW: Window = (24, 32, 120, 128)
"""Left, top, right and bottom, in px of the crop, of what a FER2013 picture shows of a face.

The five landmarks that MTCNN finds in 915 of those 48 px pictures put their sides at 95.3 px and their centres at
(71.1, 78.9) of the aligned crop. At 96 px a picture that was cut out already is exactly doubled.
"""


class Settings(Section):
    """How a pretrained network wants its faces, and what its outputs are: the JSON file beside an ONNX file.

    Attributes:
        size: side in px of the square that the network sees.
        colour: the order of its channels; a grey picture is repeated where the network takes three channels.
        window: the part of the aligned 144 px crop that is resized to ``size``: left, top, right, bottom; a square.
        resize: how, where ``size`` is another.
        mean: subtracted from pixels between 0 and 255, one number or one a channel, in the network's order.
        std: what the difference is divided by, likewise.
        output: the name of the graph's output.
        gives: what that output is.
        classes: the emotion that each number of the output stands for; null for one that none of the seven is
            (contempt), which is left out.
    """

    size: Count
    colour: Literal["RGB", "BGR", "grey"]
    window: Window = FACE_WINDOW
    resize: Literal["linear", "cubic", "area"] = "linear"
    mean: Channels = 0.0
    std: Channels = 1.0
    output: Annotated[str, Field(min_length=1)]
    gives: Literal["probabilities", "logits"]
    classes: tuple[str | None, ...]

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        if strange := [name for name in self.classes if name is not None and name not in EMOTIONS]:
            raise ValueError(
                f"classes has {', '.join(strange)}; the emotions are {', '.join(EMOTIONS)} (null: another)"
            )
        if missing := [name for name in EMOTIONS if self.classes.count(name) != 1]:
            raise ValueError(f"classes must name each emotion once, unlike {', '.join(missing)}")
        left, top, right, bottom = self.window
        if not (0 <= left < right <= CROP_SIZE and 0 <= top < bottom <= CROP_SIZE and right - left == bottom - top):
            raise ValueError(
                f"window {list(self.window)} must be left, top, right, bottom of a square within {CROP_SIZE} px"
            )
        if np.min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


def read_settings(path: Path) -> Settings:
    """Read the settings of a network.

    Raises:
        InputError: the file is missing, not JSON, or says something that cannot be; the message names it.
    """
    try:
        return Settings.model_validate(read_json(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: it says how the network beside it wants its faces") from None
    except ValidationError as error:
        raise InputError(f"{path}: " + "; ".join(_describe(issue) for issue in error.errors())) from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None


def _describe(issue: Any) -> str:
    if issue["type"] == "value_error":
        return str(issue["ctx"]["error"])
    message = f"{issue['msg'][0].lower()}{issue['msg'][1:]}"
    return f"{'.'.join(map(str, issue['loc']))}: {message}" if issue["loc"] else message


class EmotionNetwork:
    """One network of the panel, in ONNX Runtime.

    A graph whose input is uint8 (B, S, S, 3) has its own normalisation inside, as those that we export do; any other
    takes float32 (B, 1 or 3, S, S).

    Raises:
        InputError: the file is no ONNX graph, or not one that its settings describe.
    """

    def __init__(self, path: Path, settings: Settings, threads: int = 0) -> None:
        self.path, self.settings = path, settings
        self.graph = OnnxNetwork(path, threads)
        self.takes_pixels = self.graph.input.type == "tensor(uint8)"
        shape = self.graph.input.shape
        if len(shape) != 4:
            raise InputError(f"{path} takes {shape}, which is no batch of pictures")
        if settings.output not in self.graph.outputs:
            raise InputError(f"{path} has no output '{settings.output}', but {', '.join(self.graph.outputs)}")
        self.channels = shape[3] if self.takes_pixels else shape[1]
        # Some graphs were exported for a fixed number of faces.
        self.batch_size = shape[0] if isinstance(shape[0], int) else BATCH
        self._try_out()

    def __call__(self, crops: Pixels) -> FloatArray:
        """Log-probabilities float64 (N, 7) of aligned crops, uint8 RGB (N, 144, 144, 3), each averaged with its mirror
        image.
        """
        views = self.views(crops)
        both = np.logaddexp(self._log_probabilities(views), self._log_probabilities(views[:, :, ::-1]))
        return np.asarray(both - np.log(2))

    def views(self, crops: Pixels) -> Pixels:
        """What the network sees of each crop, before normalisation: uint8 (N, size, size, its channels)."""
        left, top, right, bottom = self.settings.window
        size = self.settings.size
        views = np.empty((len(crops), size, size, self.channels), np.uint8)
        for view, crop in zip(views, crops[:, top:bottom, left:right], strict=True):
            picture = np.ascontiguousarray(crop)
            if self.settings.colour == "BGR":
                picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            elif self.settings.colour == "grey":
                picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            if right - left != size:
                picture = cv2.resize(picture, (size, size), interpolation=RESIZE[self.settings.resize])
            view[...] = picture.reshape(size, size, -1)
        return views

    def _log_probabilities(self, views: Pixels) -> FloatArray:
        outputs = [self._run(views[start : start + self.batch_size]) for start in range(0, len(views), self.batch_size)]
        found = np.concatenate([np.empty((0, len(self.settings.classes))), *outputs])
        if self.settings.gives == "probabilities":
            found = np.log(np.clip(found, SMALLEST, None))
        return np.asarray(special.log_softmax(found[:, [self.settings.classes.index(e) for e in EMOTIONS]], axis=1))

    def _run(self, views: Pixels) -> FloatArray:
        batch: NDArray[Any] = np.ascontiguousarray(views)
        if not self.takes_pixels:
            mean, std = (np.asarray(value, np.float32) for value in (self.settings.mean, self.settings.std))
            batch = np.ascontiguousarray(((batch - mean) / std).transpose(0, 3, 1, 2))
        # The last batch of a graph with a fixed number of faces is filled up.
        missing = self.graph.input.shape[0] - len(batch) if isinstance(self.graph.input.shape[0], int) else 0
        batch = np.concatenate([batch, *[batch[:1]] * missing])
        return np.asarray(self.graph(batch)[self.settings.output], np.float64)[: len(views)]

    def _try_out(self) -> None:
        """Run a blank face: the only way to know whether a graph with free axes fits its settings."""
        blank = np.zeros((1, CROP_SIZE, CROP_SIZE, 3), np.uint8)
        try:
            shape = self._run(self.views(blank)).shape
        except Exception as error:  # noqa: BLE001 - the runtime's own exceptions have no common class
            reason = " ".join(str(error).split())
            raise InputError(f"{self.path} does not run as {self.path.stem}.json says: {reason}") from None
        if shape != (1, named := len(self.settings.classes)):
            raise InputError(f"{self.path} gives {shape} for a face, but its settings name {named} classes")


@dataclass(frozen=True)
class Panel:
    """Networks that vote: ``softmax(offsets + sum of weights * log-probabilities)``, a weighted geometric mean.

    Attributes:
        networks: S of them.
        weights: how much each counts for each emotion, (S, 7).
        offsets: what each emotion gets in addition, (7,).
    """

    networks: Sequence[EmotionNetwork]
    weights: FloatArray
    offsets: FloatArray

    def __call__(self, crops: Pixels) -> NDArray[np.float32]:
        """Probabilities (N, 7) of :data:`~sightline.faces.params.EMOTIONS`, from uint8 RGB crops (N, 144, 144, 3).

        Raises:
            ValueError: the crops have another shape.
        """
        return self.probabilities(self.votes(crops))

    def votes(self, crops: Pixels) -> FloatArray:
        """What each network says by itself: log-probabilities (S, N, 7). Raises as a call does."""
        if crops.shape[1:] != (CROP_SIZE, CROP_SIZE, 3):
            raise ValueError(f"crops of shape {crops.shape}, not (N, {CROP_SIZE}, {CROP_SIZE}, 3)")
        return np.stack([network(crops) for network in self.networks])

    def probabilities(self, votes: FloatArray) -> NDArray[np.float32]:
        """What the panel says (N, 7) after such votes."""
        return combine(votes, self.weights, self.offsets).astype(np.float32)


def combine(votes: FloatArray, weights: FloatArray, offsets: FloatArray) -> FloatArray:
    """Probabilities (N, 7) of log-probabilities (S, N, 7) by S networks, see :class:`Panel`."""
    return np.asarray(special.softmax(np.einsum("sk,snk->nk", weights, votes) + offsets, axis=1))


def load_emotion(folder: Path, threads: int = 0) -> Panel:
    """Load what stage ``faces-emotion`` wrote; ``threads`` 0 lets ONNX Runtime choose.

    Raises:
        InputError: the folder holds no such panel.
    """
    try:
        config = read_json(folder / "config.json")
        members = [
            (folder / member["file"], Settings.model_validate(member["settings"])) for member in config["networks"]
        ]
        weights = np.array(
            [[member["weights"][name] for name in EMOTIONS] for member in config["networks"]], np.float64
        )
        offsets = np.array([config["offsets"][name] for name in EMOTIONS], np.float64)
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no networks for emotions: run 'dvc repro faces-emotion' or 'dvc pull'"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'config.json'} describes no networks for emotions: {reason}") from None
    return Panel([EmotionNetwork(path, settings, threads) for path, settings in members], weights, offsets)


BATCH = 64
# The logarithm of a probability that a network rounded to zero.
SMALLEST = 1e-9
RESIZE = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
