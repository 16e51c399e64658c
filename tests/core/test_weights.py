import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sightline.core.weights import write_weights


def test_what_is_read_is_what_was_written_in_any_layout(tmp_path: Path) -> None:
    weights = {
        "kernel": torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
        "turned": torch.randn(6, 2).T,
        "count": torch.tensor(7),
    }
    write_weights(tmp_path / "model.safetensors", weights)
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_reported_as_one() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write_weights(Path("/dev/full"), {"a": torch.zeros(100_000)})
    assert caught.value.errno == errno.ENOSPC
