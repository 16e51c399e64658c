"""Sightline: five classic computer-vision jobs as one reproducible pipeline."""
