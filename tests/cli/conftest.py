"""Let the tests of commands use the hand-made inspection of the tests of reports."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "reporting"))
