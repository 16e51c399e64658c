"""Pretraining with no photo at all: a network learns to tell drawn classes apart, and keeps what it sees them by."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.backbone.drawing import draw_pack
from sightline.backbone.params import Procedural
from sightline.core.augment import Augmentation
from sightline.core.backbone import FeatureNetwork
from sightline.core.checkpoints import checkpoint_folder
from sightline.core.classifier import Recipe, fit
from sightline.core.images import Pixels
from sightline.core.packs import Pack, pack_files
from sightline.core.sheets import contact_sheet
from sightline.params import Compute


def pretrain(
    network: FeatureNetwork,
    settings: Procedural,
    seed: int,
    compute: Compute,
    workers: int,
    scratch: Path,
) -> tuple[pd.DataFrame, Pixels]:
    """Draw the pictures and train ``network`` on them.

    The pictures lie in a temporary folder below ``scratch`` meanwhile. A training that was cut off goes on where it
    stopped.

    Returns:
        The history, one row an epoch, and a sheet that shows what was drawn, (H, W, 3) uint8 RGB.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sightline-", dir=scratch) as folder:
        drawn = Path(folder) / "drawn"
        pack = draw_pack(drawn, settings.classes, settings.pictures, settings.val_share, settings.size, seed, workers)
        labels = pack.manifest["label"].to_numpy("int64")
        checkpoints = checkpoint_folder(pack_files(drawn), settings, seed, compute, network)
        learner = _Classifier(network, settings)
        history = fit(learner, pack, labels, recipe_of(settings, seed), compute, workers, checkpoints)
        return history, _sheet(pack, labels)


def recipe_of(settings: Procedural, seed: int) -> Recipe:
    """The recipe that the parameters describe; the classes have equal shares."""
    return Recipe(
        **settings.model_dump(exclude={"classes", "pictures", "val_share", "size", "scale", "augment"}),
        seed=seed,
        class_shares=(1 / settings.classes,) * settings.classes,
        augmentation=Augmentation(**settings.augment.model_dump()),
    )


def _sheet(pack: Pack, labels: NDArray[np.int64]) -> Pixels:
    """Four pictures of each of the first classes, siblings side by side."""
    rows = np.concatenate([np.flatnonzero(labels == label)[:4] for label in range(min(32, labels.max() + 1))])
    return contact_sheet([pack.images[row] for row in rows], [f"class {labels[row]}" for row in rows], 16)


class _Classifier(nn.Module):
    """The network with a classifier upon its features, which is thrown away afterwards.

    Logits are ``scale`` times the cosines of the features with a direction for each class (Wang et al., "NormFace",
    ACM Multimedia 2017), so that the features are made for comparison by cosine.
    """

    def __init__(self, network: FeatureNetwork, settings: Procedural) -> None:
        super().__init__()
        self.network = network
        self.directions = nn.Parameter(torch.randn(settings.classes, network.count_features(settings.crop_size)))
        self.scale = settings.scale

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(self.network(images)), F.normalize(self.directions))
