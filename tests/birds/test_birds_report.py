import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

from sightline.birds import report as stage
from sightline.birds.embeddings import read_embeddings, write_embeddings
from sightline.birds.evaluate import evaluate
from sightline.birds.layout import Photo
from sightline.birds.params import Birds
from sightline.birds.photos import read_photos
from sightline.birds.project import Projection
