"""The stage: every source ends in the same kind of folder, the same bytes every time, and mistakes are one line."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file, save, save_file

from sightline.backbone.lesson import Kinds, draw_pack
from sightline.backbone.params import Network, Procedural
from sightline.backbone.weights import bring_in, main
from sightline.core.augment import MEAN, STD
from sightline.core.backbone import load_backbone
from sightline.core.errors import InputError
from sightline.params import Augment, Compute

COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")
SMALL = {"channels": [8, 16, 32, 64], "stem_width": 8}
PROCEDURAL = Procedural(
    things=24,
    worlds=8,
    pictures=24,
    val_share=0.1,
    image_size=48,
    epochs=8,
    batch_size=32,
    crop_size=40,
    lr=0.004,
    weight_decay=0.05,
    warmup_epochs=0.5,
    label_smoothing=0.05,
    ema_decay=0.98,
    scale=16,
    augment=Augment(
        crop_area=(0.5, 1),
        aspect=1.2,
        rotate=5,
        flip=0.5,
        brightness=0.1,
        contrast=0.1,
        saturation=0.1,
        hue=0,
        blur=0,
        erase=0,
    ),
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield tmp_path
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def network(source: str, **changes: Any) -> Network:
    settings: dict[str, Any] = {
        "source": source,
        "architecture": "resnet10t",
        "arguments": SMALL,
        "path": "data/none",
        "image_size": 48,
    }
    return Network(**settings | changes)


def run(settings: Network, out: str = "out", seed: int = 1, procedural: Procedural = PROCEDURAL, **given: Any) -> Path:
    path, name = given.get("path", settings.path), given.get("name", "mine")
    bring_in(name, settings, procedural, seed, COMPUTE, given.get("workers", 0), path, Path(out))
    return Path(out)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_untrained_network_is_a_function_of_the_seed() -> None:
    first, again = run(network("random")), run(network("random"), "again")
    assert content(first) == content(again)
    assert set(content(first)) == {"model.safetensors", "config.json"}
    other = run(network("random"), "other", seed=2)
    assert content(other)["model.safetensors"] != content(first)["model.safetensors"]
    config = load_backbone(first).config
    assert (config.name, config.source, config.size, config.features) == ("mine", "random", 48, 64)
    assert (config.mean, config.std) == (MEAN, STD)
    assert config.sha256 == hashlib.sha256(content(first)["model.safetensors"]).hexdigest()


def whole_model() -> dict[str, torch.Tensor]:
    torch.manual_seed(8)
    state: dict[str, torch.Tensor] = timm.create_model("resnet10t", num_classes=3, **SMALL).state_dict()
    return state


def test_a_users_file_comes_with_timms_normalisation_unless_told_otherwise() -> None:
    save_file(whole_model(), "mine.safetensors")
    config = load_backbone(run(network("path"), path=Path("mine.safetensors"))).config
    timms = timm.create_model("resnet10t").pretrained_cfg
    assert (config.mean, config.std) == (timms["mean"], timms["std"])
    weights = load_file("out/model.safetensors")
    for name, value in weights.items():
        assert torch.equal(value, whole_model()[name])
    own = network("path", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    config = load_backbone(run(own, path=Path("mine.safetensors"))).config
    assert (config.mean, config.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_path_that_is_no_file_is_named_with_its_parameter() -> None:
    with pytest.raises(InputError, match=r"data/none is no file: set backbone\.networks\.mine\.path"):
        run(network("path"))
    assert not Path("out").exists()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A hub on the loopback: what it has, by path."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield files
    server.shutdown()
    thread.join()
    server.server_close()


def test_weights_from_the_hub_are_those_of_the_revision_and_checked(hub: dict[str, bytes]) -> None:
    body = save(whole_model())
    digest = hashlib.sha256(body).hexdigest()
    hub["/timm/resnet10t.c3_in1k/resolve/abc123/model.safetensors"] = body
    settings = network("imagenet", architecture="resnet10t.c3_in1k", revision="abc123", digest=digest)
    backbone = load_backbone(run(settings))
    torch.testing.assert_close(backbone.network.model.conv1[0].weight, whole_model()["conv1.0.weight"])
    hub_note = yaml.safe_load((Path("out") / "config.json").read_text())["hub"]
    assert hub_note == {"id": "timm/resnet10t.c3_in1k", "revision": "abc123", "sha256": digest}
    wrong = settings.model_copy(update={"digest": "0" * 64})
    with pytest.raises(InputError, match=r"is not what is pinned.*correct backbone\.networks\.mine\.digest"):
        run(wrong, "wrong")
    assert not Path("wrong").exists()


def test_a_hub_without_the_file_says_how_to_do_it_by_hand(hub: dict[str, bytes]) -> None:
    settings = network("imagenet", architecture="resnet10t.c3_in1k", revision="gone", digest="0" * 64)
    with pytest.raises(InputError, match=r"HTTP 404.*set backbone\.networks\.mine\.source to path and"):
        run(settings)


def test_an_architecture_without_weights_on_the_hub_is_an_error() -> None:
    with pytest.raises(InputError, match="timm has no weights for 'botnet50ts_256'"):
        run(network("imagenet", architecture="botnet50ts_256", arguments={}))


def test_a_network_that_params_yaml_does_not_have_is_an_error() -> None:
    section = {
        "seed": 1,
        "networks": {"one": network("random").model_dump(mode="json")},
        "procedural": PROCEDURAL.model_dump(mode="json"),
    }
    compute = COMPUTE.model_dump()
    Path("params.yaml").write_text(yaml.safe_dump({"backbone": section, "compute": compute, "runtime": {"workers": 0}}))
    with pytest.raises(InputError, match=r"no backbone\.networks\.two: there are one$"):
        main("two", Path("data/none"), Path("out"))
    main("one", Path("data/none"), Path("out"))
    assert load_backbone(Path("out")).config.name == "one"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    bring_in("drawn", network("procedural"), PROCEDURAL, 1, COMPUTE, 0, Path("data/none"), folder / "out")
    return folder / "out"


def recall_at_1(features: torch.Tensor, labels: np.ndarray) -> float:
    unit = F.normalize(features - features.mean(0), dim=1)
    similarity = (unit @ unit.T).fill_diagonal_(-2)
    return float((labels[similarity.argmax(1).numpy()] == labels).mean())


def test_a_pretrained_network_knows_classes_that_it_never_saw(pretrained: Path, here: Path) -> None:
    """Much better than an untrained one, on classes of another seed; a real pretraining is twenty times as long."""
    pack = draw_pack(here / "held", Kinds(48, 0), 8, 0.5, 48, 77, 0)
    labels = pack.manifest["label"].to_numpy()
    images = torch.from_numpy(np.array(pack.images))
    found = {}
    for name, folder in (("drawn", pretrained), ("random", run(network("random"), str(here / "random")))):
        backbone = load_backbone(folder)
        with torch.inference_mode():
            found[name] = recall_at_1(backbone.network(backbone.normalise(images)), labels)
    assert found["drawn"] > 1.5 * max(found["random"], 3 / 48)


def test_pretraining_leaves_its_history_and_a_sheet_and_nothing_else(pretrained: Path, here: Path) -> None:
    assert set(content(pretrained)) == {"model.safetensors", "config.json", "history.csv", "classes.png"}
    assert [path.name for path in pretrained.parent.iterdir()] == ["out"]
    assert not list(here.rglob("*.ckpt"))


def test_pretraining_gives_the_same_bytes_again_whatever_the_workers() -> None:
    short = PROCEDURAL.model_copy(update={"things": 4, "worlds": 4, "pictures": 8, "epochs": 2, "batch_size": 8})
    first = run(network("procedural"), "first", procedural=short)
    again = run(network("procedural"), "again", procedural=short, workers=2)
    assert content(first) == content(again)
