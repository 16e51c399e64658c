import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from sightline.core.errors import InputError
from sightline.faces.emotion_figures import confusion, emotion_figures, network_figures
from sightline.faces.params import EMOTIONS, Evaluate

SETTINGS = Evaluate(iou=0.5, resamples=200, seed=3)


def guesses(count, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 7, count)
    probabilities = rng.dirichlet(np.full(7, 0.5), count)
    # Better than chance, and wrong in a way that differs from emotion to emotion.
    probabilities[np.arange(count), labels] += np.linspace(0.1, 0.6, 7)[labels]
    return probabilities / probabilities.sum(1, keepdims=True), labels


def test_figures_are_those_of_scikit_learn():
    probabilities, labels = guesses(300)
    tree = emotion_figures(probabilities, labels, np.full(300, "a"), np.arange(300) // 2, SETTINGS)
    answers = probabilities.argmax(1)
    assert tree["emotion_accuracy"]["value"] == pytest.approx(accuracy_score(labels, answers), abs=1e-6)
    assert tree["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(labels, answers), abs=1e-6)
    assert tree["macro_f1"]["value"] == pytest.approx(f1_score(labels, answers, average="macro"), abs=1e-6)
    expected = precision_recall_fscore_support(labels, answers, labels=range(7))
    for kind, values in zip(("precision", "recall", "f1"), expected, strict=False):
        found = [tree["per_class"][emotion][kind]["value"] for emotion in EMOTIONS]
        assert found == pytest.approx(values, abs=1e-6)
    counts = [list(tree["confusion"][emotion].values()) for emotion in EMOTIONS]
    assert counts == confusion_matrix(labels, answers).tolist()
    assert tree["emotion_accuracy"]["n"] == 150
    assert "by_set" not in tree


def test_a_set_is_measured_as_if_it_were_all():
    probabilities, labels = guesses(200)
    sets = np.where(np.arange(200) < 120, "votes", "one label")
    tree = emotion_figures(probabilities, labels, sets, np.arange(200), SETTINGS)
    alone = emotion_figures(probabilities[:120], labels[:120], sets[:120], np.arange(120), SETTINGS)
    assert tree["by_set"]["votes"] == alone
    assert tree["by_set"]["one label"]["faces"] == 80


def test_an_emotion_that_a_set_lacks_is_no_zero_in_its_macro_f1():
    labels = np.array([0, 0, 1, 1])
    answers = np.array([0, 0, 1, 5])
    probabilities = np.full((4, 7), 0.05)
    probabilities[np.arange(4), answers] = 0.7
    tree = emotion_figures(probabilities, labels, np.full(4, ""), np.arange(4), SETTINGS)
    # neutral: 1; happiness: precision 1, recall 1/2, so 2/3.
    assert tree["macro_f1"]["value"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)
    assert tree["balanced_accuracy"]["value"] == pytest.approx(0.75)
    assert list(tree["confusion"]) == ["neutral", "happiness"]
    assert tree["confusion"]["happiness"]["disgust"] == 1


def test_calibration_error_by_hand():
    # Four sure answers of which three are right: confidence 0.9, accuracy 0.75.
    probabilities = np.full((4, 7), 0.1 / 6)
    probabilities[:, 2] = 0.9
    tree = emotion_figures(probabilities, np.array([2, 2, 2, 0]), np.full(4, ""), np.arange(4), SETTINGS)
    assert tree["ece"]["value"] == pytest.approx(0.15)


def test_the_interval_of_a_small_calibration_error_lies_around_it():
    # Whoever says 0.6 is right six times in ten: no error, while hardly any resample has as many right answers.
    labels = np.array([2] * 60 + [0] * 40)
    probabilities = np.full((100, 7), 0.4 / 6)
    probabilities[:, 2] = 0.6
    ece = emotion_figures(probabilities, labels, np.full(100, ""), np.arange(100), SETTINGS)["ece"]
    assert ece["value"] == pytest.approx(0, abs=1e-6)
    assert ece["low"] == 0
    # Half of what a share's error is likely to be, and no more: sqrt(0.6 * 0.4 / 100) = 0.05.
    assert 0.03 < ece["high"] < 0.08


def test_the_panel_is_compared_with_each_network_on_the_same_resamples():
    probabilities, labels = guesses(120)
    panel = probabilities.argmax(1)
    answers = {"same": panel, "one worse": panel.copy(), "never": (labels + 1) % 7}
    right = np.flatnonzero(panel == labels)
    answers["one worse"][right[0]] = (labels[right[0]] + 1) % 7
    sets = np.array(["a"] * 100 + ["b"] * 18 + ["c"] * 2)
    groups = np.append(np.arange(118), [118, 118])
    found = network_figures(answers, panel, labels, sets, groups, SETTINGS)
    accuracy = accuracy_score(labels, panel)
    gains = {name: tree["panel_minus_this"]["emotion_accuracy"] for name, tree in found.items()}
    assert {gains["same"][key] for key in ("value", "low", "high")} == {0}
    # One face is in 0 to 5 times, whatever happens to the others.
    assert gains["one worse"]["value"] == pytest.approx(1 / 120, abs=1e-6)
    assert 0 <= gains["one worse"]["low"] <= gains["one worse"]["high"] < 5 / 120
    assert gains["never"]["value"] == pytest.approx(accuracy, abs=1e-6)
    assert found["never"]["emotion_accuracy"]["value"] == found["never"]["macro_f1"]["value"] == 0
    assert found["same"]["by_set"]["b"]["emotion_accuracy"]["value"] == pytest.approx(
        accuracy_score(labels[100:118], panel[100:118]), abs=1e-6
    )
    assert found["same"]["by_set"]["c"] == {"faces": 2}


def test_a_set_of_one_photo_has_no_interval():
    probabilities, labels = guesses(50)
    sets = np.array(["many"] * 48 + ["few"] * 2)
    groups = np.append(np.arange(48), [99, 99])
    tree = emotion_figures(probabilities, labels, sets, groups, SETTINGS)
    assert tree["by_set"]["few"] == {"faces": 2}
    with pytest.raises(InputError, match="at least two independent units"):
        emotion_figures(probabilities[48:], labels[48:], sets[48:], groups[48:], SETTINGS)


def test_shapes_that_do_not_fit_are_refused():
    probabilities, labels = guesses(5)
    with pytest.raises(ValueError, match="do not fit"):
        emotion_figures(probabilities[:, :6], labels, np.full(5, ""), np.arange(5), SETTINGS)
    with pytest.raises(ValueError, match="do not fit"):
        emotion_figures(probabilities, labels, np.full(4, ""), np.arange(5), SETTINGS)


def test_the_confusion_counts_each_face_once():
    found = confusion(np.array([6, 6, 4]), np.array([6, 0, 4]))
    assert found["fear"] == dict.fromkeys(EMOTIONS, 0) | {"fear": 1, "neutral": 1}
    assert found["anger"]["anger"] == 1
    assert len(found) == 2
