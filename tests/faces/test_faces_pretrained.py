"""What a parameter for pretrained networks may name."""

from pathlib import Path

import pytest

from sightline.core.errors import InputError
from sightline.faces.pretrained import find_networks


def test_a_folder_gives_its_networks_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.onnx", "b.json", "a.onnx", "c.safetensors", "README.md"):
        (tmp_path / name).touch()
    assert [path.name for path in find_networks(tmp_path, "x")] == ["a.onnx", "b.onnx"]
    assert [path.name for path in find_networks(tmp_path, "x", (".safetensors",))] == ["c.safetensors"]


def test_the_file_that_stands_for_none_gives_none() -> None:
    assert find_networks(Path(__file__).parents[2] / "data" / "none", "x") == []


def test_what_is_no_folder_of_networks_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    # Its settings lie beside it, where DVC does not look.
    with pytest.raises(
        InputError, match=r"^faces\.x is the file .*a\.onnx: name a folder that holds it and the \.json"
    ):
        find_networks(tmp_path / "a.onnx", "faces.x")
    with pytest.raises(InputError, match=r"^faces\.x: there is no .*elsewhere"):
        find_networks(tmp_path / "elsewhere", "faces.x")
    with pytest.raises(InputError, match=r"holds no \.safetensors or \.pt file$"):
        find_networks(tmp_path, "faces.x", (".safetensors", ".pt"))
