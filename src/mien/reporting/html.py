"""Pages for people: HTML that needs no network, no script and no other file; only user of jinja2.

`base.html` holds the style and the macros that all pages share. Values are escaped.
"""

import io
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from mien.images import Pixels

_BASE = Path(__file__).with_name("base.html")
_QUALITY = 75


def render(template: Path, values: Mapping[str, Any]) -> str:
    """Fill a template, which extends `base.html`, with values and functions."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, _BASE.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)


def thumbnail(pixels: Pixels, side: int) -> str:
    """A JPEG in base64 whose longer side has at most `side` pixels."""
    small = Image.fromarray(pixels)
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_QUALITY)
    return b64encode(out.getvalue()).decode()
