"""Every training stage on tiny inputs, started over and over: each run is a fork of one process that has imported it.

``python trainings.py FOLDER`` imports all stages, and reads lists of cases from stdin, one as JSON per line. A case is
a list of runs (:class:`Run`) that follow each other; two cases are under way at a time. The answer is a line on stdout:
for each case, how each of its runs ended (:class:`Ended`).
"""

import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

SRC = Path(__file__).parents[1] / "src"
EPOCHS = 3
TRAININGS = {"minerals": 1, "memes": 2, "faces": 5, "emotion": 1, "backbone": 1, "parts": 1}
"""Trainings that follow each other in each stage."""


class Place(NamedTuple):
    """The second step of an epoch of a training; both count from 0."""

    training: int
    epoch: int


@dataclass(frozen=True)
class Run:
    """A run in ``folder``, an empty one for a new start; ``signal`` reaches all its processes at ``place``."""

    stage: str
    folder: str
    workers: int = 0
    signal: int = 0
    place: tuple[int, int] = (0, 0)
    precision: str = "32-true"
    accelerator: str = "cpu"


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit status, below 0 for a signal, its steps of training, and what it wrote to stderr."""

    status: int
    steps: int
    stderr: str


def load_stage() -> ModuleType:
    """src/stage.py as a module."""
    spec = importlib.util.spec_from_file_location("stage", SRC / "stage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Train = Callable[[Any, int], None]
Trainer = Callable[[Sequence[Sequence[Run]]], list[list[Ended]]]
"""What the fixture ``run_cases`` is."""
AUGMENT: dict[str, Any] = {
    "crop_area": [0.7, 1.0],
    "aspect": 1.2,
    "rotate": 5,
    "flip": 0.5,
    "brightness": 0.1,
    "contrast": 0.1,
    "saturation": 0.1,
    "hue": 0.05,
    "blur": 0.5,
    "erase": 0.3,
}
RECIPE: dict[str, Any] = {
    "epochs": EPOCHS,
    "batch_size": 8,
    "lr": 0.005,
    "weight_decay": 0.05,
    "warmup_epochs": 0.5,
    "label_smoothing": 0.05,
    "ema_decay": 0.9,
}


def noise(count: int, size: int) -> Any:
    return np.random.default_rng(1).integers(0, 200, (count, size, size, 3), dtype=np.uint8)


def minerals(inputs: Path) -> Train:
    """24 patches of three classes and negatives to learn from."""
    from sightline.core.packs import write_pack
    from sightline.minerals.params import NONE
    from sightline.minerals.params import Train as Settings
    from sightline.minerals.train import train

    names = ("pyrite", "quartz", "bornite", NONE)
    if not inputs.exists():
        images = noise(36, 48)
        for number, image in enumerate(images):
            image[..., number % 3] += np.uint8(50)
        splits = ["train"] * 24 + ["val"] * 12
        write_pack(inputs, 48, [(images, [{"split": split, "label": names[n % 4]} for n, split in enumerate(splits)])])
    settings = Settings.model_validate(
        RECIPE
        | {
            "seed": 3,
            "crop_size": 32,
            "none_share": 0.25,
            "network": {"width": 4, "depth": 1, "dropout": 0.2, "drop_path": 0.1},
            "memory": {"exemplars": 8, "ridge": 0.1},
            "augment": AUGMENT | {"mixup_alpha": 0.2, "cutmix_alpha": 0.5},
        }
    )
    return lambda compute, workers: train(
        inputs, names[:3], settings, compute, workers, Path("network"), Path("metrics/history.csv")
    )


BACKBONE = ("resnet10t", {"channels": [4, 4, 8, 8], "stem_width": 4, "global_pool": "catavgmax"})


def memes(inputs: Path) -> Train:
    """24 pictures of two classes to learn from, fine-tuned and from scratch."""
    import torch

    from sightline.core.augment import MEAN, STD
    from sightline.core.backbone import FeatureNetwork, save_backbone
    from sightline.core.packs import write_pack
    from sightline.memes.params import Train as Settings
    from sightline.memes.train import train

    samples, backbone = inputs / "samples", inputs / "backbone"
    if not inputs.exists():
        torch.manual_seed(1)
        name, arguments = BACKBONE
        known = {"name": "tiny", "source": "random", "architecture": name, "arguments": arguments, "size": 32}
        save_backbone(backbone, FeatureNetwork(name, arguments), {}, mean=MEAN, std=STD, **known)
        splits = ["train"] * 24 + ["val"] * 8
        images = noise(len(splits), 32)
        images[::2] += np.uint8(50)
        rows = [
            {"photo": f"{n}.png", "label": ("zebra", "ant")[n % 2], "split": split, "group": n}
            for n, split in enumerate(splits)
        ]
        write_pack(samples, 32, [(images, rows)])
    settings = Settings.model_validate(
        RECIPE
        | {
            "backbone": "tiny",
            "seed": 7,
            "folds": 1,
            "layer_decay": 0.5,
            "frozen_stages": 1,
            "head_factor": 1.0,
            "blend": 0.8,
            "mixup_alpha": 0.2,
            "scratch_lr": 0.01,
            "probe": {"c": [0.1]},
            "augment": AUGMENT,
        }
    )
    return lambda compute, workers: train(
        samples,
        backbone,
        settings,
        compute,
        workers,
        Path("network"),
        Path("training"),
        Path("metrics/history.csv"),
    )


def faces(inputs: Path) -> Train:
    """Six people with four photos each, and strangers."""
    from sightline.core.packs import write_pack
    from sightline.faces.params import Identity
    from sightline.faces.train import train
    from sightline.params import Augment

    if not inputs.exists():
        rows = [
            {"role": role, "person": f"{role} {n // 4}", "split": split, "photo": f"{role}/{n}.png", "face": 0}
            for role, split, count in (("gallery", "gallery", 24), ("stranger", "val", 4))
            for n in range(count)
        ]
        write_pack(inputs, 144, [(noise(len(rows), 144), [row | {"ignore": 0} for row in rows])])
    settings = Identity.model_validate(
        {
            "enrolled": None,
            "photos": 4,
            "neighbours": 3,
            "val_people": 0.5,
            "false_accepts": 0.1,
            "seed": 3,
            "network": RECIPE | {"width": 4, "mixup_alpha": 0.2},
        }
    )
    return lambda compute, workers: train(
        inputs,
        inputs.parent / "none",
        settings,
        Augment.model_validate(AUGMENT),
        compute,
        workers,
        Path("identity"),
        Path("validation"),
        Path("metrics/history.csv"),
    )


def emotion(inputs: Path) -> Train:
    """Four faces of each emotion to learn from."""
    from sightline.core.packs import write_pack
    from sightline.faces.emotion import learn_emotions
    from sightline.faces.params import EMOTIONS, Emotion
    from sightline.params import Augment

    if not inputs.exists():
        rows = [
            {"photo": f"{name}{n}.png", "role": "emotion", "emotion": name, "split": split, "set": "made"}
            for n, split in enumerate(("train",) * 4 + ("val",))
            for name in EMOTIONS
        ]
        write_pack(inputs, 144, [(noise(len(rows), 144), rows)])
    settings = Emotion.model_validate(
        {
            "weights": "none",
            "val_fraction": 0.2,
            "test_fraction": 0.25,
            "seed": 1,
            "network": RECIPE | {"width": 4, "mixup_alpha": 0.2},
        }
    )
    return lambda compute, workers: learn_emotions(
        inputs,
        inputs.parent / "none",
        settings,
        Augment.model_validate(AUGMENT),
        compute,
        workers,
        Path("emotion"),
        Path("metrics/history.csv"),
    )


def backbone(inputs: Path) -> Train:
    """Five pictures of each of eight drawn classes."""
    from sightline.backbone.params import Network, Procedural
    from sightline.backbone.weights import bring_in

    name, arguments = BACKBONE
    network = Network(source="procedural", architecture=name, arguments=arguments, path=Path("none"), image_size=32)
    settings = Procedural.model_validate(
        RECIPE
        | {
            "things": 8,
            "worlds": 0,
            "pictures": 5,
            "val_share": 0.2,
            "image_size": 32,
            "crop_size": 32,
            "scale": 16,
            "augment": AUGMENT,
        }
    )
    return lambda compute, workers: bring_in(
        "tiny", network, settings, 1, compute, workers, Path("none"), Path("backbone")
    )


def parts(inputs: Path) -> Train:
    """24 frames with a bolt or a nut each to learn from."""
    import pandas as pd

    from sightline.core.files import write_csv, write_json
    from sightline.core.packs import write_pack
    from sightline.parts.params import Train as Settings
    from sightline.parts.train import train

    if not inputs.exists():
        images = noise(32, 64)
        images[:, 20:34, 20:34] = 220
        rows = [{"split": "train" if n < 24 else "val", "name": "made", "frame": n + 1} for n in range(32)]
        write_pack(inputs, 64, [(images, rows)])
        at = 27 / 64
        boxes = [(n, ("bolt", "nut")[n % 2], at, at, 14 / 64, 14 / 64) for n in range(32)]
        write_csv(inputs / "labels.csv", pd.DataFrame(boxes, columns=["row", "label", "cx", "cy", "w", "h"]))
        write_json(inputs / "classes.json", ["bolt", "nut"])
    views = dict.fromkeys(("scale", "shift", "brightness", "contrast", "saturation"), 0.1)
    settings = Settings.model_validate(
        {name: value for name, value in RECIPE.items() if name != "label_smoothing"}
        | {
            "architecture": "detector",
            "weights": "none",
            "seed": 3,
            "side": 32,
            "lr_others": 0.005,
            "gains": [7.5, 0.5, 1.5],
            "val_frames": 4,
            "views": views | {"elsewhere": 0.2, "flip": 0.5, "flip_vertical": 0.5, "transpose": 0.5},
        }
    )
    return lambda compute, workers: train(
        inputs, Path("none"), settings, compute, workers, Path("detector"), Path("metrics/history.csv")
    )


STAGES: Mapping[str, Callable[[Path], Train]] = {
    "minerals": minerals,
    "memes": memes,
    "faces": faces,
    "emotion": emotion,
    "backbone": backbone,
    "parts": parts,
}


def hook_steps(run: Run) -> list[int]:
    """Signal this process's group at the place that ``run`` names; the list grows by one with each step."""
    from sightline.core import classifier

    steps: list[int] = []
    trainings: list[int] = []

    def count(epoch: int, step: int) -> None:
        steps.append(1)
        if run.signal and (len(trainings) - 1, epoch, step) == (*run.place, 1):
            os.killpg(0, run.signal)

    learn, step = classifier._Training.on_fit_start, classifier._Training.training_step

    def on_fit_start(self: Any) -> None:
        trainings.append(1)
        learn(self)

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        count(self.current_epoch, batch_idx)
        return step(self, batch, batch_idx)

    classifier._Training.on_fit_start = on_fit_start  # type: ignore[method-assign]
    classifier._Training.training_step = training_step  # type: ignore[method-assign]
    if run.stage == "parts":
        course = sys.modules["sightline.parts.train"]._Course
        parts_step = course._step
        trainings.append(1)

        def _step(self: Any, shares: Any, number: int, per_epoch: int) -> Any:
            count(*divmod(number, per_epoch))
            return parts_step(self, shares, number, per_epoch)

        course._step = _step
    return steps


