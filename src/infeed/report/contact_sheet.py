"""A batch as one page of pictures that stands alone."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files

import cv2
import numpy as np

from infeed.report.batch_row import BatchRow
from infeed.report.printable import printable
from infeed.sample import ColorMode

TEMPLATE = "contact_sheet.html"


def contact_sheet(
    images: np.ndarray,
    rows: Sequence[BatchRow],
    *,
    color_mode: ColorMode,
    title: str,
    facts: Mapping[str, str],
) -> str:
    """An HTML page with every picture of a batch as the model saw it, pixel for pixel.

    Args:
        images: uint8 (rows, height, width, channels).
        rows: what they are, one a picture.
        color_mode: what the channels of `images` mean.
        title: the heading of the page.
        facts: what stands below it, by name.

    Returns:
        HTML in which nothing is loaded from elsewhere and nothing runs; whatever a name holds,
        it is shown as text. Pictures are PNG.

    Raises:
        ImportError: Jinja2 is missing; names the command that installs it.
    """
    try:
        import jinja2
    except ImportError:
        raise ImportError("A contact sheet needs Jinja2: pip install 'infeed[report]'") from None
    page = jinja2.Environment(
        autoescape=True,
        # Of every value that enters the page, before it is escaped.
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).from_string(files(__package__).joinpath(TEMPLATE).read_text("utf-8"))
    pictures = [_data_uri(image, color_mode) for image in images]
    _, height, width, _ = images.shape
    return page.render(
        title=title,
        facts=facts,
        classes=_class_counts(rows),
        cards=list(zip(rows, pictures, strict=True)),
        height=height,
        width=width,
    )


def _class_counts(rows: Sequence[BatchRow]) -> list[tuple[str, int]]:
    """(class name, rows of it that count), the largest class first."""
    counts = Counter(
        (row.label, row.label_name) for row in rows if row.label is not None and row.weight
    )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0][0]))
    return [(str(name), count) for (_, name), count in ordered]


def _data_uri(image: np.ndarray, color_mode: ColorMode) -> str:
    # OpenCV takes blue first.
    if color_mode == "rgb":
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    elif color_mode == "rgba":
        image = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA)
    done, png = cv2.imencode(".png", image)
    assert done
    return "data:image/png;base64," + b64encode(png.tobytes()).decode("ascii")
