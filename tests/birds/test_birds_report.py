import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from pypdf import PdfReader

from sightline.birds import report as stage
from sightline.birds.embeddings import write_embeddings
from sightline.birds.evaluate import evaluate
from sightline.birds.layout import Photo
from sightline.birds.params import Birds
from sightline.birds.photos import read_photos
from sightline.birds.project import Projection
from sightline.birds.source import ingest
from sightline.birds.split import split
from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.report import compile_report
from sightline.params import Compute, load

PARAMS = Path(__file__).parents[2] / "params.yaml"
GENERA, COLOURS = ("Wren", "Finch", "Gull", "Tern"), ("Red", "Sky_blue", "Grey", "Pale")
SPECIES = [f"{colour}_{genus}" for genus in GENERA for colour in COLOURS]
NAMES = [f"{number:03}.{name}" for number, name in enumerate(SPECIES, 1)]
HOSTILE = ['#panic("no")', "$\\frac{$ @wah2011", "<b> *bold* \\ [c]", "NA", "007", "._", *NAMES[6:]]
COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")


@dataclass(frozen=True)
class Run:
    """The files of a run whose embeddings are drawn by chance around their classes."""

    folder: Path
    birds: Birds

    def report(self, out: Path) -> dict[str, Any]:
        """Write ``report.pdf`` and ``figures/`` into ``out``; what went into the template."""
        with patch.object(stage, "compile_report", wraps=compile_report) as compiling:
            report_with(self, self.folder / "split.csv", out)
        data: dict[str, Any] = compiling.call_args.args[1]
        return data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("birds"), NAMES, "synthetic", "net-box")


@pytest.fixture(scope="module")
def data(run: Run) -> dict[str, Any]:
    return run.report(run.folder)


def test_the_pdf_holds_the_figures_of_metrics_json(run: Run, data: dict[str, Any]) -> None:
    text = pdf_text(run.folder / "report.pdf")
    metrics = read_json(run.folder / "metrics" / "metrics.json")
    for name in ("recall_at_1", "recall_at_8", "map_at_r", "nmi", "gain_recall_at_1", "gain_map_at_r"):
        for key in ("value", "low", "high"):
            assert f"{metrics[name][key]:.3f}" in text.replace("−", "-")
    for forms in metrics["variants"].values():
        for form in ("frozen", "whitened", "projected"):
            assert f"{forms[form]['map_at_r']['value']:.3f}" in text
    for figures in metrics["baseline"].values():
        assert f"{figures['recall_at_1']['value']:.3f}" in text
    excludes = metrics["gain_map_at_r"]["low"] > 0 or metrics["gain_map_at_r"]["high"] < 0
    assert (data["gain"][1]["verdict"] != "open") == excludes


def test_the_same_run_gives_the_same_bytes_again(run: Run, data: dict[str, Any], tmp_path: Path) -> None:
    run.report(tmp_path)
    assert (tmp_path / "report.pdf").read_bytes() == (run.folder / "report.pdf").read_bytes()
    for figure in (run.folder / "figures").iterdir():
        assert figure.read_bytes() == (tmp_path / "figures" / figure.name).read_bytes()


def test_galleries_show_right_and_wrong_answers_as_the_photos_names_say(run: Run, data: dict[str, Any]) -> None:
    assert [gallery["name"] for gallery in data["galleries"]] == ["best", "typical", "worst"]
    for gallery in data["galleries"]:
        for row in gallery["rows"]:
            query, *answers = row["names"]
            assert row["right"][1:] == [name == query for name in answers]
    table = pd.read_csv(run.folder / "metrics" / "per_class.csv")
    own = table[(table["variant"] == "net-box") & (table["form"] == "projected")].set_index("class_name")["map_at_r"]
    best, worst = data["species"]["best"][0][0], data["species"]["worst"][-1][0]
    plain = own.rename(lambda name: name[4:].replace("_", " "))
    assert (plain[best], plain[worst]) == (own.max(), own.min())


def test_counts_are_those_of_the_split(run: Run, data: dict[str, Any]) -> None:
    photos = read_photos(run.folder / "split.csv")
    for half, species, images, fewest, _, most in data["data"]["halves"]:
        sizes = photos[photos["split"] == half].groupby("class_id").size()
        assert (species, images, fewest, most) == (len(sizes), str(sizes.sum()), sizes.min(), sizes.max())
    assert data["data"]["problem_count"] == 1
    assert data["data"]["problems"] == [["photo left out", 1]]


