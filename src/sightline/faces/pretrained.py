"""Pretrained networks that a parameter names: always the folder that holds them, never a file.

Each has its settings in a JSON file of the same stem. DVC watches what the parameter names: of a file it would not see
that the JSON beside it changed.
"""

from collections.abc import Sequence
from pathlib import Path

from sightline.core.errors import InputError


def find_networks(folder: Path, parameter: str, kinds: Sequence[str] = (".onnx",)) -> list[Path]:
    """The networks in ``folder``, sorted; none where it is a file without a suffix, as data/none is.

    Args:
        folder: what ``parameter`` names.
        parameter: for messages.
        kinds: suffixes of networks.

    Raises:
        InputError: there is nothing, a file, or a folder without a network.
    """
    if folder.is_dir():
        if found := sorted(path for path in folder.iterdir() if path.suffix in kinds):
            return found
        raise InputError(f"{parameter}: {folder} holds no {' or '.join(kinds)} file")
    if not folder.is_file():
        raise InputError(f"{parameter}: there is no {folder}")
    if folder.suffix:
        raise InputError(
            f"{parameter} is the file {folder}: name a folder that holds it and the .json with its settings, "
            "so that a change of either is noticed"
        )
    return []
