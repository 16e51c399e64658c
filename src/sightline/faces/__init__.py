"""Faces: who is it, and how do they feel."""
