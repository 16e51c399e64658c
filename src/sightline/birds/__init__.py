"""Content-based retrieval of bird photos: classes that training never saw."""
