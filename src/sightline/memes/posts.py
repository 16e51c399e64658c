"""What people make of a game's pictures before they post them, and what the web then does to those.

Nothing here knows a class: captions, thumbnails, crops, filters, sizes and JPEG qualities come from the same
distributions for all.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from sightline.memes import everyday
from sightline.memes.game import Game
from sightline.memes.lettering import write
from sightline.memes.painting import (
    Picture,
    Rng,
    Shape,
    blend,
    box,
    disc,
    glaze,
    grade,
    gradient,
    lighter,
    line,
    palette,
    pick,
    pill,
    polygon,
    rgb,
    ring,
    tinted,
    vignette,
)

CANVAS = 400
"""Longer side in px of the canvas that everything is painted on."""
ASPECTS = (16 / 9, 4 / 3, 1.0, 3 / 4, 2.0, 1.5)
ASPECT_SHARES = (0.56, 0.12, 0.14, 0.05, 0.06, 0.07)

GAME_KINDS = ("screenshot", "art", "video thumbnail", "meme", "text-only")
GAME_SHARES = (0.45, 0.16, 0.18, 0.14, 0.07)
FAR_KINDS = ("photo", "meme", "chart", "text-only")
FAR_SHARES = (0.4, 0.34, 0.13, 0.13)

TOPS = (
    "WHEN YOU FINALLY", "ME EXPLAINING", "NOBODY:", "ONE DOES NOT SIMPLY", "MY FACE WHEN", "HOURS 1 TO 100 OF",
    "WHAT I SEE IN", "NOT SURE IF", "THEY SAID", "DAY 47 OF", "I CAME FOR", "STILL WAITING FOR", "HOW IT FEELS:",
)  # fmt: skip
BOTTOMS = (
    "BEAT {}", "SKIP {}", "{} AGAIN?", "I BLAME {}", "ONE MORE ROUND", "WORTH IT", "{} FOREVER", "NEVER AGAIN",
    "AND THEN {}", "JUST {} THINGS", "SEND HELP", "{} BE LIKE",
)  # fmt: skip
CLICKS = (
    "PART {}", "TOP {}", "REVIEW", "EPISODE {}", "NEW UPDATE!", "SECRET ENDING", "{} TIPS", "WORTH IT?",
    "NO WAY...", "FIRST LOOK", "TRAILER", "100% GUIDE", "LIVE", "SPEEDRUN",
)  # fmt: skip
SITES = ("memepile.example", "@dailypix", "gamegrab", "pixelpost", "via lolboard", "clipstash.tv")
LOUD = palette("ffe11a", "ff3b30", "ffffff", "37e05a", "2ab4ff", "ff8c1a", "d04cff")


class Post(NamedTuple):
    """A picture on its canvas, (h, w, 3) uint8 RGB, and of which kind it is."""

    picture: Picture
    kind: str


class FileTraits(NamedTuple):
    """What a file is like whatever it shows: width for height, the longer side in px, JPEG quality 1 … 100."""

    aspect: float
    longer: int
    quality: int

    @property
    def canvas(self) -> Shape:
        """Height and width of the canvas."""
        return _shape(CANVAS, self.aspect)


def choose_traits(rng: Rng) -> FileTraits:
    """Mostly the thumbnails that image search hands out, some larger or square, a few icons."""
    aspect = pick(rng, ASPECTS, ASPECT_SHARES) * float(np.exp(rng.normal(0, 0.015)))
    longer = pick(rng, (300, 320, int(rng.integers(220, 300)), int(rng.integers(56, 112))), (0.5, 0.2, 0.25, 0.05))
    return FileTraits(aspect, longer, pick(rng, (int(rng.integers(70, 93)), int(rng.integers(32, 70))), (0.75, 0.25)))


def post_of_game(rng: Rng, game: Game, shape: Shape) -> Post:
    """Something that a player or a journalist posts of a game."""
    kind = pick(rng, GAME_KINDS, GAME_SHARES)
    if kind == "screenshot":
        picture = _collage(rng, game, shape) if rng.random() < 0.1 else _scene(rng, game, shape, 0.75)
        if rng.random() < 0.1:
            game.logo(rng, picture)
    elif kind == "art":
        picture = game.art(rng, shape)
        if rng.random() < 0.4:
            game.logo(rng, picture)
    elif kind == "video thumbnail":
        picture = game.art(rng, shape) if rng.random() < 0.35 else _scene(rng, game, shape, 0.4)
        _thumbnail(rng, picture, game)
    elif kind == "meme":
        picture = _meme(
            rng,
            lambda rng, shape: game.art(rng, shape) if rng.random() < 0.35 else _scene(rng, game, shape, 0.4),
            game.words,
            shape,
        )
    else:
        picture = game.menu(rng, shape) if rng.random() < 0.7 else _title_card(rng, game, shape)
    return Post(_worn(rng, picture), kind)


def post_of_anything(rng: Rng, shape: Shape) -> Post:
    """Something that has nothing to do with games."""
    kind = pick(rng, FAR_KINDS, FAR_SHARES)
    if kind == "photo":
        picture = pick(rng, everyday.PHOTOS)(rng, shape)
    elif kind == "chart":
        picture = everyday.chart(rng, shape)
    elif kind == "text-only":
        picture = everyday.post(rng, shape)
    else:
        words = ("MONDAYS", "MY BOSS", "THE PRINTER", "COFFEE", "MY CAT", "THE GYM", "HOMEWORK")
        if rng.random() < 0.45:
            picture = pick(rng, everyday.TEMPLATES)(rng, shape)
        else:
            picture = _meme(rng, pick(rng, everyday.PHOTOS), words, shape)
    return Post(_worn(rng, picture), kind)


def repost(rng: Rng, original: Picture) -> Picture:
    """The same picture as somebody else has it: a little cropped, brighter or darker, with another watermark."""
    h, w = original.shape[:2]
    keep = rng.uniform(0.988, 1)
    top, left = (round(rng.uniform(0, (1 - keep) * side)) for side in (h, w))
    picture = cv2.resize(
        original[top : top + round(keep * h), left : left + round(keep * w)], (w, h), interpolation=cv2.INTER_LINEAR
    )
    picture = grade(picture, rgb("ffffff") * rng.uniform(0.88, 1.1), rng.uniform(0.94, 1.07), rng.uniform(0.75, 1.2))
    if rng.random() < 0.25:
        _watermark(rng, picture)
    return picture


def encode(picture: Picture, traits: FileTraits) -> bytes:
    """The picture as a JPEG file with the given traits."""
    h, w = picture.shape[:2]
    height, width = _shape(traits.longer, w / h)
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, traits.quality])
    return bytes(jpeg.tobytes())


def _shape(longer: int, aspect: float) -> Shape:
    return (round(longer / aspect), longer) if aspect >= 1 else (longer, round(longer * aspect))


def _scene(rng: Rng, game: Game, shape: Shape, hud_share: float) -> Picture:
    painters, shares = zip(*game.scenes, strict=True)
    picture: Picture = pick(rng, painters, shares)(rng, shape)
    if rng.random() < hud_share:
        game.hud(rng, picture)
    return picture


def _collage(rng: Rng, game: Game, shape: Shape) -> Picture:
    """Two to four pictures side by side."""
    h, w = shape
    across, down = pick(rng, ((2, 1), (1, 2), (2, 2)))
    picture = np.full((h, w, 3), pick(rng, (0, 255)), np.uint8)
    for row in range(down):
        for column in range(across):
            top, left, bottom, right = (
                row * h // down,
                column * w // across,
                (row + 1) * h // down,
                (column + 1) * w // across,
            )
            part = (bottom - top - 4, right - left - 4)
            picture[top + 2 : bottom - 2, left + 2 : right - 2] = (
                game.art(rng, part) if rng.random() < 0.25 else _scene(rng, game, part, 0.4)
            )
    return picture


def _title_card(rng: Rng, game: Game, shape: Shape) -> Picture:
    """The name on a plain ground, as stores and trailers show it."""
    colour = pick(rng, (rgb("08080a"), rgb("ffffff"), rgb("20242c"), tinted(rng, LOUD)))
    picture = gradient(shape, colour, lighter(colour, rng.uniform(0.6, 1.0)))
    game.logo(rng, picture)
    if rng.random() < 0.5:
        h, w = shape
        words = pick(rng, ("OUT NOW", "COMING SOON", "PATCH 1.4 NOTES", "PREORDER", "SEASON 3", "SALE -40%"))
        ink = rgb("f0f0f0") if np.mean(colour) < 128 else rgb("202020")
        write(picture, words, (w / 2, 0.92 * h), 0.06 * min(h, 0.62 * w), ink, "plain", outline=colour)
    return picture


def _meme(rng: Rng, painter: Callable[[Rng, Shape], Picture], words: Sequence[str], shape: Shape) -> Picture:
    """Captions in white capitals above and below, or black on a white band, or two pictures of before and after."""
    h, w = shape
    word = pick(rng, words)
    top, bottom = pick(rng, TOPS), pick(rng, BOTTOMS).format(word)
    size = rng.uniform(0.08, 0.115) * min(h, 0.75 * w)
    style = rng.random()
    if style < 0.6:
        picture = painter(rng, shape)
        if (lines := rng.random()) < 0.85:
            write(picture, top, (w / 2, 0.1 * h), size, rgb("ffffff"), "impact", outline=rgb("000000"), fit=0.9 * w)
        if lines > 0.12:
            write(picture, bottom, (w / 2, 0.9 * h), size, rgb("ffffff"), "impact", outline=rgb("000000"), fit=0.9 * w)
        return picture
    picture = np.full((h, w, 3), 255, np.uint8)
    if style < 0.82:
        band = round(rng.uniform(0.17, 0.26) * h)
        picture[band:] = painter(rng, (h - band, w))
        write(picture, f"{top} {word}".capitalize(), (w / 2, band / 2), 0.8 * size, rgb("101010"), "plain", fit=0.9 * w)
        return picture
    half = w // 2
    for left, right, label in ((0, half - 2, "BEFORE"), (half + 2, w, "AFTER")):
        picture[:, left:right] = painter(rng, (h, right - left))
        write(
            picture,
            label,
            ((left + right) / 2, 0.1 * h),
            size,
            rgb("ffffff"),
            "impact",
            outline=rgb("000000"),
            fit=0.4 * w,
        )
    return picture


def _thumbnail(rng: Rng, picture: Picture, game: Game) -> None:
    """What a video portal shows of a film: loud words, arrows, the maker's face, a play button, its length."""
    h, w = picture.shape[:2]
    unit = min(h, 0.62 * w)
    if rng.random() < 0.8:
        words = pick(rng, CLICKS).format(rng.integers(2, 30))
        x, y = w * rng.uniform(0.3, 0.7), h * pick(rng, (0.18, 0.78))
        colour, face, size = (
            tinted(rng, LOUD, 0.03),
            pick(rng, ("impact", "bold", "round")),
            rng.uniform(0.13, 0.22) * unit,
        )
        if rng.random() < 0.3:
            wide = 0.62 * len(words) * size
            polygon(
                picture,
                [
                    (x - wide / 1.8, y - 0.85 * size),
                    (x + wide / 1.7, y - 0.85 * size),
                    (x + wide / 1.8, y + 0.85 * size),
                    (x - wide / 1.7, y + 0.85 * size),
                ],
                pick(rng, (rgb("d01818"), rgb("101010"), rgb("f0f0f0"), rgb("3c28b8"))),
            )
        write(
            picture,
            words,
            (x, y),
            size,
            colour,
            face,
            outline=rgb("0a0a0a"),
            fit=0.8 * w,
            turn=float(rng.choice([0, 0, 4, -4])),
        )
    if rng.random() < 0.3:
        write(
            picture,
            game.title,
            (w / 2, h * rng.uniform(0.35, 0.65)),
            0.12 * unit,
            tinted(rng, LOUD),
            "impact",
            outline=rgb("0a0a0a"),
            fit=0.85 * w,
        )
    elif rng.random() < 0.3:
        game.logo(rng, picture)
    if rng.random() < 0.3:
        side = max(24, round(0.42 * unit))
        maker = everyday.person(rng, (side, side))
        x = 0 if rng.random() < 0.5 else w - side
        picture[h - side :, x : x + side] = maker
        box(picture, x, h - side, x + side, h - side + 2, tinted(rng, LOUD))
    if rng.random() < 0.25:
        centre, radius = rng.uniform(0.25, 0.75, 2) * (w, h), 0.16 * unit
        ring(picture, centre, radius, rgb("ff2020"), unit / 35)
        tail = centre + np.array([1.0, -0.7]) * radius * 2.2
        line(picture, [tail, centre + (tail - centre) * 0.55], rgb("ff2020"), unit / 25)
    if rng.random() < 0.3:
        layer = picture.copy()
        disc(layer, (w / 2, h / 2), 0.13 * unit, rgb("101010"))
        glaze(picture, layer, 0.65)
        polygon(picture, np.array([(-0.04, -0.06), (0.07, 0), (-0.04, 0.06)]) * unit + (w / 2, h / 2), rgb("ffffff"))
    if rng.random() < 0.35:
        box(picture, 0.86 * w, 0.88 * h, 0.98 * w, 0.96 * h, rgb("101010"))
        write(
            picture,
            f"{rng.integers(2, 40)}:{rng.integers(0, 60):02d}",
            (0.92 * w, 0.92 * h),
            0.045 * unit,
            rgb("ffffff"),
            "bold",
            fit=0.1 * w,
        )
    if rng.random() < 0.15:
        colour = tinted(rng, LOUD)
        line(picture, [(3, 3), (w - 3, 3), (w - 3, h - 3), (3, h - 3), (3, 3)], colour, 7)


