import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy import special
from sklearn.linear_model import LogisticRegression

from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.packs import write_pack
from sightline.faces.emotion import EmotionFaces, fit_panel, learn_emotions
from sightline.faces.feelings import FACE_WINDOW, EmotionNetwork, Settings, combine, load_emotion, read_settings
from sightline.faces.params import EMOTIONS, Emotion, Network
from sightline.params import Augment, Compute

COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")
AUGMENT = Augment(crop_area=(0.9, 1.0), aspect=1.0, rotate=0, flip=0.5, brightness=0, contrast=0, saturation=0, hue=0)
NETWORK = Network(
    width=8, epochs=10, batch_size=16, lr=0.01, weight_decay=0.01, warmup_epochs=1, label_smoothing=0.0, ema_decay=0.9,
    mixup_alpha=0.0,
)  # fmt: skip
SETTINGS = Emotion(weights=Path("none"), val_fraction=0.2, test_fraction=0.25, seed=1, network=NETWORK)
JUMBLED = ("fear", "neutral", None, "anger", "surprise", "sadness", "happiness", "disgust")


def face(emotion, rng):
    """A bright bar within the window, its height the emotion's number, on noise."""
    crop = rng.integers(0, 90, (144, 144, 3)).astype(np.uint8)
    top = 38 + 12 * emotion
    crop[top : top + 10, 30:114] = 220
    return crop


@pytest.fixture
def crops(tmp_path):
    def make(counts=(("train", 12), ("val", 4), ("test", 3)), emotions=EMOTIONS):
        rng = np.random.default_rng(0)
        rows, images = (
            [{"photo": "gallery/a.jpg", "role": "gallery", "emotion": "", "split": "val", "set": ""}],
            [face(0, rng)],
        )
        for number, emotion in enumerate(emotions):
            for split, count in counts:
                for index in range(count):
                    photo = f"emotion/{emotion}/{split}{index}.jpg"
                    rows.append(
                        {"photo": photo, "role": "emotion", "emotion": emotion, "split": split, "set": split[0]}
                    )
                    images.append(face(number, rng))
        write_pack(tmp_path / "crops", 144, [(np.stack(images), rows)])
        return tmp_path / "crops"

    return make


