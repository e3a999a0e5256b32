"""Every metric there is, declared once. ``docs/metrics.md``, the dashboards and the alert rules are checked against this file.

Labels come from closed sets; ``project`` is always one of them. Never an offset, an event id, an annotator or a path.
"""

from __future__ import annotations

from tiebreak.contracts.errors import DeadReason
from tiebreak.contracts.messages import LabelMethod
from tiebreak.runtime.catalogue_models import DEPLOYMENT, TRAINING
from tiebreak.runtime.metric import Metric

EVENTS = (
    Metric(
        "tiebreak_events_consumed_total",
        "counter",
        "Records handed out by the log.",
        "Flat with lag: the stage is stuck or its model is slow; see docs/failures.md.",
        ("stage",),
    ),
    Metric(
        "tiebreak_events_dead_total",
        "counter",
        "Records set aside on `dead`, by reason.",
        "Read them with `tiebreak dead`; one reason rising means a producer changed its format.",
        ("stage", "reason"),
        known={"reason": tuple(DeadReason)},
    ),
    Metric("tiebreak_events_lag_records", "gauge", "Records not yet committed.", "Rising: add a replica.", ("stage",)),
    Metric(
        "tiebreak_events_published_total",
        "counter",
        "Records published and acknowledged.",
        "Flat while records are consumed: the broker refuses writes.",
        ("stage",),
    ),
    Metric(
        "tiebreak_events_handle_seconds",
        "histogram",
        "Time to decide one batch.",
        "Rising: smaller batches, or a faster model.",
        ("stage",),
    ),
    Metric(
        "tiebreak_events_publish_seconds",
        "histogram",
        "Time until every record of one batch was acknowledged.",
        "Rising: look at the broker's disks and replicas.",
        ("stage",),
    ),
    Metric(
        "tiebreak_events_paused",
        "gauge",
        "1 while the stage asked to slow down.",
        "Long at 1: what it waits for is down.",
        ("stage",),
    ),
    Metric(
        "tiebreak_events_rewinds_total",
        "counter",
        "Times the stage went back to its last commit.",
        "Repeated: the log names the cause, mostly an unreachable broker.",
        ("stage",),
    ),
    Metric(
        "tiebreak_events_rebalances_total",
        "counter",
        "Times partitions were taken away from this replica.",
        "Repeated without deployments: a replica dies, or a batch takes longer than the rebalance timeout.",
        ("stage",),
    ),
)

RUNTIME = (
    Metric(
        "tiebreak_runtime_audit_faults",
        "gauge",
        "Faults of the audit trail that nobody has accepted: records `missing` before one that is there, or `put_in` and no link.",
        "Above 0: `tiebreak audit verify` names each. Who may write topic `audit`? `tiebreak audit accept` once you know what it was.",
        ("kind",),
    ),
    Metric(
        "tiebreak_runtime_retention_horizon_seconds",
        "gauge",
        "Unix time before which everything of a kind was ordered away (`privacy.retention`), as this process put it on the trail.",
        "Standing still for more than an eighth of the days: no process can write `audit`; look for `retention_postponed`.",
        ("what",),
    ),
    Metric(
        "tiebreak_runtime_ready_ratio",
        "gauge",
        "1 while the process answered its last readiness probe with yes, else 0.",
        "Ask `/health/ready`: it names the check that is not well.",
    ),
)

SCORING = (
    Metric(
        "tiebreak_scoring_batch_rows",
        "histogram",
        "Events per run of the model.",
        "Small while lag grows: the log hands out too little at a time (fetch sizes).",
        buckets=(1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536),
    ),
    Metric(
        "tiebreak_scoring_model_seconds",
        "histogram",
        "One run of the model over one batch.",
        "Rising: a heavier model was promoted, or the machine is short of cores.",
    ),
    Metric(
        "tiebreak_scoring_replayed_total",
        "counter",
        "Events that came again with the same id and bytes: predicted again, never selected again.",
        "Steady growth: a producer retries without idempotence, or two producers send the same.",
    ),
    Metric(
        "tiebreak_scoring_swaps_total",
        "counter",
        "Model changes by outcome: `swapped`, `resident` (back to the model kept in memory), `refused`, `missing`.",
        "`refused`: read the reason in the log; the model before it goes on serving. `missing`: is the model store mounted?",
        ("outcome",),
        known={"outcome": ("swapped", "resident", "refused", "missing")},
    ),
    Metric(
        "tiebreak_scoring_swap_seconds",
        "histogram",
        "From the first byte of a new model to the batch that uses it: verified, checked in a child, loaded, warmed.",
        "Rising: the model grew. Events are scored by the model before it meanwhile.",
    ),
    Metric(
        "tiebreak_scoring_withheld_total",
        "counter",
        "Payloads that people get nothing of, only a word about why, since masking cannot search them: "
        "`picture`, `too_long`, `crowded`, `too_slow`, `ner_failed`.",
        "People skip these tasks. `picture`, `too_long`: send people less, or no picture. `crowded`: it is mostly personal data. "
        "`too_slow`: a pattern of yours backtracks. `ner_failed`: the stream's log names the kind of error. See docs/privacy.md.",
        ("reason",),
    ),
    Metric(
        "tiebreak_scoring_model_loaded_ratio",
        "gauge",
        "1 while a model serves, 0 at cold start.",
        "0 for long: does the trainer have `training.min_labels` labels?",
    ),
)