def _worn(rng: Rng, picture: Picture) -> Picture:
    """What becomes of a picture on its way: cropped, filtered, framed, marked, squeezed; (h, w) stays."""
    h, w = picture.shape[:2]
    if rng.random() < 0.25:
        keep = rng.uniform(0.38, 0.9)
        top, left = round(rng.uniform(0, 1 - keep) * h), round(rng.uniform(0, 1 - keep) * w)
        picture = cv2.resize(
            picture[top : top + round(keep * h), left : left + round(keep * w)], (w, h), interpolation=cv2.INTER_LINEAR
        )
    if rng.random() < 0.05:
        picture = np.ascontiguousarray(picture[:, ::-1])
    picture = _filtered(rng, picture)
    if rng.random() < 0.12:
        bar = round(rng.uniform(0.05, 0.14) * (h if rng.random() < 0.7 else w))
        upright = rng.random() < 0.6
        inner = (w, h - 2 * bar) if upright else (w - 2 * bar, h)
        framed = np.full_like(picture, pick(rng, (0, 0, 255)))
        view = framed[bar : h - bar] if upright else framed[:, bar : w - bar]
        view[:] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
        picture = framed
    if rng.random() < 0.15:
        _watermark(rng, picture)
    if rng.random() < 0.08:
        picture = _screen(rng, picture)
    if rng.random() < 0.14:
        # Once a small file, then blown up again.
        longer = int(rng.integers(70, 170))
        picture = _recoded(
            cv2.resize(picture, _shape(longer, w / h)[::-1], interpolation=cv2.INTER_AREA), int(rng.integers(25, 80))
        )
        picture = cv2.resize(
            picture,
            (w, h),
            interpolation=pick(rng, (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST), (0.5, 0.4, 0.1)),
        )
    elif rng.random() < 0.25:
        picture = _recoded(picture, int(rng.integers(12, 50)))
    return picture