def test_the_share_of_blind_answers_of_the_right_genus(data: dict[str, Any]) -> None:
    # 8 test species of 6 photos, 4 a genus: of the 42 photos of other species 18 are of the query's genus.
    assert data["species"]["blind"] == f"{100 * 18 / 42:.0f}"


def test_names_are_never_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path, HOSTILE[::-1], "path", "net-full")
    run.report(tmp_path)
    assert '#panic("no")' in pdf_text(tmp_path / "report.pdf")


def test_results_of_another_split_are_refused(run: Run, tmp_path: Path) -> None:
    table = pd.read_csv(run.folder / "split.csv")
    table["split"] = table["split"].map({"train": "test", "test": "train"})
    table.to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(InputError, match="different runs"):
        report_with(run, tmp_path / "split.csv", tmp_path)
    assert not (tmp_path / "figures").exists()


def report_with(run: Run, split_csv: Path, out: Path) -> None:
    of_run, made = run.folder, (out / "figures", out / "report.pdf")
    learned = (of_run / "embeddings", of_run / "projections", of_run / "results", of_run / "metrics")
    stage.report(of_run / "raw", split_csv, *learned, run.birds, *made)


def pdf_text(path: Path) -> str:
    text = "\n".join(page.extract_text() for page in PdfReader(path).pages)
    return re.sub(r"\s+", " ", text)


def make_run(folder: Path, names: Sequence[str], source: str, primary: str) -> Run:
    rng = np.random.default_rng(0)
    photos = [draw_photo(folder / "in", rng, names, number) for number in range(6 * len(names))]
    (folder / "in" / "broken.jpg").write_bytes(b"no picture")
    photos.append(Photo(9999, "x/broken.jpg", folder / "in" / "broken.jpg", 1, names[0], (0, 0, 9, 9)))
    ingest(photos, folder / "raw", workers=0)
    split(folder / "raw", None, 0, folder / "split.csv", folder / "split.json")
    return finish_run(folder, source, primary, rng)


def finish_run(folder: Path, source: str, primary: str, rng: np.random.Generator) -> Run:
    default = load("birds", Birds, PARAMS)
    measuring = {"primary": primary, "baselines": ("pixels-box",), "resamples": 100, "clusters_restarts": 1}
    birds = default.model_copy(
        update={
            "data": default.data.model_copy(update={"source": source}),
            "evaluate": default.evaluate.model_copy(update=measuring),
        }
    )
    table = read_photos(folder / "split.csv")
    for number, variant in enumerate(("net-box", "net-full", "pixels-box")):
        centres = rng.normal(0, 1, (table["class_id"].max() + 1, 16))
        vectors = centres[table["class_id"]] + rng.normal(0, 1.2 + 0.6 * number, (len(table), 16))
        crop = variant.split("-")[1]
        config = {"backbone": "net", "sha256": None if number else "0" * 64, "crop": crop, "size": 8, "features": 16}
        write_embeddings(folder / "embeddings" / variant, table, vectors.astype(np.float32), config)
        for form in ("whitened", "projected") if number < 2 else ():
            matrix = torch.eye(16)[:, : 12 if form == "whitened" else 15]
            tried = [{"candidate": name, "map_at_r": 0.25, "recall_at_1": 0.5} for name in ("frozen", form)]
            told = {"method": form, "settings": {"shrinkage": 3.0}, "tried": tried}
            Projection(torch.zeros(16), matrix).save(folder / "projections" / variant / form, told)
    inputs = (folder / "split.csv", folder / "embeddings", folder / "projections")
    evaluate(*inputs, ["net-box", "net-full"], birds.evaluate, COMPUTE, folder / "results", folder / "metrics")
    return Run(folder, birds)


def draw_photo(folder: Path, rng: np.random.Generator, names: Sequence[str], number: int) -> Photo:
    folder.mkdir(exist_ok=True)
    path = folder / f"{number}.png"
    coarse = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (60, 50), interpolation=cv2.INTER_CUBIC))
    label = number % len(names)
    return Photo(number + 1, f"{label}/{number}.png", path, label + 1, names[label], (5.0, 5.0, 40.0, 30.0))
