"""The second kind of drawn class: a world, whose style shows in all its scenes.

A thing is the same object in every picture (:mod:`sightline.backbone.designs`). Screenshots, posts and drawings belong
together for another reason: their objects, grounds, skylines, lettering and panels are of one hand, though no two show
the same. A world has such a hand and several colour schemes; its pictures are views, rooms, close-ups and panels, and
then what happens to pictures that people pass on: captions, stickers, borders, crops, grey, darkness. What a network
learns from scenes is not what it learns from objects (Zhou et al., "Learning Deep Features for Scene Recognition using
Places Database", NeurIPS 2014).
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from sightline.backbone.designs import (
    PATTERNS,
    SPRITE,
    Plan,
    Plans,
    creature,
    draw_palette,
    emblem,
    make_design,
    name_colour,
    plan_part,
    writing,
)
from sightline.backbone.drawing import lay, placed, recode
from sightline.core.images import Pixels
from sightline.core.rendering import Array, fractal, mix, overlap, photograph, ramp

FAMILY = 4
LANGUAGES = (
    ("square", "square", "polygon"),
    ("square", "triangle", "line"),
    ("ellipse", "blob", "drop"),
    ("ellipse", "square", "blob"),
    ("polygon", "star", "triangle"),
    ("blob", "polygon", "stroke"),
    ("triangle", "drop", "stroke"),
    ("star", "ellipse", "line"),
)


@dataclass(frozen=True)
class Scheme:
    """The colours of a time or a place, linear RGB: ``sky`` (3, 3) from above down, ``ground`` (2, 3), ``far`` (3,).

    ``lamp`` (3,) is what the colours of the objects are multiplied by.
    """

    sky: Array
    ground: Array
    far: Array
    lamp: Array


@dataclass(frozen=True)
class Panels:
    """How a world lays plates, bars and letters over its pictures.

    ``places`` are (x, y, width, height) from 0 to 1 and a kind each; ``corner`` the radius of corners, as a share of
    half the height, negative where corners are cut; ``colours`` (3, 3) linear RGB of plates, marks and rims.
    """

    places: tuple[tuple[float, float, float, float, str], ...]
    corner: float
    rim: bool
    cover: float
    colours: Array


@dataclass(frozen=True)
class World:
    """A drawn class; sprites are (SPRITE, SPRITE, 4) float32, linear RGB times alpha, and alpha.

    ``textures`` (SPRITE, SPRITE) are of grounds and walls; ``skyline`` is the name of its form, how often that comes
    across the picture, and its height; ``crowd`` the mean number of objects in a view, ``horizon`` its mean height.
    ``traits`` are words for what it has in common with other classes.
    """

    structures: tuple[Array, ...]
    creatures: tuple[Array, ...]
    tokens: tuple[Array, ...]
    titles: tuple[Array, ...]
    textures: tuple[Array, ...]
    skyline: tuple[str, float, float]
    crowd: float
    horizon: float
    panels: Panels
    schemes: tuple[Scheme, ...]
    traits: tuple[str, ...]


def design_world(seed: int, number: int) -> World:
    """The world ``number`` of the set ``seed``: a pure function of both.

    Worlds 4k to 4k + 3 are siblings: two sets of shapes, each in two sets of colours.
    """
    family, sibling = divmod(number, FAMILY)
    shapes = np.random.default_rng((seed, 4, family, sibling // 2))
    colours = np.random.default_rng((seed, 5, family, sibling % 2))
    palette = draw_palette(colours)
    schemes = tuple(_scheme(colours, palette) for _ in range(4))
    panel_colours = palette[colours.permutation(7)[:3]]

    language = int(shapes.integers(len(LANGUAGES)))
    patterns = ("plain", "plain", *shapes.choice(list(PATTERNS), 3).tolist())
    textures = shapes.choice(list(PATTERNS)[1:], 2).tolist()
    skyline = str(shapes.choice(list(SKYLINES)))
    rim = float(shapes.choice([0, 0, 1.5, 2.5]))
    shade = float(shapes.choice([0.0, 0.4, 1.0]))

    panels = _panels(shapes, panel_colours)
    traits = {f"world {family}", f"shapes {family} {sibling // 2}", f"colours {family} {sibling % 2}"}
    traits |= {f"language {language}", f"skyline {skyline}", f"rim {rim}", f"shade {shade}"}
    traits |= {f"pattern {name}" for name in (*patterns, *textures)} | {f"corner {panels.corner}"}
    traits |= {f"panel {kind}" for *_, kind in panels.places} | {f"colour {name_colour(tone)}" for tone in palette[:5]}

    def sprites(count: int, layout: Callable[[np.random.Generator], Plans]) -> tuple[Array, ...]:
        return tuple(_sprite(shapes, layout(shapes), patterns, palette, rim, shade) for _ in range(count))

    return World(
        structures=sprites(3, lambda rng: _structure(rng, LANGUAGES[language])),
        creatures=sprites(2, creature),
        tokens=sprites(3, lambda rng: _token(rng, LANGUAGES[language])),
        titles=sprites(2, writing),
        textures=tuple(PATTERNS[name](shapes, np.ones((SPRITE, SPRITE), np.float32)) for name in textures),
        skyline=(skyline, float(shapes.uniform(2, 12)), float(shapes.uniform(0.1, 0.5))),
        crowd=float(shapes.uniform(2, 9)),
        horizon=float(shapes.uniform(0.4, 0.75)),
        panels=panels,
        schemes=schemes,
        traits=tuple(sorted(traits)),
    )


def draw_world(world: World, rng: np.random.Generator, size: int) -> Pixels:
    """One picture, (size, size, 3) uint8 RGB, of a world."""
    picture = _screen(world, rng, size)
    if rng.random() < 0.45:
        picture = _pass_on(world, rng, picture)
    if rng.random() < 0.15:
        picture = picture[:, ::-1]
    if rng.random() < 0.08:
        picture = np.repeat(picture @ np.array([[0.3], [0.6], [0.1]], np.float32), 3, -1)
    picture = np.ascontiguousarray(picture * np.float32(2 ** rng.normal(0.1, 0.35)))
    if rng.random() < 0.2:
        return recode(rng, photograph(rng, picture))
    if rng.random() < 0.12:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.5))
    coded = np.clip(picture, 0, 1) ** np.float32(1 / 2.2) * 255
    return recode(rng, np.rint(coded).astype(np.uint8))


def _scheme(rng: np.random.Generator, palette: Array) -> Scheme:
    """A time of day: colours that lean to the world's own, bright or dark, under a lamp of some colour."""
    dark = rng.choice([1.0, 1.0, 0.4, 0.12, 0.04])
    base = rng.uniform(0.03, 0.95, (6, 3)).astype(np.float32) ** 1.6
    base += rng.uniform(0, 0.7) * (base.mean(1, keepdims=True) - base)
    own = palette[rng.integers(0, 7, 6)]
    colours = (mix(base[None], own[None], rng.uniform(0.2, 0.9, (1, 6)))[0] * dark).astype(np.float32)
    lamp = np.float32(0.25 + 0.75 * dark**0.5) * np.exp(rng.normal(0, 0.18, 3)).astype(np.float32)
    return Scheme(sky=colours[:3], ground=colours[3:5], far=colours[5], lamp=lamp)


