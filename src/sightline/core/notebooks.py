"""Run a notebook from top to bottom and keep it as a web page.

The kernel is the Python that runs the stage, with the code of the stage, whatever kernels are installed; the notebook
in git keeps no outputs. The page says nothing of when and how long, so that the same inputs give the same bytes.
"""

import os
import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

import sightline
from sightline.core.errors import InputError
from sightline.core.files import replacing


def run_notebook(notebook: Path, folders: dict[str, Path], out: Path) -> None:
    """Run ``notebook`` in the current folder and write it with its outputs to ``out`` (HTML).

    Args:
        notebook: an ``.ipynb`` file; it is not changed.
        folders: what the notebook finds in its environment, by name.
        out: the page; it holds all its pictures and loads nothing from elsewhere.

    Raises:
        InputError: the file is no notebook, or a cell failed; the message has the error and the cell's number.
    """
    try:
        content = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise InputError(f"{notebook} is no notebook: {' '.join(str(error).split())[:200]}") from None
    client = NotebookClient(
        content,
        kernel_manager_class=_ThisPython,
        timeout=None,
        record_timing=False,
        resources={"metadata": {"path": "."}},
    )
    environment = {**os.environ, **{name: str(path) for name, path in folders.items()}}
    code = str(Path(sightline.__path__[0]).parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        number = 1 + max(index for index, cell in enumerate(content.cells) if cell.get("outputs"))
        raise InputError(f"{notebook}, cell {number}: {error.ename}: {error.evalue}") from None
    exporter = HTMLExporter(**dict.fromkeys(ELSEWHERE, ""))  # type: ignore[no-untyped-call]
    page, _ = exporter.from_notebook_node(content, {"metadata": {"name": notebook.stem}})
    with replacing(out) as part:
        part.write_text(page, encoding="utf-8")


class _ThisPython(AsyncKernelManager):
    """Starts the kernel of this very environment, without looking for an installed one."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How a kernel is started; without its remark that it talks to us over 127.0.0.1."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


# What a page would load from elsewhere for formulas, widgets and diagrams, which ours has none of.
ELSEWHERE = (
    "jquery_url",
    "jupyter_widgets_base_url",
    "mathjax_url",
    "mermaid_js_url",
    "mermaid_layout_elk_js_url",
    "require_js_url",
    "widget_renderer_url",
)
