import torch
from torch import Tensor, nn

from sightline.core.architecture import Step, lanes, trace


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4), nn.GELU())
        self.shortcut = nn.Sequential()

    def forward(self, features: Tensor) -> Tensor:
        return torch.add(self.shortcut(features), self.branch(features))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(8, 5)
        self.unused = nn.Linear(3, 3)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU())
        self.blocks = nn.Sequential(Block(), Block())
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.blocks(self.stem(images))
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return torch.as_tensor(self.classifier(self.dropout(pooled)))


def test_steps_stand_in_the_order_they_run_with_shapes_and_weights_counted_by_hand() -> None:
    block = "3×3 depthwise conv, 4, batch norm, GELU"
    steps = trace(Network(), size=10)
    assert [(step.name, step.shape, step.parameters) for step in steps] == [
        ("stem", (4, 5, 5), 3 * 4 * 9 + 4),
        ("blocks.0", (4, 5, 5), 4 * 9 + 2 * 4),
        ("blocks.1", (4, 5, 5), 4 * 9 + 2 * 4),
        ("pooling", (8,), 0),
        ("classifier", (5,), 8 * 5 + 5),
    ]
    assert steps[0].layers == ("3×3 conv, stride 2, 4, ReLU",)
    assert lanes(Block()) == {"branch": (block,), "shortcut": ("identity",)}


def test_looking_at_a_network_leaves_it_as_it_was() -> None:
    network = Network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert trace(network, size=10) == trace(network, size=10)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_step_that_reads_the_picture_itself_begins_a_stream() -> None:
    class Voters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.texture = Network()
            self.colour = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 5))

        def forward(self, images: Tensor) -> Tensor:
            return torch.as_tensor(self.texture(images) + self.classifier(self.colour(images)))

    steps = trace(Voters(), size=10)
    assert [(step.name, step.shape, step.stream) for step in steps] == [
        ("texture", (5,), 0),
        ("colour", (3,), 1),
        ("classifier", (5,), 1),
    ]
    assert steps[-1].layers == ("linear, 5",)


def test_a_step_has_a_form_for_json() -> None:
    step = Step("stem", ("3×3 conv, 4",), (4, 5, 5), 112)
    assert step.as_dict() == {
        "name": "stem",
        "layers": ("3×3 conv, 4",),
        "shape": (4, 5, 5),
        "parameters": 112,
        "stream": 0,
    }
