"""What a config may set, under `params:`."""

from pydantic import Field

from mien.config import Schema


class Params(Schema):
    """The section `params` of a config."""

    cells: int = Field(default=4, ge=1, le=64)
    """A picture is reduced to this many cells across and down."""
    epochs: int = Field(default=200, ge=1)
    lr: float = Field(default=1.0, gt=0)