def write_network(path, classes=JUMBLED, *, channels=3, size=24, batch="n", logits=True, **changes):
    """A graph whose score for emotion k is the mean brightness of rows 12 k + 14 … of the face window, and its JSON."""
    weights = np.zeros((len(classes), channels * size * size), np.float32)
    scale = size / 96
    for row, name in enumerate(classes):
        if name is not None:
            mask = np.zeros((channels, size, size), np.float32)
            top = 6 + 12 * EMOTIONS.index(name)
            mask[:, round(top * scale) : round((top + 10) * scale)] = 1
            weights[row] = mask.ravel() / mask.sum() * 8
    nodes = [
        helper.make_node("Flatten", ["face"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["scores"], transB=1),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("face", TensorProto.FLOAT, [batch, channels, size, size])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, len(classes)]) for name in OUTPUTS]
    graph = helper.make_graph(nodes, "bars", inputs, outputs, [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(exist_ok=True, parents=True)
    onnx.save(model, path)
    known = {
        "size": size,
        "colour": "grey",
        "resize": "area",
        "mean": 100,
        "std": 50,
        "output": "scores" if logits else "shares",
        "gives": "logits" if logits else "probabilities",
        "classes": classes,
    }
    path.with_suffix(".json").write_text(json.dumps(known | changes))
    return path


OUTPUTS = ("scores", "shares")


def run(crops, weights, out):
    learn_emotions(crops, weights, SETTINGS, AUGMENT, COMPUTE, 0, out / "emotion", out / "history.csv")
    return out / "emotion"


@pytest.fixture
def nothing(tmp_path):
    path = tmp_path / "none"
    path.write_text("no networks")
    return path


def test_our_own_network_learns_and_reads_the_faces_of_the_test_split(crops, nothing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = run(crops(), nothing, tmp_path)
    faces = EmotionFaces.open(tmp_path / "crops")
    rows = faces.pack.rows("test")
    found = load_emotion(folder)(np.asarray(faces.pack.images[rows]))
    assert found.shape == (21, 7)
    assert found.dtype == np.float32
    assert found.sum(1) == pytest.approx(1, abs=1e-5)
    assert (found.argmax(1) == faces.labels[rows]).mean() > 0.9
    config = read_json(folder / "config.json")
    assert config["classes"] == list(EMOTIONS)
    # Faces of people are no emotion pictures, whatever their split is called.
    assert config["calibration"]["faces"] == 28
    assert (folder / "model.safetensors").is_file()
    assert len(pd.read_csv(tmp_path / "history.csv")) == NETWORK.epochs
    assert not list(tmp_path.glob(".cache/checkpoints/*"))


def test_a_pretrained_network_is_read_in_its_own_order(crops, tmp_path):
    folder = run(crops(), write_network(tmp_path / "nets" / "bars.onnx").parent, tmp_path)
    # The folder is all that is needed.
    shutil.rmtree(tmp_path / "nets")
    faces = EmotionFaces.open(tmp_path / "crops")
    rows = faces.pack.rows("test")
    found = load_emotion(folder)(np.asarray(faces.pack.images[rows]))
    assert (found.argmax(1) == faces.labels[rows]).all()
    assert pd.read_csv(tmp_path / "history.csv").empty
    [member] = read_json(folder / "config.json")["networks"]
    assert member["file"] == "bars.onnx"


def test_a_panel_has_a_weight_for_each_network_of_a_folder(crops, tmp_path):
    write_network(tmp_path / "nets" / "good.onnx")
    # It looks at the bars of other emotions than it says.
    write_network(tmp_path / "nets" / "wrong.onnx", classes=JUMBLED[::-1])
    shutil.copy(tmp_path / "nets" / "good.json", tmp_path / "nets" / "wrong.json")
    config = read_json(run(crops(), tmp_path / "nets", tmp_path) / "config.json")
    assert [member["file"] for member in config["networks"]] == ["good.onnx", "wrong.onnx"]
    good, wrong = (config["calibration"]["networks"][f"{name}.onnx"]["accuracy"] for name in ("good", "wrong"))
    assert good == config["calibration"]["accuracy"] == 1
    assert wrong < 0.3


def test_a_voter_that_knows_nothing_has_no_say():
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 7, 400)
    knows = special.log_softmax(rng.normal(size=(400, 7)) + 2 * np.eye(7)[labels], axis=1)
    guesses = special.log_softmax(2 * rng.normal(size=(400, 7)), axis=1)
    weights, _ = fit_panel(np.stack([knows, guesses]), labels, np.ones(400))
    assert (weights[0] > 1).all()
    assert np.abs(weights[1]).max() < 0.2


def test_each_emotion_is_asked_of_the_network_that_knows_it():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 7, 600)
    of_first = np.arange(7) < 4
    signal = 2.5 * np.eye(7)[labels]
    logits = rng.normal(size=(2, 600, 7)) + np.stack([signal * of_first, signal * ~of_first])
    votes = special.log_softmax(logits, axis=2)
    weights, offsets = fit_panel(votes[:, :300], labels[:300], np.ones(300))
    assert ((weights[0] > weights[1]) == of_first).all()

    def accuracy(weights, offsets):
        return (combine(votes[:, 300:], weights, offsets).argmax(1) == labels[300:]).mean()

    # No mixture in which a network counts alike for all emotions comes near.
    mixed = [accuracy(np.outer([share, 1 - share], np.ones(7)), np.zeros(7)) for share in np.linspace(0, 1, 21)]
    assert accuracy(weights, offsets) > max(mixed) + 0.05


def test_an_emotion_that_a_network_hardly_ever_names_keeps_its_weight():
    rng = np.random.default_rng(8)
    labels = np.arange(140) % 7
    logits = rng.normal(size=(140, 7)) + 2 * np.eye(7)[labels]
    logits[:, 6] -= 5
    weights, offsets = fit_panel(special.log_softmax(logits, axis=1)[None], labels, np.ones(140))
    assert weights[0, 6] >= weights[0, :6].mean()
    assert offsets.argmax() == 6


def test_a_face_that_counts_twice_is_two_faces():
    rng = np.random.default_rng(9)
    labels, votes = rng.integers(0, 7, 60), special.log_softmax(rng.normal(size=(2, 60, 7)), axis=2)
    counts = np.where(np.arange(60) < 20, 2.0, 1.0)
    twice = np.repeat(np.arange(60), counts.astype(int))
    found, expected = fit_panel(votes, labels, counts), fit_panel(votes[:, twice], labels[twice], np.ones(80))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-3)


