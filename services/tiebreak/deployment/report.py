"""An evaluation as the JSON of a model record's ``report``: figures a person or a page can read. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict

from tiebreak.contracts.candidate import Candidate, Paired


def report_of(candidate: Candidate) -> str:
    """Canonical JSON. Label by label evidence stays out: the counts of it are in."""
    e = candidate.evaluation
    r = e.reference
    said = {
        "weights": candidate.digest,
        "champion": e.champion,
        "accuracy": asdict(e.accuracy),
        "left_out_accuracy": asdict(e.left_out_accuracy),
        "champion_accuracy": asdict(e.champion_accuracy) if e.champion_accuracy else None,
        "per_class": {name: asdict(interval) for name, interval in e.per_class.items()},
        "audit": _counts(e.audit),
        "left_out": _counts(e.left_out),
        "reference": {"version": r.version, "audit": _counts(r.audit), "left_out": _counts(r.left_out)} if r else None,
        "metrics": e.metrics,
        **({"measure": e.measure} if e.measure else {}),
    }
    return json.dumps(said, sort_keys=True, ensure_ascii=False)


def _counts(pairs: Paired) -> dict[str, float]:
    rows = list(zip(pairs.champion, pairs.challenger, strict=True))
    return {
        "labels": len(rows),
        "champion_right": sum(a for a, _ in rows),
        "challenger_right": sum(b for _, b in rows),
        "better": sum(1 for a, b in rows if b > a),
        "worse": sum(1 for a, b in rows if b < a),
    }
