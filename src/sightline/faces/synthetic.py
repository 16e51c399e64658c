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
from sightline.faces.heads import Person, make_person, make_sibling
from sightline.faces.params import EMOTIONS, Synthetic
from sightline.faces.portraits import draw_portrait, draw_someone

PORTRAITS, SMALL = (180, 261), (96, 129)
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
    enrolled = {
        name: make_person(np.random.default_rng((settings.seed, 1, number)))
        for number, name in enumerate(_names(settings.people))
    }
    people = list(enrolled.values())
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
    return Drawn(draw_someone(rng, label, float(rng.uniform(0.35, 1.0)), SMALL).image)


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


def _names(count: int) -> list[str]:
    return [NAMES[k % len(NAMES)] + (f"_{k // len(NAMES) + 1}" if k >= len(NAMES) else "") for k in range(count)]


MOODS = (0.4, 0.3, 0.06, 0.06, 0.06, 0.06, 0.06)
NAMES = (
    "anna", "bruno", "carla", "david", "elena", "farid", "grace", "hugo", "irene", "jonas", "keiko", "liam", "marta",
    "nadir", "olga", "pablo", "quinn", "rosa", "samir", "tessa", "umar", "vera", "wen", "xenia", "yusuf", "zora",
)  # fmt: skip