LABELING = (
    Metric(
        "tiebreak_labeling_tasks_added_total",
        "counter",
        "Tasks put on the queue.",
        "Flat while events are selected: is the intake alive, does `tasks` grow?",
    ),
    Metric(
        "tiebreak_labeling_claims_total",
        "counter",
        "Claims by outcome: `leased`, or why there was nothing.",
        "`all_leased` or `none_for_you` rising: more people than work; `no_tasks`: the budget or the threshold is tight.",
        ("outcome",),
    ),
    Metric(
        "tiebreak_labeling_answers_total",
        "counter",
        "Answers accepted over HTTP by act: `vote`, `skip`, `undo`, `withdraw`.",
        "Many skips: the question or the guidelines are unclear.",
        ("act",),
        known={"act": ("vote", "skip", "undo", "withdraw")},
    ),
    Metric(
        "tiebreak_labeling_refusals_total",
        "counter",
        "Requests refused with 409, by reason.",
        "`stale_lease` rising: leases are too short for the work. `not_in_review`: ask only where `in_review` is true.",
        ("reason",),
    ),
    Metric(
        "tiebreak_labeling_annotations_total",
        "counter",
        "Annotations folded, by state and by what the queue knew of them.",
        "`unknown` at all: tasks were lost or come from elsewhere. `duplicate`: replays, harmless.",
        ("state", "outcome"),
    ),
    Metric(
        "tiebreak_labeling_labels_total",
        "counter",
        "Labels decided, by method (`withdrawn`: taken back).",
        "Flat while answers come in: is the settler alive, do people disagree?",
        ("method",),
        known={"method": (*LabelMethod, "withdrawn")},
    ),
    Metric(
        "tiebreak_labeling_agreement_total",
        "counter",
        "First labels of tasks: `agreed` (nobody objected) or `disputed`.",
        "More `disputed`: look at the guidelines, or at a class that is hard to tell.",
        ("outcome",),
        known={"outcome": ("agreed", "disputed")},
    ),
    Metric(
        "tiebreak_labeling_label_latency_seconds",
        "histogram",
        "From the task to its label.",
        "Rising: more tasks than people can answer; lower the budget or ask for help.",
        buckets=(1, 2, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400, 604_800),
    ),
    Metric(
        "tiebreak_labeling_work_seconds",
        "histogram",
        "From the claim to the answer of one person.",
        "Rising: harder tasks, or tired people.",
        buckets=(0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 900),
    ),
    Metric(
        "tiebreak_labeling_request_seconds",
        "histogram",
        "An answer, or a claim that got a task at once, from its arrival to its reply.",
        "Rising for both: look at Redis. For `submit` alone: the log acknowledges slowly.",
        labels=("request",),
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    ),
    Metric(
        "tiebreak_labeling_open_tasks",
        "gauge",
        "Tasks not yet settled or expired.",
        "At `budget.max_open_tasks`: sampling waits for people.",
    ),
    Metric("tiebreak_labeling_leased_tasks", "gauge", "Tasks in somebody's hands.", "0 with open tasks: nobody works."),
    Metric(
        "tiebreak_labeling_review_tasks",
        "gauge",
        "Disputed tasks that wait for a reviewer.",
        "Rising: give somebody the reviewer's role.",
    ),
    Metric(
        "tiebreak_labeling_leases_expired_total",
        "counter",
        "Leases that ended without an answer.",
        "Rising: people walk off, or `labeling.lease_s` is too short.",
    ),
    Metric(
        "tiebreak_labeling_tasks_withdrawn_total",
        "counter",
        "Waiting tasks taken back, since a newly promoted model decides them.",
        "A large part of what is added: people are too slow for the model, or `labeling.decided_below` is too high.",
    ),
    Metric(
        "tiebreak_labeling_tasks_expired_total",
        "counter",
        "Tasks nobody answered in `labeling.task_ttl_s`.",
        "Rising: the budget is larger than what people can answer.",
    ),
    Metric(
        "tiebreak_labeling_rebuilds_total",
        "counter",
        "Times the queue was built again from the topics (once for a new project).",
        "More than once: Redis lost its data; look at its persistence.",
    ),
    Metric(
        "tiebreak_labeling_rebuild_left_records",
        "gauge",
        "Records of the topics that are still to be read until the queue is whole again.",
        "Above 0: people are told to come back; nothing is lost. How fast it falls says how long it takes.",
    ),
    Metric(
        "tiebreak_labeling_leases_dropped_total",
        "counter",
        "Leases that could not be put back into a queue that was built again: their tasks are given to others.",
        "Above 0: `leases_not_put_back` in the log says what Redis answered; the people's answers come late or get 404.",
    ),
    Metric(
        "tiebreak_labeling_retention_removed_total",
        "counter",
        "What was too old (`privacy.retention`) and left the queue: tasks with content, and lines of people's histories.",
        "Tasks rising: they wait longer than they are kept; ask for more people, a smaller budget, or more days.",
        ("what",),
    ),
    Metric(
        "tiebreak_labeling_gold_accuracy_ratio",
        "gauge",
        "Share of right answers to gold (tasks whose answer is known), all people together.",
        "Falling: look at `GET /v1/projects/{p}/crowd` for whom, then at the guidelines.",
    ),
    Metric(
        "tiebreak_labeling_alpha_ratio",
        "gauge",
        "Krippendorff's alpha of the newest tasks with several answers: 1 perfect, 0 chance.",
        "Below 0.6: the question is ambiguous, or somebody answers at random.",
    ),
    Metric(
        "tiebreak_labeling_cost_per_label",
        "gauge",
        "Money spent on answers per label that stands, in the unit of `labeling.cost_per_answer`.",
        "Rising: more answers per label; look at disagreement, gold and withdrawn labels.",
    ),
    Metric(
        "tiebreak_labeling_paused_people",
        "gauge",
        "People who get no new tasks because of their answers to gold.",
        "Above zero: talk to them; a manager lets them go on.",
    ),
)

