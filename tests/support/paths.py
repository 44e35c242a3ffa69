"""Paths that several tests need."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent  # of the repository
COMMAND = Path(sys.executable).with_name("archive-restore")
