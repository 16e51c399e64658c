"""memes-train: the probe, what fine-tuning starts from, and what is left behind for the stages after it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sightline.core.backbone import FeatureNetwork, load_backbone, save_backbone
from sightline.core.classifier import fit as fit_network
from sightline.core.errors import InputError
from sightline.core.packs import open_pack, write_pack
from sightline.memes.network import describe, load_network, on_backbone
from sightline.memes.params import Train
from sightline.memes.probe import load_probe
from sightline.memes.train import layer_factors, train
from sightline.params import Compute

SIZE = 32
COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")
ARCHITECTURE, ARGUMENTS = "resnet10t", {"channels": [8, 8, 16, 16], "stem_width": 8}
SETTINGS = Train.model_validate(
    {
        "backbone": "tiny",
        "seed": 7,
        "folds": 1,
        "epochs": 2,
        "batch_size": 8,
        "lr": 0.002,
        "layer_decay": 0.5,
        "frozen_stages": 0,
        "head_factor": 1.0,
        "blend": 1.0,
        "weight_decay": 0.05,
        "warmup_epochs": 1,
        "label_smoothing": 0.05,
        "ema_decay": 0.9,
        "mixup_alpha": 0.2,
        "scratch_lr": 0.01,
        "probe": {"c": [0.01, 0.1]},
        "augment": {
            "crop_area": [0.7, 1.0],
            "aspect": 1.2,
            "rotate": 0,
            "flip": 0.5,
            "brightness": 0.1,
            "contrast": 0.1,
            "saturation": 0.1,
            "hue": 0,
            "grayscale": 0,
            "blur": 0,
            "erase": 0,
        },
    }
)
SPLITS = ["train"] * 16 + ["val"] * 8 + ["test"] * 4 + ["unknown-val"] * 2 + ["later-pool"] * 2


@pytest.fixture(autouse=True)
def leave_torch_as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pack of two classes, one dark and one bright, with pictures of neither among them; and a backbone."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = ["zebra" if number % 2 else "ant" for number in range(28)] + ["unknown"] * 2 + ["moth"] * 2
    order = rng.permutation(len(SPLITS))
    images = rng.integers(0, 140, (len(SPLITS), SIZE, SIZE, 3), dtype=np.uint8)
    for image, row in zip(images, order, strict=True):
        image += np.uint8(60 * (labels[row] == "zebra"))
    rows = [
        {"photo": f"{labels[row]}/{row}.png", "label": labels[row], "split": SPLITS[row], "group": int(row)}
        for row in order
    ]
    write_pack(Path("samples"), SIZE, [(images, rows)])
    torch.manual_seed(1)
    save_backbone(
        Path("backbone"),
        FeatureNetwork(ARCHITECTURE, ARGUMENTS),
        {},
        name="tiny",
        source="random",
        architecture=ARCHITECTURE,
        arguments=ARGUMENTS,
        size=SIZE,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    return tmp_path


def run(settings: Train = SETTINGS) -> None:
    out, training, history = Path("network"), Path("training"), Path("history.csv")
    train(Path("samples"), Path("backbone"), settings, COMPUTE, 0, out, training, history)


def files() -> dict[str, bytes]:
    paths = [*Path("network").rglob("*"), *Path("training").rglob("*"), Path("history.csv")]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def cross_entropy(logits: NDArray[np.float32], labels: list[int]) -> NDArray[np.float32]:
    return F.cross_entropy(torch.from_numpy(logits), torch.tensor(labels), reduction="none").numpy()


def test_what_is_left_is_whole_and_belongs_together(folder: Path) -> None:
    run()
    pack = open_pack(Path("samples"))
    history = pd.read_csv("history.csv")
    assert list(history.columns) == ["model", "epoch", "lr", "train_loss", "val_loss", "val_accuracy", "val_macro_f1"]
    assert list(history["model"]) == ["finetuned"] * 2 + ["scratch"] * 2
    assert not Path(".cache/checkpoints").exists() or not list(Path(".cache/checkpoints").iterdir())

    known = pack.manifest["label"].isin(["ant", "zebra"]).to_numpy()
    labels = (pack.manifest["label"] == "zebra").astype(int).to_numpy()
    losses = np.load("training/losses.npy")
    assert losses.shape == (len(pack), 2)
    np.testing.assert_array_equal(np.isnan(losses), np.repeat(~known[:, None], 2, 1))
    val = pack.rows("val")
    for model in ("finetuned", "scratch"):
        network, config = load_network(Path("network") / model)
        assert config["classes"] == ["ant", "zebra"]
        found = cross_entropy(describe(network, pack.images[known])[1], labels[known].tolist())
        own = history[history["model"] == model].reset_index()
        best = own["val_loss"].idxmin()
        assert found[np.isin(np.flatnonzero(known), val)].mean() == pytest.approx(own["val_loss"][best], rel=1e-4)
        if model == "finetuned":
            np.testing.assert_allclose(losses[known, best], found, rtol=1e-3, atol=1e-5)

    folds = pd.read_csv("training/folds.csv")
    assert list(folds.columns) == ["photo", "label", "fold", "p_ant", "p_zebra"]
    assert folds.empty


def test_the_probe_knows_the_training_pictures_by_their_frozen_features(folder: Path) -> None:
    run()
    pack = open_pack(Path("samples"))
    probe, config = load_probe(Path("network/probe"))
    backbone = load_backbone(Path("backbone"))
    with torch.no_grad():
        images = backbone.normalise(torch.from_numpy(np.array(pack.images)))
        features = backbone.network(images).numpy()
    train_rows = pack.rows("train")
    np.testing.assert_allclose(probe.mean, features[train_rows].mean(0), rtol=1e-3, atol=1e-5)
    predicted = probe.logits(features).argmax(1)[train_rows]
    assert (predicted == (pack.manifest["label"] == "zebra").to_numpy()[train_rows]).all()
    assert config["c"] in (0.01, 0.1)
    assert [row["c"] for row in config["cross_validation"]] == [0.01, 0.1]
    assert config["backbone"] == {"name": "tiny", "sha256": backbone.config.sha256}


def test_fine_tuning_starts_as_the_probe_and_scratch_does_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a step, what the two trainings are given shows in the predictions."""
    pack = open_pack(Path("samples"))
    started = []

    def note_and_fit(network: Any, *arguments: Any, **options: Any) -> Any:
        started.append(describe(network, pack.images))
        return fit_network(network.train(), *arguments, **options)

    monkeypatch.setattr("sightline.memes.train.fit", note_and_fit)
    run()
    probe, _ = load_probe(Path("network/probe"))
    (features, logits), (others, _) = started
    np.testing.assert_allclose(logits, probe.logits(features), rtol=1e-3, atol=1e-3)
    frozen = describe(on_backbone(load_backbone(Path("backbone")), 2)[0], pack.images)[0]
    np.testing.assert_array_equal(features, frozen)
    assert np.abs(others - frozen).mean() > 0.01


