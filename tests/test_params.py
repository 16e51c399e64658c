"""Parameters: what is committed loads, and every mistake is one line with its dotted name."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.backbone.params import Backbone
from sightline.birds.params import Birds
from sightline.core.errors import InputError
from sightline.faces.params import Faces
from sightline.memes.params import Memes
from sightline.minerals.params import NONE, Minerals
from sightline.params import Compute, Runtime, Section, load
from sightline.parts.params import Parts

COMMITTED = Path(__file__).parents[1] / "params.yaml"
SECTIONS: dict[str, type[Section]] = {
    "compute": Compute,
    "runtime": Runtime,
    "minerals": Minerals,
    "backbone": Backbone,
    "birds": Birds,
    "faces": Faces,
    "memes": Memes,
    "parts": Parts,
}
TREE = yaml.safe_load(COMMITTED.read_text(encoding="utf-8"))
# DVC leaves keys of these names out of its run-cache key, at any depth (treeverse/dvc#10296): it would answer another
# value with the old output. tests/test_run_cache.py shows it.
FORBIDDEN = {"size", "nfiles"}


def changed(folder: Path, changes: dict[str, Any]) -> Path:
    """params.yaml with other values by dotted name; the value ``...`` takes the key away."""
    tree = copy.deepcopy(TREE)
    for name, value in changes.items():
        *parents, key = name.split(".")
        section = tree
        for parent in parents:
            section = section[parent]
        if value is ...:
            del section[key]
        else:
            section[key] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return path


def message_of(path: Path, name: str) -> str:
    with pytest.raises(InputError) as caught:
        load(name, SECTIONS[name], path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_section_of_the_committed_file_has_a_model_and_loads() -> None:
    assert TREE.keys() == SECTIONS.keys()
    for name, model in SECTIONS.items():
        assert load(name, model, COMMITTED).model_dump(mode="json", exclude_unset=True) == TREE[name]


def test_no_parameter_has_a_name_that_dvc_ignores() -> None:
    assert set(keys(TREE)) & FORBIDDEN == set()
    assert set(possible_names()) >= {"threads", "patch_size", "digest"}
    assert set(possible_names()) & FORBIDDEN == set()


def keys(tree: Any) -> Iterator[str]:
    """The keys of a tree of parameters, at any depth."""
    if isinstance(tree, dict):
        yield from tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from keys(part)


def possible_names() -> Iterator[str]:
    """The names that the models allow, those that params.yaml leaves out included."""
    for model in SECTIONS.values():
        schema = model.model_json_schema()
        for section in (schema, *schema.get("$defs", {}).values()):
            yield from section["properties"]


def test_values_do_not_change_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load("runtime", Runtime, COMMITTED).workers = 3


@pytest.mark.parametrize("name", ["minerals.train.learning_rate", "minerals.data.synthetic.fotos", "compute.seed"])
def test_an_unknown_parameter_is_named(tmp_path: Path, name: str) -> None:
    message = message_of(changed(tmp_path, {name: 1}), name.split(".", 1)[0])
    assert f"unknown parameter '{name}'" in message


@pytest.mark.parametrize(
    "name", ["minerals.train.lr", "minerals.patches.negatives", "minerals.data", "runtime.workers"]
)
def test_a_missing_parameter_is_named(tmp_path: Path, name: str) -> None:
    message = message_of(changed(tmp_path, {name: ...}), name.split(".", 1)[0])
    assert f"parameter '{name}' is missing" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("compute.accelerator", "tpu"),
        ("compute.threads", 0),
        ("compute.precision", 32),
        ("runtime.workers", -1),
        ("minerals.data.source", "internet"),
        ("minerals.data.classes", ["quartz"]),
        ("minerals.data.synthetic.photos", 2),
        ("minerals.patches.patch_size", 8),
        ("minerals.patches.patch_size", 64.5),
        ("minerals.patches.val_fraction", 0),
        ("minerals.patches.test_fraction", 1),
        ("minerals.patches.near_duplicate_bits", 33),
        ("minerals.patches.per_box.train", 0),
        ("minerals.patches.negatives.per_positive", -0.5),
        ("minerals.patches.negatives.near_share", 1.5),
        ("minerals.train.lr", 0),
        ("minerals.train.lr", float("nan")),
        ("minerals.train.lr", float("inf")),
        ("minerals.train.lr", "fast"),
        ("minerals.train.epochs", 0),
        ("minerals.train.batch_size", 1),
        ("minerals.train.ema_decay", 1),
        ("minerals.train.label_smoothing", 1),
        ("minerals.train.network.width", 0),
        ("minerals.train.augment.aspect", 0.5),
        ("minerals.train.augment.hue", 0.6),
        ("minerals.infer.max_error", 0),
        ("minerals.infer.mirror", "perhaps"),
        ("minerals.evaluate.resamples", 10),
    ],
)
def test_a_bad_value_is_named_and_shown(tmp_path: Path, name: str, value: object) -> None:
    message = message_of(changed(tmp_path, {name: value}), name.split(".", 1)[0])
    assert f"parameter '{name}" in message
    assert repr(value) in message


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    changes = {"minerals.train.epochs": 0, "minerals.train.epoks": 3, "minerals.infer.mirror": ...}
    message = message_of(changed(tmp_path, changes), "minerals")
    assert "'minerals.train.epochs'" in message
    assert "unknown parameter 'minerals.train.epoks'" in message
    assert "'minerals.infer.mirror' is missing" in message


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({"minerals.data.classes": ["quartz", "pyrite", "quartz"]}, "minerals.data", "a class is listed twice"),
        ({"minerals.data.classes": ["quartz", NONE]}, "minerals.data", f"'{NONE}' is not a class"),
        (
            {"minerals.patches.negatives.max_iou": 0.7, "minerals.patches.min_iou": 0.7},
            "minerals.patches",
            "negatives.max_iou must lie below min_iou",
        ),
        (
            {"minerals.patches.val_fraction": 0.5, "minerals.patches.test_fraction": 0.4},
            "minerals.patches",
            "val_fraction and test_fraction leave too little for training",
        ),
        ({"minerals.train.augment.crop_area": [0.9, 0.5]}, "minerals.train.augment", "crop_area"),
    ],
)
def test_values_that_do_not_go_together_are_an_error(
    tmp_path: Path, changes: dict[str, Any], name: str, reason: str
) -> None:
    message = message_of(changed(tmp_path, changes), "minerals")
    assert f"parameter '{name}" in message
    assert reason in message
    # The whole section is no help in a message about two of its values.
    assert len(message) < 400


def test_a_section_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    assert "'minerals.train'" in message_of(changed(tmp_path, {"minerals.train": 3}), "minerals")
    assert "'runtime'" in message_of(changed(tmp_path, {"runtime": None}), "runtime")


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    assert "no section 'runtime'" in message_of(changed(tmp_path, {"runtime": ...}), "runtime")


@pytest.mark.parametrize("text", ["", "- a list\n", "just text\n"])
def test_a_file_without_sections_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    assert "no section 'runtime'" in message_of(tmp_path / "params.yaml", "runtime")


@pytest.mark.parametrize(
    "content", [b"runtime: {workers: 2\n", b"runtime:\n\tworkers: 2\n", b"runtime: \xff\xfe\n", b"a: \x00\n"]
)
def test_what_is_no_yaml_is_an_error_with_its_place(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    assert "params.yaml is not valid YAML" in message_of(tmp_path / "params.yaml", "runtime")


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    assert "repository's root" in message_of(tmp_path / "params.yaml", "runtime")
