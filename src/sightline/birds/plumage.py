"""Invented species of birds: build, colours, marks and names.

Species come in genera of one to five. A genus shares its build, its colours but for a shade, and most of its marks;
each further member differs from one before it in a single mark, which gives it its name: a Rusty-capped Tarrel beside
an Ashy-capped one. Some of these marks are large, some only show when the bird comes close and turns its head.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sightline.birds.anatomy import GUILDS, Shape

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Species:
    """A species: its name, the number of its genus, its build, and its colours as sRGB triples 0 … 255.

    ``regions`` colours every part in :data:`REGIONS`, ``marks`` those of :data:`MARKS` that the species bears.
    ``dimorphism`` is how much duller females and young birds are, from 0 (not at all) to 1.
    """

    name: str
    genus: int
    shape: Shape
    regions: Mapping[str, Colour]
    marks: Mapping[str, Colour]
    dimorphism: float


def make_species(seed: int, count: int) -> list[Species]:
    """The first ``count`` species of world ``seed``, relatives side by side; longer lists begin with shorter ones."""
    found: list[Species] = []
    nouns: set[str] = set()
    genus = 0
    while len(found) < count:
        rng = np.random.default_rng((seed, genus, _GENUS))
        guild = list(GUILDS)[_guild_of(seed, genus)]
        noun = next(word for word in _words(rng) if word not in nouns)
        nouns.add(noun)
        found += _make_genus(rng, genus, guild, noun)
        genus += 1
    return found[:count]


REGIONS = (
    "back", "crown", "cheek", "throat", "breast", "belly", "flank", "vent", "rump", "coverts", "flight", "tail",
    "bill", "leg", "iris",
)  # fmt: skip
"""Parts of a bird that have a colour of their own."""

MARKS: dict[str, tuple[str, str]] = {
    "cap": ("capped", "crown"),
    "crown_stripe": ("crowned", "crown"),
    "brow": ("browed", "cheek"),
    "mask": ("masked", "cheek"),
    "eye_line": ("lined", "cheek"),
    "eye_ring": ("eyed", "cheek"),
    "whisker": ("whiskered", "throat"),
    "ear": ("cheeked", "cheek"),
    "bib": ("throated", "throat"),
    "collar": ("collared", "throat"),
    "nape_patch": ("naped", "crown"),
    "breast_band": ("banded", "breast"),
    "breast_patch": ("breasted", "breast"),
    "belly_patch": ("bellied", "belly"),
    "flank_patch": ("sided", "flank"),
    "streaks": ("streaked", "breast"),
    "spots": ("spotted", "breast"),
    "bars": ("barred", "belly"),
    "mantle": ("mantled", "back"),
    "rump_patch": ("rumped", "rump"),
    "wing_bars": ("barred", "coverts"),
    "wing_patch": ("winged", "flight"),
    "shoulder": ("shouldered", "coverts"),
    "tail_band": ("tailed", "tail"),
    "bill_tip": ("billed", "bill"),
}
"""Marks: the word that a name makes of it, and the part on which it must stand out."""

COLOURS: dict[str, Colour] = {
    "Black": (26, 25, 28),
    "Sooty": (62, 57, 58),
    "Slaty": (84, 94, 108),
    "Ashy": (152, 156, 160),
    "White": (243, 240, 232),
    "Cream": (232, 214, 172),
    "Buff": (208, 170, 116),
    "Rusty": (176, 90, 42),
    "Chestnut": (112, 50, 32),
    "Umber": (96, 74, 54),
    "Olive": (122, 120, 62),
    "Yellow": (236, 202, 48),
    "Orange": (230, 136, 34),
    "Scarlet": (198, 38, 30),
    "Rosy": (214, 122, 128),
    "Azure": (92, 156, 208),
    "Cobalt": (44, 76, 158),
    "Teal": (36, 134, 130),
    "Green": (76, 136, 60),
    "Violet": (106, 62, 132),
}

_GENUS = 0x6E75
# (upperparts, underparts, likely marks' colours) of each kind.
_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "bright": (
        ("Azure", "Cobalt", "Green", "Olive", "Teal", "Slaty", "Violet", "Scarlet", "Yellow", "Black"),
        ("Yellow", "White", "Orange", "Rusty", "Cream", "Rosy", "Ashy"),
        ("Black", "White", "Scarlet", "Yellow", "Orange", "Chestnut", "Cobalt", "Green", "Rosy", "Violet"),
    ),
    "earthy": (
        ("Umber", "Olive", "Ashy", "Rusty", "Sooty", "Buff", "Chestnut"),
        ("White", "Cream", "Buff", "Ashy"),
        ("Black", "White", "Rusty", "Chestnut", "Buff", "Yellow", "Sooty", "Ashy"),
    ),
    "dark": (
        ("Black", "Sooty", "Cobalt", "Slaty", "Chestnut"),
        ("Black", "Sooty", "Slaty", "Orange", "Chestnut"),
        ("Yellow", "Scarlet", "White", "Orange", "Buff", "Azure", "Rosy"),
    ),
    "pied": (
        ("Black", "Sooty", "Umber", "Ashy", "Green"),
        ("White", "Cream", "Ashy", "Buff"),
        ("Scarlet", "White", "Black", "Green", "Chestnut", "Cobalt", "Yellow", "Rusty"),
    ),
    "pale": (
        ("Ashy", "Slaty", "Buff", "Sooty", "Rosy", "Umber"),
        ("White", "Cream", "Ashy"),
        ("Black", "White", "Rosy", "Chestnut", "Slaty", "Rusty", "Buff"),
    ),
}
_BILLS = (("Black", 0.35), ("Sooty", 0.2), ("Buff", 0.15), ("Orange", 0.12), ("Yellow", 0.1), ("Scarlet", 0.08))
_IRISES = ((40, 24, 18), (40, 24, 18), (24, 20, 20), (200, 150, 40), (176, 50, 30), (225, 215, 190))
# Marks that lie on each other: a bird bears one of each group.
_RIVALS = (
    {"cap", "crown_stripe"},
    {"mask", "eye_line", "ear"},
    {"streaks", "spots", "bars", "breast_patch"},
    {"bib", "whisker"},
    {"breast_band", "collar"},
    {"wing_bars", "shoulder"},
)
# How often relatives differ in a mark: mostly in one that shows from afar.
_SMALL = ("eye_line", "eye_ring", "whisker", "nape_patch", "bill_tip", "rump_patch", "crown_stripe", "ear")
_PROMINENCE = np.array([0.25 if mark in _SMALL else 1.0 for mark in MARKS])
_PROMINENCE /= _PROMINENCE.sum()
_ONSETS = ("T", "P", "K", "M", "L", "B", "D", "S", "V", "W", "Br", "Tr", "Dr", "Fl", "Gl", "Qu", "Sk", "St", "Wh", "Pl")
_VOWELS = ("a", "e", "i", "o", "u", "a", "i", "e")
_MIDDLES = ("rr", "ll", "bb", "mm", "nd", "rl", "st", "pp", "zz", "lm", "rn", "mb", "tt", "dd", "v", "sk")
_ENDINGS = ("el", "et", "in", "ock", "it", "on", "ow", "er", "ik", "ling", "a", "al", "wing", "bird", "ick", "ard")


def _guild_of(seed: int, genus: int) -> int:
    """Every build comes once before any comes again."""
    turn, place = divmod(genus, len(GUILDS))
    return int(np.random.default_rng((seed, turn, _GENUS + 1)).permutation(len(GUILDS))[place])


def _words(rng: np.random.Generator) -> Iterator[str]:
    while True:
        parts = [str(rng.choice(sounds)) for sounds in (_ONSETS, _VOWELS, _MIDDLES, _ENDINGS)]
        yield "".join(parts)


def _make_genus(rng: np.random.Generator, genus: int, guild: str, noun: str) -> list[Species]:
    shape, kind = GUILDS[guild]
    if rng.random() < 0.25:
        kind = str(rng.choice(list(_KINDS)))
    shape = _vary(rng, shape)
    regions = _colour_regions(rng, kind)
    marks: dict[str, Colour] = {}
    for mark in rng.permutation(list(MARKS))[: rng.integers(4, 9)]:
        _add_mark(rng, marks, regions, str(mark), kind)
    size = int(rng.choice([1, 2, 3, 4, 5], p=[0.3, 0.32, 0.22, 0.11, 0.05]))
    dimorphism = float(rng.choice([0.0, 0.25, 0.5], p=[0.4, 0.35, 0.25]))
    # The first one is named after a mark as well.
    while not marks:
        _add_mark(rng, marks, regions, str(rng.choice(list(MARKS))), kind)
    name = f"{_colour_name(next(iter(marks.values())))}_{MARKS[next(iter(marks))][0]}_{noun}"
    members = [Species(name, genus, shape, regions, marks, dimorphism)]
    while len(members) < size:
        mark = str(rng.choice(list(MARKS), p=_PROMINENCE))
        changed = dict(members[rng.integers(len(members))].marks)
        changed.pop(mark, None)
        _add_mark(rng, changed, regions, mark, kind)
        name = f"{_colour_name(changed[mark])}_{MARKS[mark][0]}_{noun}"
        new = all(name != other.name and not _alike(changed, other.marks) for other in members)
        if new:
            own = {region: _near(rng, colour, 8) for region, colour in regions.items()}
            members.append(replace(members[0], name=name, shape=_vary(rng, shape, 0.3), regions=own, marks=changed))
    return members


def _alike(one: Mapping[str, Colour], other: Mapping[str, Colour]) -> bool:
    """Whether no mark tells the two apart."""
    return one.keys() == other.keys() and all(_contrast(one[mark], other[mark]) < _SEEN for mark in one)


def _vary(rng: np.random.Generator, shape: Shape, share: float = 1.0) -> Shape:
    """A build of its own, mostly within 12 % of the common one, or within a share of that."""
    factor = np.exp(rng.normal(0, 0.06 * share, 9)).tolist()
    return replace(
        shape,
        depth=shape.depth * factor[0],
        head=shape.head * factor[1],
        neck=shape.neck * factor[2],
        bill=(shape.bill[0] * factor[3] ** 2, shape.bill[1] * factor[4], shape.bill[2]),
        tail=(
            shape.tail[0] * factor[5] ** 2,
            shape.tail[1] * factor[6],
            shape.tail[2] + float(rng.normal(0, 0.08 * share)),
        ),
        leg=shape.leg * factor[7],
        pitch=shape.pitch + float(rng.normal(0, 4 * share)),
        crest=max(0.0, shape.crest * factor[8] ** 2 + float(rng.normal(0, 0.05 * share)) * (shape.crest > 0)),
    )


def _colour_regions(rng: np.random.Generator, kind: str) -> dict[str, Colour]:
    """Colours of a genus: upperparts and underparts, and what differs a little or much from them."""
    uppers, unders, accents = _KINDS[kind]
    back = _near(rng, COLOURS[str(rng.choice(uppers))], 9)
    under = _near(rng, COLOURS[str(rng.choice(unders))], 9)

    def like(base: Colour, other: float, shift: float = 0.0) -> Colour:
        if rng.random() < other:
            return _near(rng, COLOURS[str(rng.choice(accents))], 9)
        return _shade(_near(rng, base, 6), 1 + rng.normal(shift, 0.08))

    crown = like(back, 0.3)
    breast = like(under, 0.25)
    flight = _near(rng, COLOURS[str(rng.choice(["Black", "Sooty", "Umber"]))], 8)
    bill = str(rng.choice([name for name, _ in _BILLS], p=[share for _, share in _BILLS]))
    iris = _IRISES[rng.integers(len(_IRISES))]
    return {
        "back": back,
        "crown": crown,
        "cheek": crown if rng.random() < 0.6 else like(under, 0.1),
        "throat": like(breast, 0.25),
        "breast": breast,
        "belly": like(under, 0.05, 0.05),
        "flank": like(under, 0.15, -0.08),
        "vent": like(under, 0.15),
        "rump": like(back, 0.1),
        "coverts": like(back, 0.15, -0.08),
        "flight": flight if rng.random() < 0.6 else like(back, 0.05, -0.3),
        "tail": like(flight if rng.random() < 0.5 else back, 0.1, -0.1),
        "bill": _near(rng, COLOURS[bill], 8),
        "leg": _near(rng, COLOURS[str(rng.choice(["Sooty", "Slaty", "Buff", "Orange", "Umber", "Rosy", "Olive"]))], 8),
        "iris": iris,
    }


def _add_mark(
    rng: np.random.Generator, marks: dict[str, Colour], regions: Mapping[str, Colour], mark: str, kind: str
) -> None:
    """Give ``marks`` a mark that can be seen, in place of those that it would hide; no change where it has it."""
    accents = [*_KINDS[kind][2], "Black", "White"]
    if mark in marks:
        return
    under = regions[MARKS[mark][1]]
    seen = [name for name in accents if _contrast(COLOURS[name], under) > _SEEN]
    for group in _RIVALS:
        if mark in group:
            for other in group & marks.keys():
                del marks[other]
    marks[mark] = _near(rng, COLOURS[str(rng.choice(seen))], 4)


_SEEN = 105.0


def _contrast(one: Colour, other: Colour) -> float:
    """Distance of two sRGB colours, weighted as the eye sees it (Riemersma, "Colour metric", 2019)."""
    red = (one[0] + other[0]) / 2
    r, g, b = (a - c for a, c in zip(one, other, strict=True))
    return float(np.sqrt((2 + red / 256) * r * r + 4 * g * g + (2 + (255 - red) / 256) * b * b)) / 2


def _colour_name(colour: Colour) -> str:
    return min(COLOURS, key=lambda name: _contrast(COLOURS[name], colour))


def _near(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    tone, hue = rng.normal(0, spread), rng.normal(0, spread / 2, 3)
    red, green, blue = (int(np.clip(c + tone + h, 4, 250)) for c, h in zip(colour, hue, strict=True))
    return red, green, blue


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(np.clip(c * factor, 4, 250)) for c in colour)
    return red, green, blue
