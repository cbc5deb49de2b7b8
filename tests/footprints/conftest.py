"""Makes the modules beside the tests importable: buildings of known shape, and what they look like when traced."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
