"""The metrics of training and deployment: a part of the catalogue."""

from __future__ import annotations

from tiebreak.runtime.metric import Metric

TRAINING = (
    Metric(
        "tiebreak_training_labels_total",
        "counter",
        "Labels taken into the ledger: `train`, `audit` (never trained) or `withdrawn`.",
        "Flat while annotators work: is the trainer alive, does `labels` grow?",
        ("use",),
    ),
    Metric(
        "tiebreak_training_aside_total",
        "counter",
        "Labels kept aside instead of learned from, by reason.",
        "Fix the project file (a missing class, an old schema) and restart the trainer: they are taken in then.",
        ("reason",),
    ),
    Metric(
        "tiebreak_training_step_seconds",
        "histogram",
        "One training step: fit, evaluation, export and the ledger's transaction.",
        "Rising with the number of labels: lower `training.refit_below` or `training.committee`.",
    ),
    Metric(
        "tiebreak_training_steps_total",
        "counter",
        "Training steps by outcome: `candidate`, `gathered` (too few labels to fit), `retried` (disk or broker refused).",
        "`retried` rising: look at the disk and the broker.",
        ("outcome",),
        known={"outcome": ("candidate", "gathered", "retried")},
    ),
    Metric(
        "tiebreak_training_dataset_version",
        "gauge",
        "The newest version of the data set: one more per revision of a label, and per order that took labels back.",
        "Still while people answer: look at the trainer. Lower after a rebuild only where docs/training.md says so.",
    ),
    Metric(
        "tiebreak_training_accuracy_ratio",
        "gauge",
        "Accuracy of the newest candidate: on `audit` labels, and on training labels `left_out` by the bootstrap.",
        "Falling: look at drift, at label quality, at what changed in the classes.",
        ("evidence",),
    ),
    Metric(
        "tiebreak_training_entropy_nats",
        "gauge",
        "Mean entropy on audit labels: `champion` (before) and `challenger` (after).",
        "It should fall while the model learns, and jump when the world changes.",
        ("model",),
    ),
    Metric(
        "tiebreak_training_nll_nats",
        "gauge",
        "Mean negative log-likelihood of audit labels: `champion` (before) and `challenger` (after).",
        "Unlike entropy it cannot be bought with false confidence: rising while entropy falls means overconfident.",
        ("model",),
    ),
)

DEPLOYMENT = (
    Metric(
        "tiebreak_deployment_verdicts_total",
        "counter",
        "Verdicts on models: `promote`, `hold`, `roll_back`.",
        "Only `hold` for long: read the reasons with `tiebreak models list`.",
        ("verdict",),
        known={"verdict": ("promote", "hold", "roll_back")},
    ),
    Metric(
        "tiebreak_deployment_gate_seconds",
        "histogram",
        "One candidate through the gate, the sandboxed check included.",
        "Rising: the model grows, or the machine is short of CPU.",
    ),
    Metric(
        "tiebreak_deployment_retrain_success_ratio",
        "gauge",
        "Of all models judged so far, the share that came to serve.",
        "Falling: steps cost and bring nothing. `tiebreak models list` says why; a larger `training.step_s` brings fewer.",
    ),
    Metric(
        "tiebreak_deployment_regret_ratio",
        "gauge",
        "Of all models that came to serve so far, the share that was taken back, by itself or by people.",
        "Rising: the gate lets too much through. Raise `gate.young_labels` or `sampling.audit_share`, or set `gate.rollout: canary`.",
    ),
    Metric(
        "tiebreak_deployment_promoted_nll_nats",
        "gauge",
        "Mean negative log-likelihood of audit labels, never trained on, of the newest promoted model when it was judged.",
        "Rising from model to model: the stream gets harder or the labels worse; compare with `tiebreak runs list`.",
    ),
    Metric(
        "tiebreak_deployment_promoted_entropy_drop_ratio",
        "gauge",
        "By which share the newest promoted model has less mean entropy on audit labels than the one before it; below 0 it has more.",
        "Near 0 for long: labels teach nothing new; spend fewer. Above 0 while the NLL rises: overconfident.",
    ),
)
