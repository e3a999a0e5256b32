"""What every part of the project file is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of the project file: unknown keys are refused, nothing changes after loading.

    The text below a key is its description in the JSON Schema, which editors show: ``scripts/schemas.py`` wants one of each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
