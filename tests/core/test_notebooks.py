"""Notebooks run by stages: with this Python and this code, cell errors by number, pages that need nothing else."""

import sys
from pathlib import Path

import nbformat
import pytest

import sightline
from sightline.core.errors import InputError
from sightline.core.notebooks import run_notebook

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_in_git_has_no_outputs(path: Path) -> None:
    content = nbformat.read(path, as_version=4)
    nbformat.validate(content)
    for cell in content.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def small_notebook(path: Path, *cells: str) -> Path:
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(content, path)
    return path


def test_a_cell_that_fails_is_named_and_no_page_is_left(tmp_path: Path) -> None:
    notebook = small_notebook(tmp_path / "bad.ipynb", "1", "x = 2", "raise ValueError('odd')", "3")
    with pytest.raises(InputError, match=r"bad\.ipynb, cell 3: ValueError: odd"):
        run_notebook(notebook, {}, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_kernel_is_this_python_with_this_code(tmp_path: Path) -> None:
    notebook = small_notebook(
        tmp_path / "where.ipynb", "import sys, sightline", "print(sys.executable, *sightline.__path__)"
    )
    run_notebook(notebook, {}, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert sys.executable in page
    assert str(next(iter(sightline.__path__))) in page


def test_what_is_no_notebook_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.ipynb").write_text("not json")
    with pytest.raises(InputError, match=r"text\.ipynb is no notebook"):
        run_notebook(tmp_path / "text.ipynb", {}, tmp_path / "page.html")
    with pytest.raises(InputError, match=r"none\.ipynb is no notebook"):
        run_notebook(tmp_path / "none.ipynb", {}, tmp_path / "page.html")