def _filtered(rng: Rng, picture: Picture) -> Picture:
    """Exposure and colour as anybody sets them, and now and then a filter for effect."""
    kind = rng.random()
    if kind < 0.08:
        return grade(picture, rgb("ffffff"), 1.1, 0.0)
    if kind < 0.13:
        return grade(picture, rgb("ffe0b0"), 1.0, 0.25)
    if kind < 0.17:
        return grade(picture, rgb("ffffff"), rng.uniform(1.5, 2.2), rng.uniform(1.5, 2.5))
    if kind < 0.23:
        return vignette(grade(picture, tinted(rng, LOUD), 1.0, 0.7), 0.4)
    gamma = np.exp(rng.normal(0, 0.26))
    bent = np.asarray(255 * (np.arange(256) / 255) ** gamma, np.uint8)
    return grade(
        bent[picture], 255 * np.exp(rng.normal(0, 0.06, 3)), np.exp(rng.normal(0, 0.12)), np.exp(rng.normal(0, 0.2))
    )


def _watermark(rng: Rng, picture: Picture) -> None:
    h, w = picture.shape[:2]
    layer, size = picture.copy(), 0.045 * min(h, 0.62 * w) * rng.uniform(0.8, 1.5)
    spot = (w * pick(rng, (0.2, 0.8)), h * pick(rng, (0.06, 0.94)))
    write(layer, pick(rng, SITES), spot, size, rgb("ffffff"), "bold", outline=rgb("202020"), fit=0.36 * w)
    glaze(picture, layer, rng.uniform(0.4, 1))


