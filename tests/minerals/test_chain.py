import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sightline.core.packs import open_pack
from sightline.minerals.evaluate import evaluate
from sightline.minerals.infer import deploy, infer
from sightline.minerals.params import NONE, Minerals
from sightline.minerals.patches import make_patches
from sightline.minerals.source import bring_in
from sightline.minerals.train import train
from sightline.params import Compute, load

COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")


def tiny() -> Minerals:
    tree: dict[str, Any] = load("minerals", Minerals, Path(__file__).parents[2] / "params.yaml").model_dump()
    tree["data"] |= {"source": "synthetic", "synthetic": {"photos": 14, "seed": 7}}
    tree["patches"] |= {"patch_size": 48, "per_box": {"train": 3, "val": 2, "test": 2}, "examples": 8}
    tree["train"] |= {"epochs": 2, "batch_size": 16, "crop_size": 32}
    tree["train"]["network"] |= {"width": 8, "depth": 1}
    # The mirror image doubles the graph, and so the time that its export takes; tests/core/test_deploy.py has it.
    tree["infer"] |= {"mirror": False}
    tree["evaluate"] |= {"resamples": 100}
    return Minerals.model_validate(tree)


def run_all_stages(folder: Path, workers: int, exported: Path | None = None) -> None:
    """Run the stages; `exported` has the deployed model of an equal network, which is taken as it is."""
    minerals = tiny()
    classes = minerals.data.classes
    raw, patches, examples = folder / "raw", folder / "patches", folder / "examples"
    network, deployed, inference = folder / "network", folder / "deployed", folder / "inference"
    bring_in(minerals.data, folder / "none", raw, workers)
    pictures = (folder / "patches.png", folder / "patches.json")
    make_patches(raw, classes, minerals.patches, patches, examples, *pictures, workers)
    train(patches, classes, minerals.train, COMPUTE, workers, network, folder / "history.csv")
    if exported:
        # No worker takes part in deploying, and an export repeats byte for byte (tests/core/test_deploy.py).
        shutil.copytree(exported, deployed)
    else:
        deploy(network, patches, minerals.infer, COMPUTE, deployed)
    infer(deployed, patches, examples, minerals.infer, workers, inference)
    evaluate(inference, deployed, patches, minerals.evaluate, folder / "metrics")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all stages write, twice: with the work done in one thread, and with workers."""
    folder = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        # Checkpoints go below the working directory.
        patch.chdir(folder)
        run_all_stages(folder / "alone", workers=0)
        run_all_stages(folder / "together", workers=2, exported=folder / "alone/deployed")
    return folder


def test_the_whole_chain_gives_the_same_bytes_whatever_the_number_of_workers(outputs: Path) -> None:
    alone, together = files(outputs / "alone"), files(outputs / "together")
    assert alone.keys() == together.keys()
    assert [name for name in alone if alone[name] != together[name]] == []


def test_the_stages_write_what_the_next_ones_and_people_read(outputs: Path) -> None:
    found = set(files(outputs / "alone"))
    written = """raw/annotations.json raw/photos.csv raw/problems.csv patches/images.npy patches/manifest.csv
        patches/split.csv patches.png patches.json history.csv network/model.safetensors network/config.json
        deployed/model.onnx deployed/config.json inference/predictions.csv inference/examples.json
        inference/unreadable.json metrics/metrics.json metrics/confusion.csv metrics/reliability.csv
        metrics/coverage.csv"""
    assert set(written.split()) <= found
    others = {name.split("/")[0] for name in found - set(written.split())}
    assert others == {"raw", "examples"}
    assert not any(path.name.startswith(".sightline") or ".part" in path.name for path in outputs.rglob("*"))


def test_every_patch_that_was_held_out_is_predicted_once(outputs: Path) -> None:
    pack = open_pack(outputs / "alone" / "patches")
    table = pd.read_csv(outputs / "alone" / "inference" / "predictions.csv", keep_default_na=False)
    held_out = pack.manifest[pack.manifest["split"] != "train"]
    assert sorted(table["patch"]) == held_out.index.tolist()
    for column in ("photo", "split", "label", "kind"):
        assert table.set_index("patch")[column].sort_index().tolist() == held_out[column].tolist()


def test_no_photo_is_in_two_splits(outputs: Path) -> None:
    manifest = open_pack(outputs / "alone" / "patches").manifest
    assert (manifest.groupby("photo")["split"].nunique() == 1).all()
    assert set(manifest["split"]) == {"train", "val", "test"}


def test_the_training_lowers_the_loss_and_leaves_no_checkpoint(outputs: Path) -> None:
    history = pd.read_csv(outputs / "alone" / "history.csv")
    assert history["epoch"].tolist() == [1, 2]
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert not list((outputs / ".cache" / "checkpoints").iterdir())


def test_every_figure_has_an_interval_over_test_photos(outputs: Path) -> None:
    metrics = json.loads((outputs / "alone" / "metrics" / "metrics.json").read_text())
    photos = json.loads((outputs / "alone" / "patches.json").read_text())["photos"]["test"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "ece", "reject_auroc", "reject_aupr", "coverage"):
        assert metrics[name]["n"] == photos
        assert metrics[name]["low"] <= metrics[name]["high"]
    assert set(metrics["per_class"]) == {*tiny().data.classes, NONE}
    assert set(metrics["baseline"]) == {"majority", "colour_histogram_5nn"}
