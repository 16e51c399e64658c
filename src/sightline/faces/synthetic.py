"""The embedded data set: drawn photos of invented people, alone, in groups and in all moods, in the task's own layout.

``gallery/<name>`` and ``strangers/<name>`` hold portraits, ``groups`` photos of three to eight people with
``groups.json`` (exact boxes, names, emotions), ``groups/no_face`` photos of other things, ``emotion/<label>`` small
portraits of a different person each. Some strangers look like an enrolled person's sibling.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.files import replacing_folder, write_json
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.faces.blanks import draw_blank
from sightline.faces.crowds import Member, draw_group
from sightline.faces.heads import SHORT, Person, make_person, make_sibling
from sightline.faces.params import EMOTIONS, Synthetic
from sightline.faces.portraits import draw_portrait

PORTRAITS = (180, 261)
LARGER, SHRINK = (136, 181), 1.4
"""Small pictures are mostly shrunk ones: drawn with sides of so many px and made smaller by so much."""
STRENGTHS = (0.6, 1.0)
"""How strongly the emotion pictures show their emotion."""
SIBLINGS = 3
"""One stranger in so many is a sibling of an enrolled person."""


class World(NamedTuple):
    """Everybody who is met more than once: by name, the enrolled people and the strangers."""

    enrolled: dict[str, Person]
    strangers: dict[str, Person]


class Drawn(NamedTuple):
    """A photo and, for a group, its entry in groups.json."""

    image: NDArray[np.uint8]
    truth: dict[str, Any] | None = None


def draw_dataset(folder: Path, settings: Synthetic, workers: int) -> None:
    """Draw the set that ``settings`` asks for into ``folder``; the files do not depend on ``workers``."""
    world = make_world(settings)
    jobs = list(_jobs(settings, world))
    with replacing_folder(folder) as part:
        for path, _ in jobs:
            (part / path).parent.mkdir(parents=True, exist_ok=True)
        done = map_ordered(partial(_draw_photo, part, settings.seed), jobs, workers)
        truths = [truth for truth in progress(done, "drawing faces", len(jobs), "photo") if truth]
        write_json(part / "groups" / "groups.json", {"photos": truths})


def make_world(settings: Synthetic) -> World:
    """Who is in the set: nobody changes when there are more people of either kind."""
    people = [make_person(np.random.default_rng((settings.seed, 1, number))) for number in range(settings.people)]
    enrolled = dict(zip(_names(people), people, strict=True))
    strangers = {}
    for number in range(settings.strangers):
        rng = np.random.default_rng((settings.seed, 2, number))
        known = people[(number // SIBLINGS) % len(people)]
        person = make_sibling(rng, known) if number % SIBLINGS == 0 else make_person(rng)
        strangers[f"stranger_{number + 1:02d}"] = person
    return World(enrolled, strangers)


Job = tuple[str, Callable[[np.random.Generator], Drawn]]


def _jobs(settings: Synthetic, world: World) -> Iterator[Job]:
    """Path and drawing of every photo."""
    for role, people, photos in (
        ("gallery", world.enrolled, settings.photos),
        ("strangers", world.strangers, settings.stranger_photos),
    ):
        for name, person in people.items():
            for photo in range(photos):
                yield f"{role}/{name}/{photo + 1:03d}.jpg", partial(_portrait, person)
    for photo in range(settings.groups):
        yield f"groups/{photo + 1:03d}.jpg", partial(_group, world, f"{photo + 1:03d}.jpg")
    for photo in range(settings.empty):
        yield f"groups/no_face/{photo + 1:03d}.jpg", partial(_blank, photo)
    for label in EMOTIONS:
        for photo in range(settings.emotions):
            yield f"emotion/{label}/{photo + 1:03d}.jpg", partial(_mood, label)


def _portrait(person: Person, rng: np.random.Generator) -> Drawn:
    emotion, strength = _some_mood(rng)
    return Drawn(draw_portrait(rng, person, emotion, strength, PORTRAITS).image)


def _group(world: World, file: str, rng: np.random.Generator) -> Drawn:
    count = int(rng.integers(3, 9))
    known = rng.permutation(list(world.enrolled))[: max(1, int(rng.binomial(count, 0.55)))].tolist()
    people = list(world.enrolled.values())
    members = []
    for seat in range(count):
        name = known[seat] if seat < len(known) else None
        if name is not None:
            person = world.enrolled[name]
        elif rng.random() < 1 / SIBLINGS:
            person = make_sibling(rng, people[rng.integers(len(people))])
        else:
            # Not one of the strangers: some of those choose the threshold and must not be met again.
            person = make_person(rng)
        members.append(Member(person, name, *_some_mood(rng)))
    members = [members[seat] for seat in rng.permutation(count)]
    image, faces = draw_group(rng, members)
    truth = [
        {
            "box": [round(side, 1) for side in face.box_xyxy],
            "name": member.name,
            "ignore": face.ignore,
            "emotion": member.emotion,
        }
        for member, face in zip(members, faces, strict=True)
    ]
    return Drawn(image, {"file": file, "complete": True, "faces": truth})


def _blank(number: int, rng: np.random.Generator) -> Drawn:
    return Drawn(draw_blank(rng, number))


def _mood(label: str, rng: np.random.Generator) -> Drawn:
    strength = float(rng.uniform(*STRENGTHS))
    larger = draw_portrait(rng, make_person(rng), label, strength, LARGER, close=1.0, calm=0.6).image
    size = [round(side / SHRINK) for side in larger.shape[1::-1]]
    return Drawn(np.asarray(cv2.resize(larger, size, interpolation=cv2.INTER_AREA)))


def _some_mood(rng: np.random.Generator) -> tuple[str, float]:
    """People in front of a camera mostly look neutral or smile."""
    emotion = EMOTIONS[rng.choice(len(EMOTIONS), p=MOODS)]
    return emotion, float(rng.uniform(0.3, 1.0))


def _draw_photo(folder: Path, seed: int, job: Job) -> dict[str, Any] | None:
    path, draw = job
    # By its path, so that a photo stays as it is when there are more of another kind.
    rng = np.random.default_rng((seed, 3, *path.encode()))
    image, truth = draw(rng)
    quality = int(rng.integers(60, 96))
    _, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    (folder / path).write_bytes(jpeg.tobytes())
    return truth


def _names(people: list[Person]) -> list[str]:
    """A name for each, another one for each; after the last name of a list come the second bearers of the first."""
    met = dict.fromkeys((True, False), 0)
    names = []
    for person in people:
        short = person.style in SHORT
        turn, number = divmod(met[short], len(NAMES[short]))
        met[short] += 1
        names.append(NAMES[short][number] + (f"_{turn + 1}" if turn else ""))
    return names


MOODS = (0.4, 0.3, 0.06, 0.06, 0.06, 0.06, 0.06)
NAMES = {
    True: ("bruno", "david", "farid", "hugo", "jonas", "liam", "nadir", "pablo", "samir", "umar", "wen", "yusuf"),
    False: ("anna", "carla", "elena", "grace", "irene", "keiko", "marta", "olga", "rosa", "tessa", "vera", "zora"),
}
