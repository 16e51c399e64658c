"""Pretraining with no photo at all: a network learns to tell drawn classes apart, and keeps what it sees them by."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.backbone.lesson import Kinds, draw_pack, traits_of
from sightline.backbone.params import Procedural
from sightline.core.augment import Augmentation
from sightline.core.backbone import FeatureNetwork
from sightline.core.checkpoints import checkpoint_folder
from sightline.core.classifier import Recipe, fit
from sightline.core.files import scratch_folder
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
    out: Path,
) -> tuple[pd.DataFrame, Pixels]:
    """Draw the pictures and train ``network`` on them.

    The pictures lie in a temporary folder beside ``out`` meanwhile. A training that was cut off goes on where it
    stopped.

    Returns:
        The history, one row an epoch, and a sheet that shows what was drawn, (H, W, 3) uint8 RGB.
    """
    with scratch_folder(out) as folder:
        drawn = folder / "drawn"
        kinds = Kinds(settings.things, settings.worlds)
        pack = draw_pack(drawn, kinds, settings.pictures, settings.val_share, settings.image_size, seed, workers)
        labels = pack.manifest["label"].to_numpy("int64")
        checkpoints = checkpoint_folder(pack_files(drawn), settings, seed, compute, network)
        learner = _Classifier(network, settings.crop_size, settings.scale, traits_of(kinds, seed))
        history = fit(learner, pack, labels, recipe_of(settings, seed), compute, workers, checkpoints)
        return history, _sheet(pack, labels, kinds)


def recipe_of(settings: Procedural, seed: int) -> Recipe:
    """The recipe that the parameters describe; the classes have equal shares."""
    return Recipe(
        **settings.model_dump(exclude={"things", "worlds", "pictures", "val_share", "image_size", "scale", "augment"}),
        seed=seed,
        class_shares=(1 / settings.classes,) * settings.classes,
        augmentation=Augmentation(**settings.augment.model_dump()),
    )


def _sheet(pack: Pack, labels: NDArray[np.int64], kinds: Kinds) -> Pixels:
    """Four pictures of each of the first things, and of each of the first worlds, siblings side by side."""
    shown = [(f"thing {n}", n) for n in range(min(20, kinds.things))]
    shown += [(f"world {n}", kinds.things + n) for n in range(min(20, kinds.worlds))]
    cells = [(row, name) for name, label in shown for row in np.flatnonzero(labels == label)[:4]]
    return contact_sheet([pack.images[row] for row, _ in cells], [name for _, name in cells], 16)


class _Classifier(nn.Module):
    """The network with a classifier upon its features, which is thrown away afterwards.

    Logits are ``scale`` times the cosines of the features with a direction for each class (Wang et al., "NormFace",
    ACM Multimedia 2017), so that the features are made for comparison by cosine. A class's direction is the sum of its
    own and of those of its traits, so that all classes with a trait teach it together (after Akata et al.,
    "Label-Embedding for Attribute-Based Classification", CVPR 2013): far fewer pictures are needed.
    """

    shares: Tensor

    def __init__(self, network: FeatureNetwork, size: int, scale: float, traits: list[tuple[str, ...]]) -> None:
        super().__init__()
        self.network = network
        words = {word: number for number, word in enumerate(sorted({word for words in traits for word in words}))}
        shares = torch.eye(len(traits), len(traits) + len(words))
        for label, own in enumerate(traits):
            shares[label, [len(traits) + words[word] for word in own]] = len(own) ** -0.5
        self.register_buffer("shares", shares)
        self.directions = nn.Parameter(torch.randn(shares.shape[1], network.count_features(size)))
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(self.network(images)), F.normalize(self.shares @ self.directions))
