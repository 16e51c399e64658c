"""All that comes from ultralytics, which is under the AGPL: only what trains imports this module.

Of ultralytics we use the networks, the loss and the checkpoints, not its trainer: so no callback of it (DVC, MLflow and
others) runs and no file of it appears. Importing it asks nothing of the network and leaves nothing behind; left alone
it looks for a connection, installs what it misses and keeps settings in the home folder.
"""

import math
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import torch
import yaml
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sightline.core.errors import InputError
from sightline.core.portable import arc_tangent

_environment, _save, _open, _threads = dict(os.environ), torch.save, Image.open, cv2.getNumThreads()
with tempfile.TemporaryDirectory() as _home:
    os.environ |= {
        "YOLO_CONFIG_DIR": _home,
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
    }
    import ultralytics
    from ultralytics.nn.tasks import DetectionModel, torch_safe_load
    from ultralytics.utils import SETTINGS, loss, tal
    from ultralytics.utils.loss import v8DetectionLoss

    SETTINGS.update({name: False for name, value in SETTINGS.items() if value is True})  # type: ignore[no-untyped-call]
# What it changed for the whole process: threads of child processes and of OpenCV, a writer of checkpoints that tries
# thrice, and a reader of pictures that installs packages.
for _name in ("OMP_NUM_THREADS", "NUMEXPR_MAX_THREADS"):
    if _name not in _environment:
        os.environ.pop(_name, None)
torch.save = _save
Image.open = _open
cv2.setNumThreads(_threads)


def complete_iou(box1: Tensor, box2: Tensor, xywh: bool = False, CIoU: bool = True, eps: float = 1e-7) -> Tensor:  # noqa: N803
    """Complete IoU of boxes xyxy (…, 4), as (…, 1): Zheng et al., "Distance-IoU Loss", AAAI 2020.

    In place of ultralytics' own, with its argument names, because that takes torch's arc tangent, which differs by
    processor (:mod:`sightline.core.portable`).
    """
    if xywh or not CIoU:
        raise ValueError("only the complete IoU of boxes as corners is here")
    left1, top1, right1, bottom1 = box1.chunk(4, -1)
    left2, top2, right2, bottom2 = box2.chunk(4, -1)
    width1, height1 = right1 - left1, bottom1 - top1 + eps
    width2, height2 = right2 - left2, bottom2 - top2 + eps
    common = (right1.minimum(right2) - left1.maximum(left2)).clamp(min=0) * (
        bottom1.minimum(bottom2) - top1.maximum(top2)
    ).clamp(min=0)
    iou = common / (width1 * height1 + width2 * height2 - common + eps)
    around = (right1.maximum(right2) - left1.minimum(left2), bottom1.maximum(bottom2) - top1.minimum(top2))
    diagonal = around[0].square() + around[1].square() + eps
    apart = (left2 + right2 - left1 - right1).square() + (top2 + bottom2 - top1 - bottom1).square()
    shape = 4 / math.pi**2 * (arc_tangent(width2 / height2) - arc_tangent(width1 / height1)).square()
    with torch.no_grad():
        weight = shape / (1 - iou + shape + eps)
    return torch.as_tensor(iou - (apart / 4 / diagonal + shape * weight))


for _module in (loss, tal):
    vars(_module)["bbox_iou"] = complete_iou


def read_architecture(name: str) -> dict[str, Any]:
    """A network's description in ultralytics' language: ``detector`` is ours, ``yolo11n`` and the like are theirs.

    Raises:
        InputError: there is no such network, or it is none that detects.
    """
    if name == "detector":
        return dict(yaml.safe_load(Path(__file__).with_name("detector.yaml").read_text(encoding="utf-8")))
    found = re.fullmatch(r"([a-z]+\d+)([nslmx]?)([\w-]*)", name)
    models = Path(ultralytics.__file__).parent / "cfg" / "models"
    path = next(models.rglob(f"{found[1]}{found[3]}.yaml"), None) if found else None
    if not found or not path:
        raise InputError(f"parts.train.architecture: there is no network '{name}': try 'detector' or 'yolo11n'")
    description = yaml.safe_load(path.read_text(encoding="utf-8"))
    if description["head"][-1][2] != "Detect":
        raise InputError(f"parts.train.architecture: '{name}' ends in {description['head'][-1][2]}, not in Detect")
    # One loss fits all of them as long as overlapping boxes are suppressed afterwards.
    return dict(description) | {"scale": found[2], "end2end": False}


