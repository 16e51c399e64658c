"""The classifier above the features: what classes have in common, they learn together."""

import torch
import torch.nn.functional as F

from sightline.backbone.pretrain import _Classifier
from sightline.core.backbone import FeatureNetwork

TRAITS = [("shape star", "hue 1"), ("shape star", "hue 1"), ("shape drop", "hue 2")]
SCALE = 16.0


def classifier() -> _Classifier:
    torch.manual_seed(1)
    network = FeatureNetwork("resnet10t", {"channels": [8, 16, 32, 64], "stem_width": 8})
    return _Classifier(network, 40, SCALE, TRAITS)


def test_logits_are_scaled_cosines_and_siblings_start_near_each_other():
    learner = classifier()
    logits = learner(torch.randn(4, 3, 40, 40))
    assert logits.shape == (4, 3)
    assert logits.abs().max() <= SCALE
    directions = F.normalize(learner.shares @ learner.directions)
    cosines = directions @ directions.T
    assert cosines[0, 1] > 0.25
    assert cosines[0, 1] > cosines[0, 2] + 0.2


def test_a_picture_of_one_class_teaches_a_trait_to_the_other_that_has_it():
    learner = classifier()
    before = (learner.shares @ learner.directions).detach().clone()
    logits = learner(torch.randn(4, 3, 40, 40))
    logits[:, 0].sum().backward()
    moved = learner.shares @ (learner.directions.detach() + learner.directions.grad) - before
    assert moved[1].norm() > 0.2 * moved[0].norm()
    assert moved[2].norm() == 0