def remember_graphs(folder: Path) -> None:
    """Export each network once: a graph is what its weights and the sample decide, and takes seconds to make."""
    from safetensors.torch import save

    from sightline.core.deploy import export_onnx

    def export(network: Any, path: Path, sample: Any, *names: Any) -> None:
        weights = save({name: value.contiguous() for name, value in network.state_dict().items()})
        known = folder / hashlib.sha256(weights + sample.tobytes()).hexdigest()
        if not known.exists():
            export_onnx(network, path, sample, *names)
            part = known.with_suffix(f".{os.getpid()}")
            shutil.copyfile(path, part)
            part.replace(known)
        shutil.copyfile(known, path)

    for name in ("sightline.faces.emotion", "sightline.parts.train"):
        sys.modules[name].export_onnx = export  # type: ignore[attr-defined]


def run_in_child(train: Train, stage: ModuleType, run: Run, graphs: Path) -> int:
    """Run a stage as ``python src/stage.py`` does; a file beside its folder gets the number of its steps."""
    from sightline.core import classifier
    from sightline.params import Compute

    # Of a batch of eight, each of two threads gets a half.
    for training in (classifier, sys.modules.get("sightline.parts.train")):
        if training:
            training.SMALLEST_SHARE = 4  # type: ignore[attr-defined]
    folder = Path(run.folder)
    folder.mkdir(parents=True, exist_ok=True)
    os.setsid()
    os.dup2(os.open(folder.with_suffix(".stderr"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.chdir(folder)
    steps = hook_steps(run)
    remember_graphs(graphs)

    def main() -> None:
        compute = Compute(threads=2, accelerator=run.accelerator, precision=run.precision)  # type: ignore[arg-type]
        train(compute, run.workers)

    module = ModuleType("sightline.tiny.train")
    module.__spec__ = importlib.util.spec_from_loader(module.__name__, None)
    module.main, module.__file__ = main, __file__  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    signal.signal(signal.SIGTERM, stage._interrupt)
    # A shell lets what it starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = int(stage.run(["tiny.train"]))
    folder.with_suffix(".steps").write_text(str(len(steps)))
    return status


def fork(work: Callable[[], int]) -> int:
    """Do ``work`` in a child of this process, whose exit status it gives; returns the child's number."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = work()
        except BaseException:  # noqa: BLE001 - the traceback is part of the answer
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child


def ended(run: Run, status: int) -> Ended:
    """What a child left beside its folder."""
    steps, stderr = (Path(run.folder).with_suffix(suffix) for suffix in (".steps", ".stderr"))
    found = Ended(status, int(steps.read_text()) if steps.exists() else 0, stderr.read_text())
    steps.unlink(missing_ok=True)
    return found


def answer(cases: list[list[Run]], stages: Mapping[str, Train], stage: ModuleType, graphs: Path) -> list[list[Ended]]:
    """Run the cases, two at a time."""
    answers: list[list[Ended]] = [[] for _ in cases]
    waiting, working = list(range(len(cases)))[::-1], {}

    def go_on(number: int) -> None:
        run = cases[number][len(answers[number])]
        working[fork(lambda: run_in_child(stages[run.stage], stage, run, graphs))] = number

    while waiting or working:
        while waiting and len(working) < AT_ONCE:
            go_on(waiting.pop())
        child, status = os.wait()
        number = working.pop(child)
        answers[number].append(ended(cases[number][len(answers[number])], os.waitstatus_to_exitcode(status)))
        if len(answers[number]) < len(cases[number]):
            go_on(number)
    return answers


def serve(folder: Path) -> None:
    """Answer all that comes from stdin."""
    stage, graphs = load_stage(), folder / "graphs"
    graphs.mkdir(parents=True)

    def write_inputs() -> int:
        (folder / "none").touch()
        for name, prepare in STAGES.items():
            prepare(folder / name)
        return 0

    # In a child, too: threads of a library that has worked in this process would be missing in its children.
    if os.waitpid(fork(write_inputs), 0)[1]:
        raise RuntimeError("the inputs could not be made")
    # Imports what is left to import.
    (folder / "backbone").mkdir()
    stages = {name: prepare(folder / name) for name, prepare in STAGES.items()}
    importlib.import_module("sightline.core.classifier")
    for line in sys.stdin:
        given = json.loads(line)
        cases = [[Run(**run | {"place": tuple(run["place"])}) for run in case] for case in given]
        print(json.dumps([[asdict(end) for end in ends] for ends in answer(cases, stages, stage, graphs)]), flush=True)


AT_ONCE = 2

if __name__ == "__main__":
    serve(Path(sys.argv[1]))