def _screen(rng: Rng, picture: Picture) -> Picture:
    """A screenshot of a window or a telephone that shows the picture."""
    h, w = picture.shape[:2]
    paper = pick(rng, (rgb("ffffff"), rgb("202124"), rgb("e8eaed")))
    framed = gradient((h, w), paper, paper)
    ink = blend(paper, rgb("808488"), 0.8)
    scale = rng.uniform(0.68, 0.86)
    width, height = round(scale * w), round(scale * h)
    left, top = round((w - width) * rng.uniform(0, 1)), round((h - height) * rng.uniform(0.5, 0.9))
    framed[top : top + height, left : left + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        pill(framed, 0.2 * w, 0.02 * h, 0.85 * w, max(0.06 * h, 0.6 * top), blend(paper, rgb("808488"), 0.25))
        for k, colour in enumerate((rgb("f05c50"), rgb("f0b83c"), rgb("50c05c"))):
            disc(framed, ((0.035 + 0.04 * k) * w, 0.04 * h), 0.014 * min(h, w), colour)
    else:
        disc(framed, (0.05 * w, 0.06 * h), 0.03 * min(h, w), tinted(rng, LOUD))
        line(framed, [(0.1 * w, 0.045 * h), (0.3 * w, 0.045 * h)], ink, 2)
        line(framed, [(0.1 * w, 0.08 * h), (0.22 * w, 0.08 * h)], ink, 1)
    for k in range(3):
        y = top + height + (0.25 + 0.25 * k) * (h - top - height)
        line(framed, [(0.05 * w, y), (rng.uniform(0.3, 0.9) * w, y)], ink, 1)
    return framed


def _recoded(picture: Picture, quality: int) -> Picture:
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
