"""Functions of torch whose results do not depend on the processor, in place of those that do.

torch hands ``sqrt``, ``pow`` with the number 0.5, ``acos``, ``asin``, ``atan`` and ``tan`` of tensors on to MKL. MKL
starts some of them from the processor's approximate reciprocals, which differ by maker, and no switch turns that off.
"""

from torch import Tensor


def square_root(values: Tensor) -> Tensor:
    """The square root of values that are not negative, any shape; exact to one unit in the last place.

    ``rsqrt`` is computed by torch itself, from the processor's square root and division, which are exact everywhere.
    """
    return values * values.clamp(min=SMALLEST).rsqrt()


def arc_tangent(values: Tensor) -> Tensor:
    """The angle in radians, from -pi / 2 to pi / 2, whose tangent each value is, any shape."""
    return values.atan2(values.new_ones(()))


SMALLEST = 1e-38
