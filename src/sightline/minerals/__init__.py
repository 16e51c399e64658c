"""Classify tight image patches into minerals, or say that they are none of them."""
