"""Tiebreak: real-time active learning on streams.

A folder is a stage of the loop: ``events`` -> ``scoring`` -> ``sampling`` -> ``labeling`` ->
``training`` -> ``deployment`` -> back into ``scoring``. What passes between them is in ``contracts``.
"""

__version__ = "0.1.0"
