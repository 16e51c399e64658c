"""Stage ``birds-project``: what frozen features gain from the train classes alone, by a linear map that takes seconds.

Two maps are learned for each variant: 'whitened' (PCA whitening, which needs no labels) and 'projected', the better of
a regularised discriminant and the same trained further with Proxy-Anchor. What is better, and with which settings, is
decided by cross-validation over the *train* classes: retrieval among classes that took no part, as in the test.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sightline.birds.embeddings import Vectors, read_embeddings
from sightline.birds.params import Birds, ProxyAnchor
from sightline.birds.params import Project as Settings
from sightline.birds.retrieval import query_metrics, rank_positives
from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder, write_json
from sightline.core.progress import progress, say
from sightline.core.weights import write_weights
from sightline.params import Compute, load

Option = typer.Option()


def main(embeddings: Annotated[Path, Option], out: Annotated[Path, Option]) -> None:
    """Read parameters, then :func:`project`."""
    project(embeddings, load("birds", Birds).project, load("compute", Compute), out)


def project(embeddings: Path, settings: Settings, compute: Compute, out: Path) -> None:
    """Write ``out/whitened`` and ``out/projected``, each a :class:`Projection`, from the train half of ``embeddings``.

    Raises:
        InputError: there are no embeddings, or too few train classes to hold some out.
    """
    prepare(compute, settings.seed)
    photos, vectors = read_embeddings(embeddings, "train")
    origin = read_json(embeddings / "config.json")
    labels = np.unique(photos["class_id"].to_numpy(), return_inverse=True)[1]
    features = F.normalize(torch.from_numpy(np.array(vectors)).double())
    candidates = _candidates(settings)
    scores = _cross_validate(features, labels, candidates, settings)
    with replacing_folder(out) as part:
        for form, methods in FORMS.items():
            rows = [row for row, candidate in enumerate(candidates) if candidate.method in methods]
            best = candidates[max(rows, key=lambda row: scores[row][0])]
            # One split is enough for the last fit: what is left to choose was chosen.
            projection = next(iter(_fitted(features, labels, [best], settings)))
            projection.save(part / form, {"embeddings": origin, **_told(candidates, scores, rows, best)})
            gain = scores[candidates.index(best)][0] - scores[0][0]
            say(f"{embeddings.name}, {form}: {best.name}, MAP@R {gain:+.3f} on train classes held out")


@dataclass(frozen=True)
class Projection:
    """A linear map for L2-normalised embeddings: take ``mean`` (D,) off, multiply by ``matrix`` (D, d), normalise."""

    mean: Tensor
    matrix: Tensor

    @classmethod
    def load(cls, folder: Path) -> "Projection":
        """Read what :meth:`save` wrote.

        Raises:
            InputError: the folder holds no projection.
        """
        try:
            parts = load_file(folder / "projection.safetensors")
            return cls(parts["mean"], parts["matrix"])
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(f"{folder} holds no projection: {error}") from None

    def save(self, folder: Path, config: dict[str, Any]) -> None:
        """Write ``projection.safetensors`` and ``config.json``."""
        folder.mkdir(parents=True)
        write_weights(folder / "projection.safetensors", {"mean": self.mean.float(), "matrix": self.matrix.float()})
        write_json(folder / "config.json", config)

    def apply(self, embeddings: Vectors) -> Vectors:
        """Project embeddings (N, D) float32, normalised here, to unit vectors (N, d) float32.

        Raises:
            InputError: the embeddings have another length.
        """
        if embeddings.shape[1] != len(self.mean):
            raise InputError(
                f"the projection is for embeddings of {len(self.mean)} features, not {embeddings.shape[1]}"
            )
        features = F.normalize(torch.from_numpy(np.array(embeddings, dtype=np.float32)))
        projected = F.normalize((features - self.mean.float()) @ self.matrix.float())
        return np.asarray(projected.numpy(), dtype=np.float32)


@dataclass(frozen=True)
class _Candidate:
    method: str
    settings: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        told = ", ".join(f"{key} {value:g}" for key, value in self.settings)
        return f"{self.method} ({told})" if told else self.method


def _candidates(settings: Settings) -> list[_Candidate]:
    whitened = [
        _Candidate("whitening", (("dimensions", dimensions), ("power", power)))
        for dimensions in settings.whiten.dimensions
        for power in settings.whiten.powers
    ]
    discriminants = [
        _Candidate("discriminant", (("shrinkage", shrinkage), ("emphasis", emphasis)))
        for shrinkage in settings.discriminant.shrinkages
        for emphasis in settings.discriminant.emphases
    ]
    start = settings.proxy_anchor
    anchored = _Candidate("proxy-anchor", (("shrinkage", start.shrinkage), ("emphasis", start.emphasis)))
    return [_Candidate("frozen"), *whitened, *discriminants, anchored]


def _cross_validate(
    features: Tensor, labels: NDArray[np.int64], candidates: Sequence[_Candidate], settings: Settings
) -> list[tuple[float, float]]:
    """Mean MAP@R and Recall@1 of each candidate among classes that its fit has not seen."""
    classes = int(labels.max()) + 1
    folds = max(2, round(1 / settings.val_share))
    if classes < 2 * folds:
        raise InputError(f"{classes} train classes are too few to hold some out: birds.project needs {2 * folds}")
    order = np.random.default_rng(settings.seed).permutation(classes)
    found: list[list[tuple[float, float]]] = [[] for _ in candidates]
    for fold in progress(range(folds), "choosing the projection", folds, "fold"):
        held_out = np.isin(labels, order[fold::folds])
        seen = np.unique(labels[~held_out], return_inverse=True)[1]
        fitted = _fitted(features[torch.from_numpy(~held_out)], seen, candidates, settings)
        vectors = features[torch.from_numpy(held_out)].float().numpy()
        for scores, projection in zip(found, fitted, strict=True):
            figures = query_metrics(rank_positives(projection.apply(vectors), labels[held_out])).mean()
            scores.append((float(figures["map_at_r"]), float(figures["recall_at_1"])))
    return [tuple(np.mean(scores, axis=0).tolist()) for scores in found]


def _fitted(
    features: Tensor, labels: NDArray[np.int64], candidates: Sequence[_Candidate], settings: Settings
) -> Iterator[Projection]:
    """The projections that the candidates are, learned from unit vectors (N, D) float64 of classes (N,), 0 to K - 1."""
    mean = features.mean(0)
    centred = features - mean
    means = torch.stack([centred[torch.from_numpy(labels == label)].mean(0) for label in range(labels.max() + 1)])
    spectrum: dict[str, tuple[Tensor, Tensor]] = {}

    def eigen(name: str, rows: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Eigenvalues, largest first, and eigenvectors of the scatter of rows; once for all candidates."""
        if name not in spectrum:
            samples = rows()
            values, vectors = torch.linalg.eigh(samples.T @ samples / len(samples))
            spectrum[name] = values.flip(0).clamp(min=0), vectors.flip(1)
        return spectrum[name]

    for candidate in candidates:
        chosen = dict(candidate.settings)
        if candidate.method == "frozen":
            yield Projection(torch.zeros_like(mean), torch.eye(len(mean), dtype=mean.dtype))
        elif candidate.method == "whitening":
            values, vectors = eigen("all", lambda: centred)
            # Directions in which nothing varies would be blown up to noise.
            count = min(int(chosen["dimensions"]), int((values > values[0] * 1e-7).sum()))
            yield Projection(mean, vectors[:, :count] * values[:count] ** (-chosen["power"] / 2))
        else:
            values, vectors = eigen("within", lambda: centred - means[torch.from_numpy(labels)])
            matrix = _discriminant(values, vectors, means, chosen["shrinkage"], chosen["emphasis"])
            if candidate.method == "proxy-anchor":
                matrix = matrix @ _proxy_anchor(centred @ matrix, labels, settings.proxy_anchor, settings.seed)
            yield Projection(mean, matrix)