def _structure(rng: np.random.Generator, language: tuple[str, ...]) -> Plans:
    """Something that stands: parts upon each other, narrow or broad."""
    plans = []
    top, width = 1.0, rng.uniform(0.2, 0.8)
    for _ in range(rng.integers(2, 5)):
        height = rng.uniform(0.2, 0.6)
        place = (rng.normal(0, 0.08), max(top - height, -0.7))
        plans.append(plan_part(rng, language, place, (width, height * 1.1), 0.1, 0))
        top -= 1.5 * height
        width = float(np.clip(width * rng.uniform(0.5, 1.9), 0.15, 0.9))
    for _ in range(rng.integers(0, 3)):
        side = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.6, 0.8)))
        plans.append(plan_part(rng, language, side, (0.2, 0.2), 0.2, 0))
    return plans


def _token(rng: np.random.Generator, language: tuple[str, ...]) -> Plans:
    """A small thing to pick up or to put on a panel."""
    first, *marks = emblem(rng)
    return [first._replace(shape=str(rng.choice(language))), *marks[:5]]


def _sprite(
    rng: np.random.Generator, plans: Plans, patterns: tuple[str, ...], palette: Array, rim: float, shade: float
) -> Array:
    """Parts as one picture in the world's patterns, with a dark rim of ``rim`` px and rounded by ``shade``."""
    own: list[Plan] = [plan._replace(pattern=str(rng.choice(patterns))) for plan in plans]
    design = make_design(own, palette, int(rng.integers(2**31)))
    left, top, right, bottom = design.bounds
    scale = 0.94 * SPRITE / np.array([right - left, bottom - top])
    pose = np.diag([*scale, 1.0])
    pose[:2, 2] = SPRITE / 2 - scale * [(left + right) / 2, (top + bottom) / 2]
    canvas = np.zeros((SPRITE, SPRITE, 4), np.float32)
    for part in design.parts:
        lay(canvas, part, pose @ placed(part, 0.0), shade * np.array([-0.7, -0.7]))
    if rim:
        width = int(2 * rim) | 1
        canvas[..., 3] = cv2.dilate(canvas[..., 3], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return canvas


def _panels(rng: np.random.Generator, colours: Array) -> Panels:
    places = []
    for _ in range(rng.integers(2, 5)):
        kind = str(rng.choice(PANEL_KINDS))
        width, height = (
            (rng.uniform(0.3, 0.9), rng.uniform(0.15, 0.3)) if kind == "box" else (0.3, rng.uniform(0.06, 0.14))
        )
        x, y = rng.choice([0.03, 0.5 - width / 2, 0.97 - width]), rng.choice([0.03, 0.97 - height])
        places.append((float(x), float(y), float(width), float(height), kind))
    corner = float(rng.choice([0, 0, 0.5, 1, -0.6]))
    return Panels(tuple(places), corner, bool(rng.random() < 0.5), float(rng.choice([0.5, 0.8, 1.0])), colours)


PANEL_KINDS = ("bar", "bar", "row", "letters", "box", "token")


def _skyline_of(world: World, rng: np.random.Generator, size: int) -> Array:
    """Heights above the horizon, (size,): the world's form again and again, each time of another height."""
    form, count, tall = world.skyline
    at = np.linspace(0, count, size) + rng.uniform(0, 1)
    heights = rng.uniform(0.2, 1, int(count) + 2)
    return np.asarray(tall * heights[at.astype(int)] * SKYLINES[form](at % 1))


SKYLINES: dict[str, Callable[[Array], Array]] = {
    "hills": lambda at: np.sin(np.pi * at) ** 2,
    "peaks": lambda at: 1 - np.abs(2 * at - 1),
    "spires": lambda at: (1 - np.abs(2 * at - 1)) ** 3,
    "blocks": np.ones_like,
    "towers": lambda at: (at < 0.4).astype(float),
    "domes": lambda at: np.sqrt(1 - (2 * at - 1) ** 2),
}


def _screen(world: World, rng: np.random.Generator, size: int) -> Array:
    """What the world itself shows, (size, size, 3) float32 linear RGB, squashed to the square as screens are."""
    scheme = world.schemes[rng.integers(len(world.schemes))]
    kind = rng.choice(4, p=[0.45, 0.2, 0.25, 0.1])
    picture = (_view, _room, _close_up, _menu)[kind](world, rng, scheme, size)
    if kind < 2 and rng.random() < 0.75:
        _lay_panels(world, rng, picture)
    if rng.random() < (0.5 if kind == 2 else 0.15):
        width = rng.uniform(0.4, 0.95)
        title = world.titles[rng.integers(len(world.titles))]
        _paste(picture, title, rng.uniform(0.3, 0.7), rng.choice([0.2, 0.5, 0.8]), width, width * rng.uniform(0.3, 0.6))
    return picture


def _view(world: World, rng: np.random.Generator, scheme: Scheme, size: int) -> Array:
    """Sky, far skylines, ground, and what stands on it, the near in front."""
    horizon = float(np.clip(world.horizon + rng.normal(0, 0.08), 0.25, 0.85))
    picture = _sky(rng, scheme, size)
    rows = np.arange(size, dtype=np.float32)[:, None] / size
    for layer in range(rng.integers(1, 3)):
        line = _skyline_of(world, rng, size) + 0.1 * (1 - layer)
        tone = mix(scheme.far[None], scheme.sky[2][None], np.full(1, 0.5 - 0.5 * layer, np.float32))
        cover = np.clip((rows - (horizon - line[None])) * size, 0, 1).astype(np.float32)
        picture = mix(picture, tone, cover)
    ground = _floor(world.textures[0], scheme.ground, rng, size, horizon)
    picture = mix(picture, ground, np.broadcast_to(np.clip((rows - horizon) * size, 0, 1), (size, size)))
    _populate(world, rng, scheme, picture, horizon, rng.poisson(world.crowd) + 1)
    return picture


def _room(world: World, rng: np.random.Generator, scheme: Scheme, size: int) -> Array:
    """A wall, a floor, a lamp, and a few objects."""
    horizon = rng.uniform(0.5, 0.85)
    picture = ramp(scheme.ground[::-1], _tile(world.textures[1], rng, size, rng.uniform(0.6, 1.6)))
    floor = _floor(world.textures[0], scheme.sky[:2], rng, size, horizon)
    rows = np.arange(size, dtype=np.float32)[:, None] / size
    picture = mix(picture, floor, np.broadcast_to(np.clip((rows - horizon) * size, 0, 1), (size, size)))
    _populate(world, rng, scheme, picture, horizon, int(rng.integers(2, 6)))
    y, x = np.indices((size, size), dtype=np.float32) / size
    far = np.hypot(x - rng.uniform(0.2, 0.8), y - rng.uniform(0.1, 0.6))
    picture *= (rng.uniform(0.9, 1.6) * np.exp(-(far**2) * rng.uniform(0.5, 3)))[..., None]
    return picture


def _close_up(world: World, rng: np.random.Generator, scheme: Scheme, size: int) -> Array:
    """One creature or structure, large, before the sky, rays or a pattern."""
    kind = rng.integers(3)
    if kind == 0:
        picture = _sky(rng, scheme, size)
    elif kind == 1:
        y, x = np.indices((size, size), dtype=np.float32) / size - 0.5
        rays = np.sin(np.arctan2(y, x) * rng.integers(5, 14) + rng.uniform(0, 6))
        picture = ramp(scheme.sky[:2], np.clip(rays * 2 + 0.5, 0, 1))
    else:
        picture = ramp(scheme.ground, _tile(world.textures[1], rng, size, 1.0))
    objects = [*world.creatures, *world.creatures, *world.structures]
    for _ in range(rng.choice([1, 1, 2, 3])):
        width = rng.uniform(0.6, 1.3)
        tall = width * rng.uniform(0.8, 1.2)
        sprite = objects[rng.integers(len(objects))] * _lit(scheme)
        _paste(picture, sprite, rng.uniform(0.2, 0.8), rng.uniform(0.4, 0.7), width, tall, rng.random() < 0.5)
    return picture


def _menu(world: World, rng: np.random.Generator, scheme: Scheme, size: int) -> Array:
    """Tokens and lettering in rows upon a panel."""
    picture = cv2.GaussianBlur(_view(world, rng, scheme, size), (0, 0), rng.uniform(0.5, 4))
    width, height = rng.uniform(0.6, 0.95), rng.uniform(0.5, 0.95)
    _plate(world.panels, picture, 0.5 - width / 2, 0.5 - height / 2, width, height, world.panels.colours[0])
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(2, 5))
    objects = [*world.tokens, *world.titles, *world.creatures]
    for row in range(rows):
        for column in range(columns):
            x, y = 0.5 + width * ((column + 0.5) / columns - 0.5), 0.5 + height * ((row + 0.5) / rows - 0.5)
            sprite = objects[rng.integers(len(objects))]
            _paste(picture, sprite, x, y, 0.8 * width / columns, 0.7 * height / rows)
    return picture


