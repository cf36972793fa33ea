"""The pictures of README and docs, drawn by Tidegate itself. Out: docs/images/forecast.png and tutorials.png, as
`tidegate demo` and `tidegate demo text` draw them.

python docs/make_images.py         # or: make images
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tidegate.cli import main as tidegate

IMAGES = Path(__file__).resolve().parent / "images"
MOST_BYTES = 200_000


def main() -> int:
    with tempfile.TemporaryDirectory() as place:
        drawn = Path(place) / "tutorials.png"
        if tidegate(["demo", "--output", place]) != 0 or tidegate(["demo", "text", "--output", str(drawn)]) != 0:
            return 1
        return max(_kept(Path(place) / "forecast.png"), _kept(drawn))


def _kept(picture: Path) -> int:
    """Put a picture beside the documents; 1 where it is too large."""
    if picture.stat().st_size > MOST_BYTES:
        print(f"{picture}: {picture.stat().st_size:,} bytes, more than {MOST_BYTES:,}", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    shutil.copyfile(picture, IMAGES / picture.name)
    print(f"wrote {IMAGES / picture.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
