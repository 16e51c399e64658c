"""Parts: detect, track and count what falls through a video."""