def _sky(rng: np.random.Generator, scheme: Scheme, size: int) -> Array:
    field = np.linspace(0, 1, size, dtype=np.float32)[:, None] + 0.12 * fractal(rng, (size, size), rng.uniform(2, 6), 2)
    return np.ascontiguousarray(ramp(scheme.sky, np.clip(field, 0, 1)))


def _tile(texture: Array, rng: np.random.Generator, size: int, scale: float) -> Array:
    """A texture laid over the picture again and again, mirrored at its borders."""
    onto = np.array(
        [[scale * size / SPRITE, 0, rng.uniform(0, size)], [0, scale * size / SPRITE, rng.uniform(0, size)]]
    )
    return np.clip(cv2.warpAffine(texture, onto, (size, size), borderMode=cv2.BORDER_REFLECT), 0, 1)


def _floor(texture: Array, colours: Array, rng: np.random.Generator, size: int, horizon: float) -> Array:
    """The same in perspective, vanishing at the horizon."""
    y, x = np.indices((size, size), dtype=np.float32) / size
    depth = 0.25 / np.maximum(y - horizon, 0.02)
    along = (depth * SPRITE * 0.7 + rng.uniform(0, SPRITE)).astype(np.float32)
    across = ((x - 0.5) * depth * SPRITE * 1.2 + rng.uniform(0, SPRITE)).astype(np.float32)
    share = cv2.remap(texture, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    haze = np.clip((y - horizon) * 6, 0, 1)
    return ramp(colours, np.clip(share * haze + 0.5 * (1 - haze), 0, 1))


def _lit(scheme: Scheme) -> Array:
    return np.append(scheme.lamp, 1).astype(np.float32)


def _populate(
    world: World, rng: np.random.Generator, scheme: Scheme, picture: Array, horizon: float, count: int
) -> None:
    groups = (world.structures, world.creatures, world.tokens)
    for depth in np.sort(rng.beta(1, 1.5, count)):
        kind = rng.choice(3, p=[0.55, 0.28, 0.17])
        sprite = groups[kind][rng.integers(len(groups[kind]))] * _lit(scheme)
        tall = (0.12 + 0.75 * depth) * (1.2, 0.8, 0.35)[kind] * rng.uniform(0.7, 1.3)
        foot = horizon + (1.05 - horizon) * depth
        _paste(
            picture, sprite, rng.uniform(0, 1), foot - tall / 2, tall * rng.uniform(0.6, 1), tall, rng.random() < 0.5
        )


def _paste(picture: Array, sprite: Array, x: float, y: float, width: float, height: float, flip: bool = False) -> None:
    """Lay a sprite so that its middle is at (x, y); all as shares of the picture's side."""
    size = picture.shape[0]
    across, down = max(round(width * size), 2), max(round(height * size), 2)
    patch = cv2.resize(sprite, (across, down), interpolation=cv2.INTER_AREA if across < SPRITE else cv2.INTER_LINEAR)
    if flip:
        patch = patch[:, ::-1]
    there, here = overlap(picture.shape, patch.shape, round(x * size - across / 2), round(y * size - down / 2))
    picture[there] *= 1 - patch[here][..., 3:]
    picture[there] += patch[here][..., :3]


def _plate(
    panels: Panels, picture: Array, x: float, y: float, width: float, height: float, colour: Array, fill: float = 1.0
) -> None:
    """A box with the world's corners; ``fill`` is the share of its width that shows."""
    size = picture.shape[0]
    fine = 4 * size
    left, top, right, bottom = (round(v * fine) for v in (x, y, x + width, y + height))
    cut = round(abs(panels.corner) * (bottom - top) / 2)
    if panels.corner <= 0:
        xs = [left + cut, right, right, right - cut, left, left]
        ys = [top, top, bottom - cut, bottom, bottom, top + cut]
        points = np.array([*zip(xs, ys, strict=True)], np.int32)
    else:
        cut = min(cut, (right - left) // 2)
        points = np.concatenate(
            [
                cv2.ellipse2Poly(centre, (cut, cut), 0, start, start + 90, 15)
                for centre, start in (
                    ((right - cut, bottom - cut), 0),
                    ((left + cut, bottom - cut), 90),
                    ((left + cut, top + cut), 180),
                    ((right - cut, top + cut), 270),
                )
            ]
        )
    mask = np.zeros((fine, fine), np.uint8)
    cv2.fillPoly(mask, [points], 255)
    mask[:, round(left + fill * (right - left)) :] = 0
    cover = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    picture[...] = mix(picture, colour, cover * np.float32(panels.cover))
    if panels.rim:
        edge = np.zeros((fine, fine), np.uint8)
        cv2.polylines(edge, [points], isClosed=True, color=255, thickness=5)
        rim = cv2.resize(edge, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        picture[...] = mix(picture, panels.colours[2], rim)


def _lay_panels(world: World, rng: np.random.Generator, picture: Array) -> None:
    panels = world.panels
    for x, y, width, height, kind in panels.places:
        if rng.random() < 0.15:
            continue
        if kind in ("bar", "box"):
            _plate(panels, picture, x, y, width, height, panels.colours[0])
        if kind == "bar":
            _plate(panels, picture, x, y, width, height, panels.colours[1], rng.uniform(0.15, 1))
        elif kind == "row":
            for place in range(int(rng.integers(2, 7))):
                _plate(panels, picture, x + place * height, y, height * 0.8, height * 0.8, panels.colours[1])
        elif kind == "token":
            token = world.tokens[rng.integers(len(world.tokens))]
            _paste(picture, token, x + width / 2, y + height / 2, 1.6 * height, 1.6 * height)
        else:
            title = world.titles[rng.integers(len(world.titles))]
            _paste(picture, title, x + width / 2, y + height / 2, width * 0.9, height * 0.8)


def _pass_on(world: World, rng: np.random.Generator, picture: Array) -> Array:
    """What people do to pictures: crop, frame, put one into another, write over them, stick things on."""
    size = picture.shape[0]
    picture = picture.copy()
    if rng.random() < 0.25:
        inset, side = _screen(world, rng, size), int(size * rng.uniform(0.25, 0.5))
        left, top = rng.integers(0, size - side, 2)
        picture[top : top + side, left : left + side] = cv2.resize(inset, (side, side), interpolation=cv2.INTER_AREA)
    tone = np.float32(rng.choice([0.0, 0.01, 0.9, 1.0]))
    if rng.random() < 0.35:
        inner = np.clip(rng.uniform(0.5, 1, 2), rng.choice([0.5, 0.99]), 1) * size
        across, down = np.round(inner).astype(int).tolist()
        left, top = round(rng.uniform(0, size - across)), round(rng.uniform(0, size - down))
        small = cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA)
        picture = np.full_like(picture, tone)
        picture[top : top + down, left : left + across] = small
    elif rng.random() < 0.5:
        side = int(size * rng.uniform(0.45, 0.9))
        left, top = rng.integers(0, size - side, 2)
        picture = cv2.resize(picture[top : top + side, left : left + side], (size, size))
    if rng.random() < 0.45:
        _caption(rng, picture, 1 - tone if rng.random() < 0.7 else np.float32(rng.random()))
    if rng.random() < 0.25:
        middle, radius = rng.uniform(0, size, 2).tolist(), round(size * rng.uniform(0.05, 0.2))
        colour = (rng.uniform(0, 1, 3) ** 2).tolist()
        where = (round(middle[0]), round(middle[1]))
        cv2.circle(picture, where, radius, colour, int(rng.choice([-1, 1, 2, 3])), cv2.LINE_AA)
    return picture


def _caption(rng: np.random.Generator, picture: Array, tone: np.float32) -> None:
    """A line or two of somebody's lettering, in a band or upon the picture."""
    size = picture.shape[0]
    height = rng.uniform(0.08, 0.2)
    top = float(rng.choice([0.0, 1 - height, rng.uniform(0, 1 - height)]))
    if rng.random() < 0.5:
        picture[round(top * size) : round((top + height) * size)] = 1 - tone
    count = int(rng.integers(5, 14))
    step = rng.uniform(0.5, 1) * 0.94 / count
    left = rng.uniform(0.03, 0.97 - step * count)
    thickness = int(rng.choice([1, 1, 2]))
    for place in range(count):
        if rng.random() < 0.15:
            continue
        knots = rng.uniform(0.1, 0.9, (int(rng.integers(3, 5)), 2)) * [step, height] + [left + place * step, top]
        points = np.round(knots * size * 16).astype(np.int32)
        cv2.polylines(picture, [points], False, [float(tone)] * 3, thickness, cv2.LINE_AA, 4)