def _discriminant(values: Tensor, vectors: Tensor, means: Tensor, shrinkage: float, emphasis: float) -> Tensor:
    """Whiten what varies within classes, shrunken, and stress the directions in which the classes differ.

    Within-class whitening keeps all directions, so what unseen classes differ in survives; ``emphasis`` 0 is
    within-class covariance normalisation (Hatch et al., Interspeech 2006), a large one linear discriminant analysis
    (Fisher 1936). ``shrinkage`` times the mean variance is added to the covariance.
    """
    whitening = vectors * (values + shrinkage * values.mean()) ** -0.5
    subspace = torch.linalg.svd(means @ whitening, full_matrices=False).Vh
    return torch.addmm(whitening, whitening @ subspace.T, subspace, alpha=emphasis)


def _proxy_anchor(features: Tensor, labels: NDArray[np.int64], settings: ProxyAnchor, seed: int) -> Tensor:
    """Train a linear map (d, d), from the identity, with the Proxy-Anchor loss (Kim et al., CVPR 2020)."""
    inputs = F.normalize(features).float()
    targets = torch.from_numpy(labels)
    classes = int(labels.max()) + 1
    matrix = torch.eye(inputs.shape[1]).requires_grad_()
    proxies = torch.stack([F.normalize(inputs[targets == label].mean(0), dim=0) for label in range(classes)])
    proxies.requires_grad_()
    size = min(settings.batch_size, len(inputs))
    steps = settings.epochs * (len(inputs) // size)
    optimizer = torch.optim.AdamW([matrix, proxies], lr=settings.lr, weight_decay=0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    rng = np.random.default_rng(seed)
    for _ in range(settings.epochs):
        order = torch.from_numpy(rng.permutation(len(inputs)))
        for rows in order[: len(order) // size * size].view(-1, size):
            similarity = F.normalize(inputs[rows] @ matrix) @ F.normalize(proxies).T
            positive = F.one_hot(targets[rows], classes).bool()
            pull = torch.where(positive, -settings.alpha * (similarity - settings.margin), -torch.inf)
            push = torch.where(positive, -torch.inf, settings.alpha * (similarity + settings.margin))
            present = positive.any(0)
            loss = F.softplus(pull[:, present].logsumexp(0)).mean() + F.softplus(push.logsumexp(0)).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return matrix.detach().double()


def _told(
    candidates: Sequence[_Candidate], scores: Sequence[tuple[float, float]], rows: Sequence[int], best: _Candidate
) -> dict[str, Any]:
    """What config.json says: what was chosen, and what was tried, on train classes held out."""
    tried = [
        {
            "candidate": candidates[row].name,
            "map_at_r": round(scores[row][0], 6),
            "recall_at_1": round(scores[row][1], 6),
        }
        for row in (0, *rows)
    ]
    return {"method": best.method, "settings": dict(best.settings), "tried": tried}


FORMS = {"whitened": ("whitening",), "projected": ("discriminant", "proxy-anchor")}
