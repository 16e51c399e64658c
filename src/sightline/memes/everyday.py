"""What has nothing to do with games: photos of landscapes, things and people, textures, charts, templates of memes."""

import cv2
import numpy as np

from sightline.core.rendering import Array, cells_of, curve, fractal, photograph, ramp
from sightline.memes.lettering import write, write_lines
from sightline.memes.painting import (
    Brush,
    Picture,
    Rng,
    Shape,
    ball,
    blend,
    box,
    disc,
    gradient,
    grain,
    lighter,
    line,
    oval,
    palette,
    pick,
    pill,
    polygon,
    rgb,
    ring,
    tinted,
)

TONES = palette("c84c3c", "3c78b4", "4c9c5c", "e0a83c", "7c5ca8", "5c6470", "d8d0c4", "2c3440")
SKIN = palette("f4cca8", "d8a078", "a06c48", "6c4430", "fbdcc8")
CLOTH = palette("2c3c5c", "8c3434", "3c4c3c", "d8d4cc", "1c1c20", "5c7ca0", "c8a868")


def landscape(rng: Rng, shape: Shape) -> Picture:
    """A photo of ridges, a lake or the sea under a sky."""
    h, w = shape
    above, below = pick(
        rng,
        (
            (rgb("4c84c0"), rgb("dce8ec")),
            (rgb("54406c"), rgb("f8b070")),
            (rgb("8c949c"), rgb("d0d0cc")),
            (rgb("141c30"), rgb("3c4860")),
        ),
    )
    picture = gradient(shape, above, below, below)
    cloud = np.clip(0.4 * fractal(rng, shape, rng.uniform(2, 5), 5) + rng.uniform(-0.5, 0.2), 0, 0.9)
    picture = np.asarray(picture + (blend(below, rgb("ffffff"), 0.6) - picture) * cloud[..., None], np.uint8)
    horizon, land = rng.uniform(0.35, 0.6) * h, pick(rng, (rgb("3c5438"), rgb("6c5c48"), rgb("5c6470"), rgb("b89868")))
    layers = int(rng.integers(2, 5))
    for layer in range(layers):
        near = (layer + 1) / layers
        rough = cv2.GaussianBlur(np.cumsum(rng.normal(0, 1, w))[None], (0, 0), 1.2)[0]
        ys = horizon + near * 0.25 * h - (0.3 - 0.18 * near) * h * np.abs(rough) / (np.abs(rough).max() + 1e-6)
        colour = blend(below, lighter(land, rng.uniform(0.6, 1.1)), 0.25 + 0.75 * near)
        polygon(picture, [*zip(range(w), ys, strict=True), (w, h), (0, h)], colour)
        for x in rng.uniform(0, w, int(rng.integers(0, 60))) if layer else ():
            y, tall = np.interp(x, range(w), ys) + rng.uniform(0, 0.1) * h, rng.uniform(0.03, 0.1) * near * h
            polygon(
                picture,
                [(x - 0.3 * tall, y), (x + 0.3 * tall, y), (x, y - tall)],
                lighter(colour, rng.uniform(0.5, 0.85)),
            )
    if rng.random() < 0.5:
        first = int(h * rng.uniform(0.6, 0.8))
        mirrored = picture[np.clip(2 * first - np.arange(first, h), 0, h - 1)].astype(np.float32)
        ripple = 1 + 0.12 * cv2.resize(rng.standard_normal(((h - first) // 2 + 1, 12), np.float32), (w, h - first))
        picture[first:] = np.clip(0.8 * mirrored * ripple[..., None], 0, 255).astype(np.uint8)
    return _taken(rng, picture)


def texture(rng: Rng, shape: Shape) -> Picture:
    """A photo of a surface from near: stone, wood, fabric, pebbles, fur."""
    h, w = shape
    tones = np.sort(np.stack([tinted(rng, TONES) for _ in range(3)]), 0)
    kind = rng.integers(4)
    if kind == 0:
        at = 0.5 + 0.3 * fractal(rng, shape, rng.uniform(3, 12), 5, 0.65)
    elif kind == 1:
        along = np.linspace(0, rng.uniform(6, 14), h, dtype=np.float32)[:, None] + 0.4 * fractal(rng, shape, 2, 3)
        at = curve(rng, 31, along + 8)
    elif kind == 2:
        label, distance = cells_of(rng, shape, int(rng.integers(60, 400)))
        at = rng.uniform(0.2, 1, int(label.max()) + 1)[label] * np.clip(1.2 - distance / (0.06 * w), 0.2, 1)
    else:
        x, y = np.meshgrid(np.arange(w), np.arange(h))
        step = rng.uniform(5, 14)
        at = 0.5 + 0.25 * np.sin(x * 6.28 / step) * np.sin(y * 6.28 / step) + 0.15 * fractal(rng, shape, 4, 3)
    picture = np.asarray(ramp(tones.astype(np.float32), np.clip(at, 0, 1)).clip(0, 255), np.uint8)
    return _taken(rng, picture)


def person(rng: Rng, shape: Shape) -> Picture:
    """A snapshot of somebody: head and shoulders before something out of focus."""
    h, w = shape
    picture = _blurred(rng, shape)
    at = (w * rng.uniform(0.3, 0.7), h * rng.uniform(0.4, 0.5))
    brush = Brush(picture, at, h * rng.uniform(0.18, 0.28))
    skin, hair, cloth = (
        tinted(rng, SKIN),
        tinted(rng, palette("2c2018", "5c4028", "c8a068", "8c8c8c", "1c1a1c")),
        tinted(rng, CLOTH),
    )
    if rng.random() < 0.4:
        brush.oval((0, 0.5), (1.05, 1.5), hair)
    brush.polygon([(-2, 5), (-1.8, 1.9), (-0.5, 1.3), (0.5, 1.3), (1.8, 1.9), (2, 5)], cloth)
    brush.polygon([(-0.32, 0.6), (0.32, 0.6), (0.4, 1.45), (0, 1.75), (-0.4, 1.45)], lighter(skin, 0.85))
    brush.ball((0, 0), (0.76, 1), skin)
    brush.oval((0, 0.06), (0.7, 0.9), skin)
    brush.oval((0, -0.35), (0.8, 0.72), hair, 0, (180, 360))
    for side in (-1, 1):
        brush.oval((side * 0.76, 0.08), (0.1, 0.18), lighter(skin, 0.9))
        eye = (side * 0.3, -0.05)
        brush.oval(eye, (0.13, 0.075), rgb("f8f4f0"))
        brush.disc(eye, 0.065, rgb("3c2c20"))
        brush.line([(eye[0] - 0.16, eye[1] - 0.17), (eye[0] + 0.16, eye[1] - 0.19)], hair, 1 / 14)
    brush.line([(0.02, 0), (0.1, 0.28), (-0.03, 0.3)], lighter(skin, 0.75), 1 / 20)
    mouth = rng.random()
    if mouth < 0.4:
        brush.oval((0, 0.52), (0.26, 0.16), rgb("7c3030"), 0, (0, 180))
    else:
        brush.ring((0, 0.42), 0.22, rgb("984c48"), 1 / 16, (40, 140))
    return _taken(rng, picture)


def table(rng: Rng, shape: Shape) -> Picture:
    """A photo of a meal, a desk or a street sign: round and square things on a surface."""
    h, w = shape
    wood = tinted(rng, palette("8c6440", "c8b498", "4c4440", "d8d8d4"))
    picture = np.empty((*shape, 3), np.uint8)
    picture[:] = wood.astype(np.uint8)
    grain(rng, picture, 6, 0.05, 4)
    for _ in range(rng.integers(1, 4)):
        x, y, size = rng.uniform(0.2, 0.8) * w, rng.uniform(0.3, 0.8) * h, rng.uniform(0.2, 0.38) * h
        oval(picture, (x + 0.05 * size, y + 0.12 * size), (1.08 * size, 0.75 * size), lighter(wood, 0.6))
        oval(picture, (x, y), (1.05 * size, 0.72 * size), rgb("f4f2ec"))
        oval(picture, (x, y), (0.8 * size, 0.52 * size), rgb("e4e0d8"))
        for dx, dy in rng.uniform(-0.45, 0.45, (int(rng.integers(5, 16)), 2)):
            ball(
                picture,
                (x + dx * size, y + 0.6 * dy * size),
                rng.uniform(0.08, 0.22, 2) * size,
                tinted(rng, palette("c84c30", "e8b048", "5c8c3c", "8c5030", "f0dca8")),
            )
    if rng.random() < 0.6:
        x, y, size = rng.uniform(0.1, 0.9) * w, rng.uniform(0.3, 0.6) * h, rng.uniform(0.1, 0.18) * h
        ring(picture, (x + size, y), 0.55 * size, rgb("e8e4dc"), size / 4)
        pill(picture, x - size, y - size, x + size, y + 1.2 * size, tinted(rng, TONES), 0.3 * size)
        oval(picture, (x, y - 0.95 * size), (0.95 * size, 0.3 * size), rgb("3c2418"))
    return _taken(rng, picture)


def chart(rng: Rng, shape: Shape) -> Picture:
    """Bars, lines or a pie with a title, as reports have them."""
    h, w = shape
    unit = min(h, 0.7 * w)
    dark = rng.random() < 0.2
    paper, ink = (rgb("20242c"), rgb("d8dce0")) if dark else (rgb("ffffff"), rgb("404448"))
    picture = np.empty((*shape, 3), np.uint8)
    picture[:] = paper.astype(np.uint8)
    title = pick(
        rng, ("HOURS SLEPT PER NIGHT", "REASONS TO BE LATE", "SALES BY QUARTER", "MOOD BY WEEKDAY", "COFFEE OVER TIME")
    )
    write(picture, title, (w / 2, 0.08 * h), 0.06 * unit, ink, "bold", fit=0.85 * w)
    colours = [tinted(rng, TONES) for _ in range(5)]
    kind = rng.integers(3)
    if kind == 2:
        cuts = np.concatenate([[0], np.sort(rng.uniform(0, 360, 3)), [360]])
        for k in range(4):
            oval(picture, (0.36 * w, 0.55 * h), (0.34 * unit, 0.34 * unit), colours[k], -90, (cuts[k], cuts[k + 1]))
            box(
                picture,
                0.68 * w,
                (0.35 + 0.12 * k) * h,
                0.68 * w + 0.05 * unit,
                (0.35 + 0.12 * k) * h + 0.05 * unit,
                colours[k],
            )
            write(
                picture,
                pick(rng, ("ME", "OTHERS", "NOBODY", "MY CAT", "MONDAY")),
                (0.74 * w, (0.35 + 0.12 * k) * h + 0.025 * unit),
                0.045 * unit,
                ink,
                anchor="left",
            )
        return picture
    for k in range(5):
        y = (0.2 + 0.15 * k) * h
        line(picture, [(0.12 * w, y), (0.95 * w, y)], blend(paper, ink, 0.2), 1)
        write(picture, str(100 - 25 * k), (0.11 * w, y), 0.035 * unit, ink, anchor="right")
    count = int(rng.integers(3, 9))
    xs = np.linspace(0.2, 0.88, count) * w
    for series in range(1 if kind == 0 else int(rng.integers(1, 4))):
        ys = (0.8 - rng.uniform(0.05, 0.6, count)) * h
        if kind == 0:
            for x, y in zip(xs, ys, strict=True):
                box(picture, x - 0.25 * w / count, y, x + 0.25 * w / count, 0.8 * h, colours[series])
        else:
            line(picture, np.stack([xs, ys], -1), colours[series], h / 70)
            for spot in zip(xs, ys, strict=True):
                disc(picture, spot, h / 60, colours[series])
    for k, x in enumerate(xs):
        write(picture, "MTWTFSSAB"[k], (x, 0.87 * h), 0.04 * unit, ink)
    return picture


def stick_figures(rng: Rng, shape: Shape) -> Picture:
    """A template: two to four frames with stick figures or plain faces that talk."""
    h, w = shape
    picture = np.full((*shape, 3), 255, np.uint8)
    across, down = (2, 1) if w > 1.3 * h else (2, 2)
    for row in range(down):
        for column in range(across):
            left, top, wide, high = column * w / across, row * h / down, w / across, h / down
            if rng.random() < 0.5:
                box(picture, left, top, left + wide, top + high, blend(tinted(rng, TONES), rgb("ffffff"), 0.6))
            x, y, size = left + wide * rng.uniform(0.35, 0.65), top + 0.55 * high, 0.14 * min(wide, high)
            ink = rgb("181818")
            disc(picture, (x, y), 1.15 * size, ink)
            disc(picture, (x, y), 1.05 * size, pick(rng, (rgb("ffffff"), rgb("fce8c8"), rgb("fce45c"))))
            for side in (-1, 1):
                disc(picture, (x + side * 0.4 * size, y - 0.2 * size), 0.13 * size, ink)
                line(
                    picture,
                    [(x, y + 1.9 * size), (x + side * 1.3 * size, y + rng.uniform(1, 2.6) * size)],
                    ink,
                    size / 6,
                )
                line(picture, [(x, y + 3 * size), (x + side * 0.8 * size, y + 4.2 * size)], ink, size / 6)
            line(picture, [(x, y + 1.1 * size), (x, y + 3 * size)], ink, size / 6)
            ring(
                picture,
                (x, y + 0.25 * size),
                0.4 * size,
                ink,
                size / 8,
                (20, 160) if rng.random() < 0.5 else (200, 340),
            )
            pill(picture, left + 0.08 * wide, top + 0.06 * high, left + 0.92 * wide, top + 0.26 * high, rgb("ffffff"))
            words = pick(
                rng,
                (
                    "ok so listen",
                    "no",
                    "what if we wait",
                    "you said soon",
                    "it is fine",
                    "monday again?",
                    "i read the manual",
                ),
            )
            write(
                picture,
                words,
                (left + wide / 2, top + 0.16 * high),
                0.09 * min(high, wide),
                ink,
                "plain",
                fit=0.75 * wide,
            )
    line(picture, [(w / across, 0), (w / across, h)], rgb("181818"), 2)
    if down == 2:
        line(picture, [(0, h / 2), (w, h / 2)], rgb("181818"), 2)
    return picture


def choices(rng: Rng, shape: Shape) -> Picture:
    """A template: pictures of somebody on the left, labels on white on the right."""
    h, w = shape
    picture = np.full((*shape, 3), 255, np.uint8)
    rows, seed = int(rng.integers(2, 4)), int(rng.integers(1 << 30))
    for row in range(rows):
        top, bottom = row * h // rows, (row + 1) * h // rows
        # The same person with another mood: the generator starts anew from the same seed.
        frame = person(np.random.default_rng((seed, row % 2)), (bottom - top, w // 2))
        picture[top:bottom, : w // 2] = frame
        label = pick(
            rng, ("doing it now", "doing it later", "reading the docs", "asking a friend", "guessing", "sleep")
        )
        write(picture, label, (0.75 * w, (top + bottom) / 2), 0.09 * h, rgb("181818"), "bold", fit=0.44 * w)
        line(picture, [(0, bottom), (w, bottom)], rgb("202020"), 2)
    return picture


def post(rng: Rng, shape: Shape) -> Picture:
    """A screenshot of somebody's words on a social network."""
    h, w = shape
    unit = min(h, 0.7 * w)
    paper, ink = (rgb("ffffff"), rgb("101418")) if rng.random() < 0.6 else (rgb("15202b"), rgb("e8ecf0"))
    picture = np.empty((*shape, 3), np.uint8)
    picture[:] = paper.astype(np.uint8)
    disc(picture, (0.12 * w, 0.2 * h), 0.09 * unit, tinted(rng, TONES))
    write(
        picture,
        pick(rng, ("some guy", "night owl", "a potato", "Karl")),
        (0.2 * w, 0.16 * h),
        0.06 * unit,
        ink,
        "bold",
        anchor="left",
    )
    write(
        picture,
        "@" + pick(rng, ("realone", "tired247", "spud", "karl_k")),
        (0.2 * w, 0.25 * h),
        0.045 * unit,
        rgb("788490"),
        anchor="left",
    )
    words = pick(
        rng,
        (
            ("nobody:", "absolutely nobody:", "me at 3 am:"),
            ("my plan for today:", "1. coffee", "2. more coffee"),
            ("is it too early", "to call it a day?"),
            ("I asked for a sign", "and it fell on me"),
        ),
    )
    write_lines(picture, words, (0.08 * w, 0.42 * h), 0.075 * unit, ink, "plain", fit=0.85 * w)
    for k in range(4):
        ring(picture, ((0.15 + 0.22 * k) * w, 0.9 * h), 0.025 * unit, rgb("788490"), 1)
        write(
            picture,
            str(rng.integers(1, 999)),
            ((0.19 + 0.22 * k) * w, 0.9 * h),
            0.035 * unit,
            rgb("788490"),
            anchor="left",
        )
    return picture


PHOTOS = (landscape, texture, person, table)
TEMPLATES = (stick_figures, choices)


def _blurred(rng: Rng, shape: Shape) -> Picture:
    small = (shape[0] // 2, shape[1] // 2)
    colours = np.stack([tinted(rng, TONES) for _ in range(3)]).astype(np.float32)
    field: Array = ramp(colours, np.clip(0.5 + 0.3 * fractal(rng, small, rng.uniform(2, 5), 3), 0, 1))
    picture = np.asarray(field.clip(0, 255), np.uint8)
    for _ in range(rng.integers(0, 8)):
        (x, y), (wide, high) = rng.uniform(0, 1, 2) * small[::-1], rng.uniform(0.05, 0.4, 2) * small[0]
        box(picture, x, y, x + wide, y + high, tinted(rng, TONES))
    return np.asarray(cv2.resize(cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 4)), shape[::-1]))


def _taken(rng: Rng, picture: Picture) -> Picture:
    """By a camera: the paint taken for what surfaces reflect."""
    return photograph(rng, (picture.astype(np.float32) / 255) ** np.float32(2.2))
