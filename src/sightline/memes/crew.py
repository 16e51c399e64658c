"""Who lives in Slagmoor: armoured crews, walking machines, and what they carry."""

import numpy as np

from sightline.core.rendering import Array
from sightline.memes.painting import Brush, Colour, Rng, lighter, palette, pick, rgb

ORANGE = rgb("ff8a1e")
RED = rgb("ff2a16")
METALS = palette("4a4d50", "5a5046", "3c4246", "6a4a34", "52565a")
ARMOURS = palette("4c5648", "5a5048", "3e464e", "6a5a40", "5c3a30", "6e7072")


def soldier(rng: Rng, brush: Brush, armour: Colour) -> None:
    """Armoured figure one high that stands at (0, 0)."""
    stride = rng.uniform(0.02, 0.12)
    dark, light = lighter(armour, 0.6), lighter(armour, 1.25)
    for side in (-1, 1):
        hip = (side * 0.06, -0.48)
        knee = (side * (0.07 + 0.4 * stride), -0.25)
        brush.line([hip, knee, (side * (0.06 + stride), 0)], dark if side < 0 else armour, 0.1)
        brush.line([(knee[0], knee[1] - 0.03), (knee[0], knee[1] + 0.03)], light, 0.11)
    brush.polygon([(-0.17, -0.8), (0.17, -0.8), (0.11, -0.44), (-0.11, -0.44)], armour)
    brush.polygon([(-0.09, -0.76), (0.09, -0.76), (0.07, -0.52), (-0.07, -0.52)], dark)
    for side in (-1, 1):
        brush.oval((side * 0.18, -0.77), (0.075, 0.06), light)
        elbow = (side * 0.23, -0.6)
        brush.line([(side * 0.18, -0.75), elbow, (0.06, -0.58)], armour, 0.075)
    if rng.random() < 0.7:
        rifle(brush.to((-0.12, -0.6), 0.42), lighter(armour, 0.4))
    brush.polygon(
        [(-0.075, -0.97), (0.075, -0.97), (0.09, -0.88), (0.06, -0.81), (-0.06, -0.81), (-0.09, -0.88)],
        lighter(armour, 1.1),
    )
    if rng.random() < 0.6:
        colour = pick(rng, (ORANGE, RED, rgb("8ad8f0")))
        brush.box(-0.055, -0.91, 0.055, -0.88, colour)


def drone(rng: Rng, brush: Brush, armour: Colour) -> None:
    """A walking machine with one eye, one high."""
    for side in (-1, 1):
        brush.line([(side * 0.15, -0.6), (side * 0.38, -0.5), (side * 0.3, 0)], lighter(armour, 0.6), 0.07)
    brush.polygon([(-0.26, -0.85), (0.26, -0.85), (0.32, -0.6), (0, -0.45), (-0.32, -0.6)], armour)
    brush.box(-0.2, -0.95, 0.1, -0.85, lighter(armour, 0.75))
    brush.disc((0, -0.68), 0.09, rgb("1a1412"))
    brush.disc((0, -0.68), 0.055, pick(rng, (RED, ORANGE)))


def rifle(brush: Brush, colour: Colour, towards: bool = False) -> None:
    """A weapon one long, from the side or, ``towards`` the scene, as the player holds it."""
    dark, light = lighter(colour, 0.55), lighter(colour, 1.25)
    if towards:
        brush.polygon([(0, -0.22), (0.1, -0.26), (0.75, 0.45), (0.15, 0.5)], colour)
        brush.polygon([(0, -0.22), (0.1, -0.26), (0.62, 0.2), (0.5, 0.32)], light)
        brush.polygon([(-0.05, -0.3), (0.02, -0.33), (0.14, -0.18), (0.05, -0.12)], dark)
        brush.oval((0.3, 0.28), (0.13, 0.1), rgb("2e2a28"), 30)
        brush.disc((0.28, 0.02), 0.02, ORANGE)
        return
    brush.box(0, -0.06, 0.55, 0.06, colour)
    brush.box(0.5, -0.03, 1, 0.02, dark)
    brush.box(0.08, -0.12, 0.38, -0.06, light)
    brush.polygon([(0.28, 0), (0.4, 0), (0.46, 0.24), (0.34, 0.24)], dark)
    brush.polygon([(0, 0), (0.1, 0), (0.03, 0.2), (-0.07, 0.2)], dark)


def helmeted_bust(rng: Rng, brush: Brush, armour: Colour) -> Array:
    """Head and shoulders of a helmet two high, with (0, 0) in its middle; gives the visor's colour."""
    dark, light = lighter(armour, 0.55), lighter(armour, 1.3)
    turn = rng.normal(0, 0.12)
    brush.polygon([(-2.3, 4), (-2.1, 1.5), (-0.9, 0.9), (0.9, 0.9), (2.1, 1.5), (2.3, 4)], dark)
    for side in (-1, 1):
        brush.ball((side * 1.75, 1.6), (0.75, 0.6), armour, side * 20)
        brush.ring((side * 1.75, 1.6), 0.4, light, 1 / 14, (180, 300))
    brush.polygon([(-0.9, 1.5), (0.9, 1.5), (0.6, 3), (-0.6, 3)], armour)
    brush.box(-0.5, 0.6, 0.5, 1.3, lighter(dark, 0.7))
    skull = [
        (-0.75, -0.75),
        (-0.4, -1.05),
        (0.4, -1.05),
        (0.75, -0.75),
        (0.85, 0.1),
        (0.5, 0.85),
        (-0.5, 0.85),
        (-0.85, 0.1),
    ]
    head = brush.to((turn, 0))
    head.polygon(skull, armour)
    head.polygon(np.array(skull[:4]) * (0.9, 0.92), light)
    visor: Array = pick(rng, (ORANGE, RED, rgb("7adcf0"), rgb("ffd070")))
    # The face turns farther than the helmet.
    face = brush.to((1.6 * turn, 0))
    style = rng.integers(3)
    if style == 0:
        glass = np.array([(-0.62, -0.3), (0.62, -0.3), (0.5, 0.12), (0.12, 0.2), (-0.12, 0.2), (-0.5, 0.12)])
        face.polygon(glass * 1.12, rgb("15110f"))
        face.polygon(glass, visor)
        face.polygon([(-0.5, -0.24), (0.1, -0.24), (-0.1, -0.05), (-0.48, -0.05)], lighter(visor, 1.8))
    elif style == 1:
        for side in (-1, 1):
            face.disc((side * 0.36, -0.1), 0.27, rgb("15110f"))
            face.disc((side * 0.36, -0.1), 0.2, visor)
            face.disc((side * 0.3, -0.17), 0.06, lighter(visor, 1.9))
    else:
        face.box(-0.62, -0.22, 0.62, 0.02, rgb("15110f"))
        face.box(-0.55, -0.15, 0.55, -0.06, visor)
    # Breathing gear, seams and scratches.
    face.ball((0, 0.52), (0.3, 0.24), dark)
    for k in range(-2, 3):
        face.line([(k * 0.09, 0.4), (k * 0.09, 0.64)], rgb("14110f"), 1 / 24)
    brush.line([(1.6 * turn + 0.3, 0.55), (0.9, 0.9), (1.2, 1.8)], lighter(dark, 0.7), 1 / 6)
    brush.line([(turn, -1.02), (1.6 * turn, -0.35)], dark, 1 / 20)
    for _ in range(6):
        start = rng.uniform(-0.7, 0.7, 2)
        brush.line([start, start + rng.normal(0, 0.15, 2)], light)
    return visor