SAMPLING = (
    Metric(
        "tiebreak_sampling_selected_total",
        "counter",
        "Events that became tasks, by reason.",
        "Flat with events coming in: the budget is spent or the queue is full.",
        ("reason",),
    ),
    Metric(
        "tiebreak_sampling_refused_total",
        "counter",
        "Events worth a label that the shared budget refused.",
        "Rising: people answer fewer tasks than `budget.labels_per_hour` says.",
    ),
    Metric(
        "tiebreak_sampling_malformed_rows_total",
        "counter",
        "Scored rows that are no probabilities (NaN, wrong sum): only the audit slice asks about them.",
        "Above zero: look at the model's output and at `model.output_kind`.",
    ),
    Metric(
        "tiebreak_sampling_share_ratio",
        "gauge",
        "The share of events that sampling aims to ask about now.",
        "Below `sampling.target_share`: the budget's rate binds, or others use it.",
    ),
    Metric(
        "tiebreak_sampling_uncertainty_ratio",
        "gauge",
        "Mean uncertainty of the last batch.",
        "Rising: the stream moves away from what the model knows.",
    ),
    Metric(
        "tiebreak_sampling_open_tasks",
        "gauge",
        "Tasks waiting for people, as the budget saw them.",
        "At `budget.max_open_tasks`: sampling waits for people.",
    ),
    Metric(
        "tiebreak_sampling_drift_total",
        "counter",
        "Times a detector fired on a signal: a warning alone, an alarm when enough of them agree.",
        "Alarms: look at the topic `drift` and at what changed upstream.",
        ("event", "detector", "signal"),
    ),
    Metric(
        "tiebreak_sampling_bursts_total",
        "counter",
        "Bursts of extra labels that drift opened.",
        "Several a day: raise `drift.votes` or `drift.burst.cooldown_events`.",
    ),
    Metric(
        "tiebreak_sampling_bursts_ended_total",
        "counter",
        "Bursts that ended: the error since the alarm is `known`, the `labels` or the `time` are spent, or another `replaced` it.",
        "Never `known`: raise `drift.burst.labels`, or `drift.burst.known_to`. Mostly `time`: nobody answers, or the budget refuses.",
        ("ended",),
    ),
    Metric(
        "tiebreak_sampling_decide_seconds",
        "histogram",
        "Time to appraise a batch and choose from it, the budget's round trip left out.",
        "Rising: smaller embeddings, a shorter `sampling.window` or fewer detectors.",
    ),
    Metric(
        "tiebreak_sampling_snapshot_failures_total",
        "counter",
        "Snapshots of the sampler that could not be loaded or saved.",
        "Rising: Redis does not answer; a restarted sampler then warms up anew.",
        ("operation",),
    ),
)

CATALOGUE: tuple[Metric, ...] = (
    *SAMPLING,
    *EVENTS,
    *SCORING,
    *RUNTIME,
    *TRAINING,
    *DEPLOYMENT,
    *LABELING,
)
