"""The golden scores of VBench's own functions (tests/golden/README.md says what each key holds)."""

import json
from pathlib import Path
from typing import Any

PROTOCOLS = ("direct", "exact")
SCORES: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden" / "vbench" / "scores.json").read_text())