def test_labels_that_are_not_trusted_have_no_say(crops, tmp_path):
    pack, nets = crops(), write_network(tmp_path / "nets" / "bars.onnx", std=2000).parent
    known = {}
    # A label's source is the first letter of its split here.
    for name, trust in (("all", {}), ("val", {"t": 0}), ("halves", {"t": 0.5, "v": 0.5})):
        settings = SETTINGS.model_copy(update={"trust": trust})
        learn_emotions(pack, nets, settings, AUGMENT, COMPUTE, 0, tmp_path / name, tmp_path / "history.csv")
        known[name] = read_json(tmp_path / name / "config.json")["networks"]
    assert known["all"] != known["val"]
    assert known["all"] != known["halves"]
    network = EmotionNetwork(nets / "bars.onnx", read_settings(nets / "bars.json"))
    faces = EmotionFaces.open(pack)
    rows = faces.pack.rows("val")
    weights, _ = fit_panel(network(np.asarray(faces.pack.images[rows]))[None], faces.labels[rows], np.ones(len(rows)))
    assert list(known["val"][0]["weights"].values()) == pytest.approx(weights[0], abs=1e-3)
    settings = SETTINGS.model_copy(update={"trust": {"votes": 2}})
    with pytest.raises(InputError, match=r"faces\.emotion\.trust names votes; labels are of t, v$"):
        learn_emotions(pack, nets, settings, AUGMENT, COMPUTE, 0, tmp_path / "no", tmp_path / "history.csv")


def test_without_emotion_pictures_networks_count_alike(crops, tmp_path, capsys):
    write_network(tmp_path / "nets" / "a.onnx")
    write_network(tmp_path / "nets" / "b.onnx", channels=1)
    folder = run(crops(emotions=()), tmp_path / "nets", tmp_path)
    config = read_json(folder / "config.json")
    assert [member["weights"] for member in config["networks"]] == [dict.fromkeys(EMOTIONS, 0.5)] * 2
    assert config["calibration"] == {"splits": ["train", "val"], "faces": 0}
    assert "no emotion pictures to calibrate on" in capsys.readouterr().err


def test_an_emotion_without_pictures_is_named(crops, nothing, tmp_path):
    with pytest.raises(InputError, match=r"no picture of fear in split 'train' \(of 0 in all\)"):
        run(crops(emotions=EMOTIONS[:-1]), nothing, tmp_path)
    with pytest.raises(InputError, match=r"no picture of neutral, happiness, .* in split 'val'"):
        run(crops(counts=(("train", 2),)), nothing, tmp_path)
    assert not (tmp_path / "emotion").exists()


