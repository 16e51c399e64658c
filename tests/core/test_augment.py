import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor

from sightline.core.augment import Augmentation, augment, mix, whole

STRONG = Augmentation(
    crop_area=(0.2, 1.0),
    aspect=1.4,
    rotate=30,
    flip=0.5,
    flip_vertical=0.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale=0.2,
    blur=0.5,
    erase=0.5,
)
ZERO, ONE = (0.0,) * 3, (1.0,) * 3


def pictures(count: int, size: int = 40, low: int = 0, high: int = 256) -> Tensor:
    """Smooth random colour pictures, uint8 NHWC."""
    rng = np.random.default_rng(count)
    coarse = rng.integers(low, high, (count, 5, 5, 3), dtype=np.uint8)
    return torch.from_numpy(np.stack([cv2.resize(image, (size, size)) for image in coarse]))


def keys(count: int, seed: int = 1, epoch: int = 2) -> Tensor:
    return torch.tensor([[seed, epoch, index] for index in range(count)])


def plain(images: Tensor, settings: Augmentation, size: int | None = None) -> Tensor:
    """Views on the scale from 0 to 1."""
    return augment(images, keys(len(images)), size or images.shape[1], settings, ZERO, ONE)


def as_float(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float() / 255


def test_a_view_depends_on_its_key_alone() -> None:
    images = pictures(8)
    together = augment(images, keys(8), 32, STRONG)
    order = torch.tensor([6, 1, 3])
    torch.testing.assert_close(augment(images[order], keys(8)[order], 32, STRONG), together[order])


@pytest.mark.parametrize("column", [0, 1, 2])
def test_every_part_of_the_key_changes_the_view(column: int) -> None:
    images = pictures(1).expand(2, -1, -1, -1)
    key = keys(1).repeat(2, 1)
    key[1, column] += 1
    first, second = augment(images, key, 32, STRONG)
    assert (first - second).abs().mean() > 0.05


def test_the_images_given_stay_as_they_are() -> None:
    images = pictures(4)
    before = images.clone()
    augment(images, keys(4), 40, STRONG)
    assert torch.equal(images, before)


def test_neutral_settings_give_the_picture_itself() -> None:
    images = pictures(3)
    torch.testing.assert_close(plain(images, Augmentation()), as_float(images), atol=1e-5, rtol=0)


def test_neutral_settings_at_another_size_give_the_bilinear_resize_of_opencv() -> None:
    images = pictures(3, size=40)
    expected = [
        cv2.resize(image.numpy().astype(np.float32) / 255, (32, 32), interpolation=cv2.INTER_LINEAR) for image in images
    ]
    views = plain(images, Augmentation(), size=32).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(views, np.stack(expected), atol=1e-5)


def test_a_crop_is_a_part_of_the_picture_and_keeps_the_area_asked_for() -> None:
    """In a picture whose red is x and whose green is y, a view tells where it was cut."""
    ramp = torch.arange(40).mul(6).to(torch.uint8)
    image = torch.stack([ramp.expand(40, 40), ramp[:, None].expand(40, 40), torch.zeros(40, 40).byte()], 2)
    settings = Augmentation(crop_area=(0.3, 0.6), aspect=1.3)
    views = plain(image.expand(200, -1, -1, -1), settings, size=20)
    left, right, top, bottom = views[:, 0, 10, 0], views[:, 0, 10, -1], views[:, 1, 0, 10], views[:, 1, -1, 10]
    # The outer pixel centres of a view are 19/20 of its side apart; 6/255 a pixel, 40 pixels.
    scale = 6 / 255 * 40 * 19 / 20
    width, height = (right - left) / scale, (bottom - top) / scale
    area, aspect = width * height, width / height
    assert 0.29 < area.min() < 0.33
    assert 0.57 < area.max() < 0.61
    assert 1 / 1.31 < aspect.min() < 1 / 1.25
    assert 1.25 < aspect.max() < 1.31
    assert left.min() < 0.05
    assert right.max() > 0.87


def test_flips_mirror_the_picture() -> None:
    images = pictures(2)
    both = plain(images, Augmentation(flip=1, flip_vertical=1))
    torch.testing.assert_close(plain(images, Augmentation(flip=1)), as_float(images).flip(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(both, as_float(images).flip(2, 3), atol=1e-5, rtol=0)


def test_rotation_keeps_the_distance_of_a_marked_point_and_stays_within_the_angle() -> None:
    """A bright spot right of the centre must turn about the centre by at most the angle, to both sides."""
    image = torch.zeros(41, 41, 3, dtype=torch.uint8)
    image[19:22, 31:34] = 255
    views = plain(image.expand(100, -1, -1, -1), Augmentation(rotate=40))[:, 0]
    offsets = torch.arange(41) - 20.0
    mass = views.sum((1, 2))
    x = (views * offsets).sum((1, 2)) / mass
    y = (views * offsets[:, None]).sum((1, 2)) / mass
    torch.testing.assert_close((x.square() + y.square()).sqrt(), torch.full((100,), 12.0), atol=0.3, rtol=0)
    degrees = torch.rad2deg(torch.atan2(y, x))
    assert -41 < degrees.min() < -30
    assert 30 < degrees.max() < 41


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_changes_agree_with_torchvision(name: str) -> None:
    """The factor is not returned: among torchvision's results over all factors, one must fit closely."""
    images = pictures(6, low=90, high=150)
    views = plain(images, Augmentation(**{name: 0.5}))
    adjust = getattr(TF, f"adjust_{name}")
    factors = np.linspace(0.5, 1.5, 251)
    for image, view in zip(as_float(images), views, strict=True):
        errors = [float((adjust(image, factor) - view).abs().max()) for factor in factors]
        assert min(errors) < 2e-3
        assert float((image - view).abs().max()) > 2e-3


def test_brightness_contrast_saturation_and_hue_together_are_applied_and_clamped() -> None:
    views = plain(pictures(16), Augmentation(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.2), size=16)
    assert views.min() == 0
    assert views.max() == 1


def test_hue_keeps_luma_and_grey_and_turns_as_far_as_opencv_says() -> None:
    images = pictures(30, low=100, high=150)
    luma = torch.tensor([0.299, 0.587, 0.114])
    views = plain(images, Augmentation(hue=0.1))
    torch.testing.assert_close(
        torch.einsum("bchw,c->bhw", views, luma),
        torch.einsum("bhwc,c->bhw", images / 255, luma),
        atol=2e-3,
        rtol=0,
    )
    grey = torch.full((5, 8, 8, 3), 120, dtype=torch.uint8)
    torch.testing.assert_close(plain(grey, Augmentation(hue=0.5)), as_float(grey), atol=1e-3, rtol=0)
    red = torch.tensor([200, 60, 60], dtype=torch.uint8).expand(64, 4, 4, 3)
    turned = plain(red, Augmentation(hue=0.1)).permute(0, 2, 3, 1)[:, 0].contiguous().numpy()
    degrees = cv2.cvtColor(turned, cv2.COLOR_RGB2HSV)[:, 0, 0]
    degrees = np.where(degrees > 180, degrees - 360, degrees)
    # 36 degrees in the YIQ plane; HSV measures angles on a hexagon, which differs by up to some ten degrees.
    assert 25 < degrees.max() < 50
    assert -50 < degrees.min() < -25


def test_grayscale_is_the_luma_of_torchvision() -> None:
    images = pictures(3)
    expected = TF.rgb_to_grayscale(as_float(images), num_output_channels=3)
    torch.testing.assert_close(plain(images, Augmentation(grayscale=1)), expected, atol=2e-3, rtol=0)


def test_blur_is_the_gaussian_of_torchvision_for_the_share_of_views_asked_for() -> None:
    images = pictures(60, size=24)
    images += torch.from_numpy(np.random.default_rng(3).integers(0, 60, images.shape, dtype=np.uint8))
    floats = as_float(images)
    views = plain(images, Augmentation(blur=0.5))
    sigmas = np.linspace(0.3, 1.5, 121)
    blurred = 0
    for image, view in zip(floats, views, strict=True):
        if torch.allclose(image, view, atol=1e-5):
            continue
        blurred += 1
        errors = [float((TF.gaussian_blur(image, [7, 7], [sigma, sigma]) - view).abs().max()) for sigma in sigmas]
        assert min(errors) < 0.01
    assert 18 <= blurred <= 42


def test_erasing_fills_one_rectangle_with_the_mean_colour() -> None:
    images = torch.full((200, 40, 40, 3), 255, dtype=torch.uint8)
    views = augment(images, keys(200), 40, Augmentation(erase=0.5))
    erased = (views == 0).all(1)
    shares = erased.float().mean((1, 2))
    hit = shares > 0
    assert 70 <= hit.sum() <= 130
    assert shares[hit].min() > 0.03
    assert shares[hit].max() < 0.28
    rows, columns = erased.any(2).sum(1), erased.any(1).sum(1)
    assert torch.equal(rows * columns, erased.sum((1, 2)))


def test_whole_pictures_are_normalised_like_torchvision_does() -> None:
    images = pictures(2)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    expected = TF.normalize(as_float(images), mean, std)
    torch.testing.assert_close(whole(images, mean, std), expected)
    torch.testing.assert_close(augment(images, keys(2), 40, Augmentation(), mean, std), expected, atol=1e-4, rtol=0)


def one_hot(count: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.arange(count) % 7, 7).float()


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mixed_targets_sum_to_one_and_say_what_share_of_the_picture_is_whose(mixup: float, cutmix: float) -> None:
    """Picture i is filled with i, so the mean of a mixed picture tells the share of its neighbour."""
    count = 64
    images = torch.arange(count).float().view(-1, 1, 1, 1).expand(count, 3, 30, 30)
    mixed, targets = mix(images, torch.eye(count), keys(count), mixup, cutmix)
    torch.testing.assert_close(targets.sum(1), torch.ones(count))
    assert (targets < 1).all(1).any()
    torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(count).float(), atol=1e-3, rtol=1e-4)
    values = torch.tensor([len(image.unique()) for image in mixed])
    assert values.max() <= 2
    assert bool((values == 2).any()) == (cutmix > 0)


def test_without_mixing_everything_stays() -> None:
    images, targets = torch.rand(4, 3, 8, 8), one_hot(4)
    same_images, same_targets = mix(images, targets, keys(4), 0, 0)
    assert torch.equal(same_images, images)
    assert torch.equal(same_targets, targets)


def test_cutmix_is_the_same_for_the_same_keys_and_differs_between_epochs() -> None:
    images, targets = torch.rand(8, 3, 20, 20), one_hot(8)
    first = mix(images, targets, keys(8), 0.2, 1.0)
    again = mix(images, targets, keys(8), 0.2, 1.0)
    other = mix(images, targets, keys(8, epoch=3), 0.2, 1.0)
    assert torch.equal(first[0], again[0])
    assert not torch.allclose(first[1], other[1])
