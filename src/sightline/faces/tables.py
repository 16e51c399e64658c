"""Read the tables of the stages."""

from pathlib import Path

import pandas as pd


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV; names stay texts, whatever they look like: somebody may well be called 'NA' or '007'."""
    names = [str(name) for name in pd.read_csv(path, nrows=0)]
    texts = [name for name in names if name in TEXTS or name.startswith("name_")]
    # A face that was not found is like nobody.
    empty = {"similarity": [""]} if "similarity" in names else None
    return pd.read_csv(path, keep_default_na=False, na_values=empty, dtype=dict.fromkeys(texts, str))


# Of the stages before, and of faces-evaluate.
KNOWN = ("photo", "role", "person", "emotion", "set", "split", "name", "digest", "hash", "problem", "action")
TEXTS = {*KNOWN, "label", "predicted", "truth", "said", "nearest", "verdict", "method"}