def build(architecture: Mapping[str, Any], classes: int) -> nn.Module:
    """The network for that many classes, its weights drawn from torch's global generator.

    It takes float RGB from 0 to 1 (B, 3, S, S), S a multiple of its largest stride; what it gives is for
    :func:`detection_loss` and :class:`Decoded`.
    """
    network: nn.Module = DetectionModel(dict(architecture), nc=classes, verbose=False)  # type: ignore[no-untyped-call]
    return network


class DetectionLoss:
    """The loss of YOLOv8: each object teaches the ten points that fit it best, for their score, box and box sides.

    Task alignment: Feng et al., "TOOD", ICCV 2021; complete IoU: Zheng et al., AAAI 2020; distributions of the sides:
    Li et al., "Generalized Focal Loss", NeurIPS 2020. ``gains`` weigh box, class and sides.
    """

    names = ("box_loss", "class_loss", "side_loss")

    def __init__(self, network: nn.Module, gains: tuple[float, float, float]) -> None:
        arguments: Any = SimpleNamespace(**dict(zip(("box", "cls", "dfl"), gains, strict=True)))
        network.args = arguments
        self.criterion = v8DetectionLoss(network)
        # The power of a number 0.5 is torch's square root, which differs by processor; that of a tensor is not.
        assigner: Any = self.criterion.assigner
        assigner.alpha = torch.tensor(assigner.alpha)

    def __call__(self, outputs: dict[str, Any], rows: Tensor, labels: Tensor, boxes: Tensor) -> Tensor:
        """The three losses (3,), a mean over the batch, of what a network in train mode gave.

        Args:
            outputs: of a batch of B.
            rows: int64 (N,), the picture in the batch that each object is in.
            labels: int64 (N,).
            boxes: float32 (N, 4): centre x, y, width, height as shares of the square.
        """
        outputs = {name: value if name == "feats" else value.float() for name, value in outputs.items()}
        batch = {"batch_idx": rows.float(), "cls": labels.float(), "bboxes": boxes}
        total: Tensor = self.criterion(outputs, batch)[0] / len(outputs["scores"])
        return total


class Decoded(nn.Module):
    """What is deployed: from uint8 RGB (B, S, S, 3) to boxes (B, N, 4), xyxy in px of the square, and scores (B, N, K).

    Nothing is suppressed yet: N is the number of points of all levels.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        layers: Any = network.model
        head = layers[-1]
        # Its points are computed in the graph, so that the batch can have any size.
        head.dynamic, head.xyxy, head.export = True, True, True
        # Torch's exporter warns of tensors that are neither weights nor buffers.
        stride = head.stride
        del head.stride
        head.register_buffer("stride", stride, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores."""
        found = self.network(as_input(images)).float().transpose(1, 2)
        return found[..., :4], found[..., 4:]

    def fuse(self) -> "Decoded":
        """Fold norms into the convolutions before them, for good: it then runs in two thirds of the time.

        ONNX Runtime would do it as well, but does not know the norm in what torch's exporter makes of it.
        """
        network: Any = self.network
        network.fuse(verbose=False)
        return self


def as_input(images: Tensor) -> Tensor:
    """Uint8 RGB (B, S, S, 3) as a network of ultralytics takes it: float from 0 to 1, (B, 3, S, S)."""
    return images.permute(0, 3, 1, 2).float() / 255


def load_pretrained(network: nn.Module, path: Path) -> int:
    """Put the weights of a file into ``network`` wherever name and shape agree; returns how many tensors do.

    A head for other classes keeps its random weights.

    Args:
        network: what :func:`build` gave.
        path: a checkpoint of ultralytics (``.pt``) or ``model.safetensors`` as ``parts-train`` leaves it.

    Raises:
        InputError: the file is missing or no such weights, or none of them fits.
    """
    where = f"parts.train.weights: {path}"
    if not path.is_file():
        raise InputError(f"{where}: there is no such file")
    try:
        given = load_file(path) if path.suffix == ".safetensors" else _checkpoint_weights(path)
    except (OSError, SafetensorError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{where} holds no weights of ultralytics: {' '.join(str(error).split())}") from None
    own = network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise InputError(f"{where}: no tensor of it fits this architecture")
    network.load_state_dict(fitting, strict=False)
    return len(fitting)


def _checkpoint_weights(path: Path) -> dict[str, Tensor]:
    # Only networks that ultralytics knows are rebuilt; nothing in the file can run.
    checkpoint, _ = torch_safe_load(str(path), safe_only=True)  # type: ignore[no-untyped-call]
    model = checkpoint.get("ema") or checkpoint["model"]
    return {name: value.float() for name, value in model.state_dict().items()}
