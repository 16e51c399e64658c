"""Where work that was cut off goes on: a folder that belongs to exactly one set of inputs."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from sightline.core.files import sha256, sha256_of


def checkpoint_folder(files: Iterable[Path], *settings: Any) -> Path:
    """``.cache/checkpoints/<digest>``, the digest being of all that determines a result.

    That is the content of ``files``, the ``repr`` of each of ``settings``, the code of this package that is loaded, and
    the version of torch. Nothing is created; who writes into the folder removes it when the work is done.
    """
    code = {name: module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "sightline"}
    sources = [Path(file).read_bytes() for _, file in sorted(code.items()) if file]
    digest = sha256_of(*map(sha256, files), *map(repr, settings), *sources, torch.__version__)
    return Path(".cache/checkpoints") / digest
