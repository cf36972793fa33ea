"""The pictures of README and docs, drawn by Tidegate itself. Out: docs/images/forecast.png, as `tidegate demo` draws it.

python docs/make_images.py         # or: make images
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tidegate.cli import main as tidegate

IMAGES = Path(__file__).resolve().parent / "images"
MOST_BYTES = 150_000


def main() -> int:
    with tempfile.TemporaryDirectory() as place:
        if tidegate(["demo", "--output", place]) != 0:
            return 1
        picture = Path(place) / "forecast.png"
        if picture.stat().st_size > MOST_BYTES:
            print(f"{picture}: {picture.stat().st_size:,} bytes, more than {MOST_BYTES:,}", file=sys.stderr)
            return 1
        IMAGES.mkdir(exist_ok=True)
        shutil.copyfile(picture, IMAGES / "forecast.png")
    print(f"wrote {IMAGES / 'forecast.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
