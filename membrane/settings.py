"""Where data lives and what was chosen: file, then environment, then option, the last one wins."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the folder of all that is kept: ``MEMBRANE_HOME``, or the user's data folder."""
    chosen = os.environ.get("MEMBRANE_HOME")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("membrane", appauthor=False)


def models_folder() -> Path:
    """Return the folder of fetched models."""
    return home() / "models"
