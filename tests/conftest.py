"""What all tests need before anything imports torch."""

import os

# As in stage.py: OpenMP threads that spin while they wait slow each other down on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
