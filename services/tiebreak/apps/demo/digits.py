"""scikit-learn's 1,797 handwritten digits (UCI optical recognition, test part; CC BY 4.0), from its wheel."""

from __future__ import annotations

import numpy as np

from tiebreak.apps.demo.extras import extra
from tiebreak.apps.demo.world import World, WorldSettings, build_world


def digits_world(settings: WorldSettings) -> World:
    """The demo's world. Raises ConfigError when scikit-learn is not installed."""
    data = extra("sklearn.datasets").load_digits()
    images = (np.asarray(data.images) / 16.0).astype(np.float32)
    return build_world(images, np.asarray(data.target, np.int64), settings)