def test_the_same_inputs_give_the_same_bytes_also_when_cut_off_between_trainings(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    expected = files()
    calls: list[int] = []

    def second_fails(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit_network(*arguments, **options)

    monkeypatch.setattr("sightline.memes.train.fit", second_fails)
    with pytest.raises(KeyboardInterrupt):
        run()
    run()
    assert len(calls) == 3
    assert files() == expected


def test_folds_predict_every_picture_that_is_not_tested_once_by_networks_without_its_group(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[pd.DataFrame] = []

    def note_and_fit(network: Any, pack: Any, *arguments: Any, **options: Any) -> Any:
        trained.append(pack.manifest)
        return fit_network(network, pack, *arguments, **options)

    monkeypatch.setattr("sightline.memes.train.fit", note_and_fit)
    run(SETTINGS.model_copy(update={"folds": 3, "epochs": 1}))
    folds = pd.read_csv("training/folds.csv")
    manifest = open_pack(Path("samples")).manifest
    asked = manifest[manifest["split"].isin(["train", "val"])]
    assert sorted(folds["photo"]) == sorted(asked["photo"])
    np.testing.assert_allclose(folds["p_ant"] + folds["p_zebra"], 1, rtol=1e-5)
    assert len(trained) == 2 + 3
    for fold, used in enumerate(trained[2:]):
        held = set(folds.loc[folds["fold"] == fold, "photo"])
        seen = {name: set(used.loc[used["split"] == name, "photo"]) for name in ("train", "val")}
        assert held.isdisjoint(seen["train"] | seen["val"])
        assert seen["train"] | seen["val"] | held == set(asked["photo"])
        assert len(seen["val"]) >= 2


def test_rates_shrink_from_the_head_to_the_picture(folder: Path) -> None:
    network, _ = on_backbone(load_backbone(Path("backbone")), 2)
    factors = layer_factors(network, 0.5)

    def factor(name: str) -> float:
        return next((value for beginning, value in factors if name.startswith(beginning)), 1.0)

    names = [name for name, _ in network.named_parameters()]
    found = {name.split(".")[2]: factor(name) for name in names if name.startswith("backbone.")}
    assert found == {
        "conv1": 0.5**5,
        "bn1": 0.5**5,
        "layer1": 0.5**4,
        "layer2": 0.5**3,
        "layer3": 0.5**2,
        "layer4": 0.5,
    }
    assert factor("head.weight") == factor("head.bias") == 1


def test_a_head_with_a_small_rate_stays_near_the_probe(folder: Path) -> None:
    moved = []
    for factor in (1.0, 0.01):
        run(SETTINGS.model_copy(update={"head_factor": factor}))
        weight = load_probe(Path("network/probe"))[0].as_linear()[0]
        head = load_network(Path("network/finetuned"))[0].head.weight.detach().numpy()
        moved.append(np.abs(head - weight).max())
    assert 0 < moved[1] < moved[0] / 10


def test_the_network_is_kept_that_lies_between_the_probe_and_the_trained_one(folder: Path) -> None:
    images = open_pack(Path("samples")).images
    found = {}
    for blend in (0.0, 0.5, 1.0):
        run(SETTINGS.model_copy(update={"blend": blend}))
        found[blend] = load_network(Path("network/finetuned"))[0]
    probe = load_probe(Path("network/probe"))[0]
    features, logits = describe(found[0.0], images)
    np.testing.assert_allclose(logits, probe.logits(features), rtol=1e-3, atol=1e-3)
    start, middle, end = (network.backbone.model.get_parameter("layer4.0.conv1.weight") for network in found.values())
    assert not torch.equal(start, end)
    torch.testing.assert_close(middle, (start + end) / 2)


def test_frozen_stages_keep_weights_and_statistics_and_the_others_learn(folder: Path) -> None:
    run(SETTINGS.model_copy(update={"frozen_stages": 2}))
    before = load_backbone(Path("backbone")).network.state_dict()
    after = load_network(Path("network/finetuned"))[0].backbone.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    stages = {name.split(".")[1] for name in changed}
    assert stages == {"layer2", "layer3", "layer4"}
    assert "model.layer2.0.bn1.running_mean" in changed
    scratch = load_network(Path("network/scratch"))[0].backbone.state_dict()
    assert not torch.equal(scratch["model.conv1.0.weight"], before["model.conv1.0.weight"])


def test_more_frozen_stages_than_there_are_is_one_line(folder: Path) -> None:
    with pytest.raises(InputError, match=r"memes\.train\.frozen_stages is 5: the backbone has 5 stages"):
        run(SETTINGS.model_copy(update={"frozen_stages": 5}))


def test_a_pack_for_another_backbone_is_refused(folder: Path) -> None:
    pack = open_pack(Path("samples"))
    rows = pack.manifest.to_dict("records")
    write_pack(Path("samples"), 16, [(np.ascontiguousarray(pack.images[:, ::2, ::2]), rows)])
    with pytest.raises(InputError, match="pictures of 16 px, backbone is for others: pack again"):
        run()


def test_what_was_drawn_from_torchs_generator_before_does_not_matter(folder: Path) -> None:
    run()
    first = files()
    torch.rand(9)
    run()
    assert files() == first