def test_an_unknown_emotion_is_named(crops, nothing, tmp_path):
    with pytest.raises(InputError, match=r"emotion contempt is none of neutral"):
        run(crops(emotions=(*EMOTIONS, "contempt")), nothing, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["angry", *EMOTIONS]}, "classes has angry; the emotions are neutral, "),
        ({"classes": EMOTIONS[:6]}, "classes must name each emotion once, unlike fear"),
        ({"classes": [*EMOTIONS, "fear"]}, "unlike fear"),
        ({"window": [24, 32, 120, 160]}, "must be left, top, right, bottom of a square within 144 px"),
        ({"window": [24, 32, 120, 100]}, "of a square within"),
        ({"window": [24, 32]}, "window.2: field required"),
        ({"std": 0}, "std must be above 0"),
        ({"colour": "cmyk"}, "colour: input should be 'RGB', 'BGR' or 'grey'"),
        ({"pixels": 3}, "pixels: extra inputs are not permitted"),
        ({"output": "logits"}, "has no output 'logits', but scores, shares"),
        ({"size": 25}, "does not run as bars.json says"),
        ({"mean": [1, 2, 3], "std": [1, 1, -1]}, "std must be above 0"),
        ({"classes": [*JUMBLED, None]}, "gives (1, 8) for a face, but its settings name 9 classes"),
    ],
)
def test_settings_that_cannot_be_are_one_clear_line(tmp_path, crops, changes, message):
    path = write_network(tmp_path / "nets" / "bars.onnx")
    known = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(known | changes))
    with pytest.raises(InputError) as caught:
        run(crops(counts=(("val", 1),)), path.parent, tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / "nets") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "emotion").exists()


