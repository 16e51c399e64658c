from dataclasses import dataclass
from pathlib import Path

from sightline.core.checkpoints import checkpoint_folder


@dataclass(frozen=True)
class Settings:
    lr: float


def test_the_folder_changes_with_content_and_settings_and_with_nothing_else(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text(file.name)
    folder = checkpoint_folder(files, Settings(0.1), "box")
    assert folder == checkpoint_folder(files, Settings(0.1), "box")
    others = [checkpoint_folder(files, Settings(0.2), "box"), checkpoint_folder(files, Settings(0.1), "full")]
    files[1].write_text("c")
    others.append(checkpoint_folder(files, Settings(0.1), "box"))
    assert len({folder, *others}) == 4
    assert not folder.exists()