def test_files_that_are_no_networks_are_one_clear_line(tmp_path, crops):
    path = write_network(tmp_path / "nets" / "bars.onnx")
    path.with_suffix(".json").write_text("{half")
    with pytest.raises(InputError, match=r"bars\.json is not valid JSON"):
        read_settings(path.with_suffix(".json"))
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"bars\.json is missing"):
        run(crops(counts=(("val", 1),)), path.parent, tmp_path)
    write_network(path)
    path.write_bytes(b"not a graph")
    with pytest.raises(InputError, match=r"bars\.onnx is no model") as caught:
        run(crops(counts=(("val", 1),)), path.parent, tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no networks for emotions"):
        load_emotion(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text('{"networks": [{}]}')
    with pytest.raises(InputError, match=r"config\.json describes no networks"):
        load_emotion(tmp_path / "empty")


def test_views_are_the_window_in_the_order_of_the_networks_channels(tmp_path):
    path = write_network(tmp_path / "bars.onnx", colour="BGR", size=96, mean=[1, 2, 3], std=[2, 4, 8])
    network = EmotionNetwork(path, read_settings(path.with_suffix(".json")))
    crops = np.random.default_rng(1).integers(0, 256, (2, 144, 144, 3)).astype(np.uint8)
    left, top, right, bottom = FACE_WINDOW
    assert (network.views(crops) == crops[:, top:bottom, left:right, ::-1]).all()
    grey = EmotionNetwork(path, network.settings.model_copy(update={"colour": "grey"})).views(crops)
    expected = cv2.cvtColor(crops[1, top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    assert all((grey[1, :, :, channel] == expected).all() for channel in range(3))


def test_answers_are_those_of_the_formula_whatever_the_batch(tmp_path):
    rng = np.random.default_rng(2)
    crops = np.stack([face(number % 7, rng) for number in range(5)])
    free = write_network(tmp_path / "free.onnx", size=96, colour="RGB", mean=[90, 100, 110], std=[40, 50, 60])
    settings = read_settings(free.with_suffix(".json"))
    left, top, right, bottom = FACE_WINDOW

    def by_hand(faces):
        pixels = (faces[:, top:bottom, left:right] - np.array([90, 100, 110])) / np.array([40, 50, 60])
        # A bar's mean over rows and channels, times eight, is a logit; the order does not matter by name.
        logits = np.stack([8 * pixels[:, 6 + 12 * k : 16 + 12 * k].mean((1, 2, 3)) for k in range(7)], axis=1)
        return special.softmax(logits, axis=1)

    expected = (by_hand(crops) + by_hand(crops[:, :, ::-1])) / 2
    # The asymmetric part of a face must not matter.
    crops[:, 60:70, 24:60] += 30
    expected = (by_hand(crops) + by_hand(crops[:, :, ::-1])) / 2
    assert np.exp(EmotionNetwork(free, settings)(crops)) == pytest.approx(expected, rel=1e-4)
    fixed = write_network(tmp_path / "fixed.onnx", size=96, batch=2)
    assert np.exp(EmotionNetwork(fixed, settings)(crops)) == pytest.approx(expected, rel=1e-4)
    assert EmotionNetwork(free, settings)(crops[:0]).shape == (0, 7)


def test_probabilities_and_logits_say_the_same(tmp_path):
    rng = np.random.default_rng(3)
    crops = np.stack([face(number, rng) for number in range(7)])
    found = []
    for logits in (False, True):
        path = write_network(tmp_path / f"{logits}.onnx", logits=logits)
        found.append(np.exp(EmotionNetwork(path, read_settings(path.with_suffix(".json")))(crops)))
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_panel_of_one_is_fitted_as_logistic_regression_fits_it():
    # With one network whose weight is held at 1 by more faces than any prior, offsets are log-ratios of priors.
    rng = np.random.default_rng(4)
    labels = rng.choice(7, 20000, p=np.array([4, 2, 1, 1, 1, 1, 1]) / 11)
    logits = rng.normal(0, 1, (len(labels), 7)) + 2 * np.eye(7)[labels]
    # The networks saw all emotions equally often: these are its true posteriors then.
    votes = special.log_softmax(2 * logits, axis=1)
    weights, offsets = fit_panel(votes[None], labels, np.ones(len(labels)))
    assert weights == pytest.approx(np.ones((1, 7)), abs=0.1)
    assert offsets - offsets[6] == pytest.approx(np.log([4, 2, 1, 1, 1, 1, 1]), abs=0.12)
    free = LogisticRegression(C=1e6, max_iter=500).fit(logits, labels)
    ours = special.log_softmax(weights[0] * votes + offsets, axis=1)
    theirs = free.predict_log_proba(logits)
    rows = np.arange(len(labels))
    assert ours[rows, labels].mean() == pytest.approx(theirs[rows, labels].mean(), abs=0.005)


def test_offsets_of_few_faces_stay_small():
    votes = special.log_softmax(np.random.default_rng(5).normal(size=(1, 3, 7)), axis=2)
    _, offsets = fit_panel(votes, np.array([2, 2, 2]), np.ones(3))
    # Nobody was ever anything but surprised, and still nothing else is impossible.
    assert np.abs(offsets).max() < 2
    assert offsets.argmax() == 2


def test_votes_are_combined_as_weighted_geometric_means():
    first, second = np.array([0.7, 0.3]), np.array([0.2, 0.8])
    weights = np.array([[1.0, 1.0], [0.5, 0.25]])
    found = combine(np.log([[first], [second]]), weights, np.array([0.0, np.log(2)]))
    odds = 0.7 / 0.3 * 0.2**0.5 / 0.8**0.25 / 2
    assert found[0] == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])


def test_crops_of_another_size_are_refused(crops, tmp_path):
    folder = run(crops(counts=(("val", 2),)), write_network(tmp_path / "nets" / "bars.onnx").parent, tmp_path)
    with pytest.raises(ValueError, match="not \\(N, 144, 144, 3\\)"):
        load_emotion(folder)(np.zeros((1, 112, 112, 3), np.uint8))


def test_settings_have_defaults_that_fit_a_fer_network():
    settings = Settings(size=48, colour="grey", output="y", gives="logits", classes=EMOTIONS)
    assert settings.window == FACE_WINDOW == (24, 32, 120, 128)
