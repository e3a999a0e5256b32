"""The tables of a ledger: the first format, and what came after it and changes none of them."""

from __future__ import annotations

APPLICATION_ID = 0x7B4EA4
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE labels (
  sequence INTEGER PRIMARY KEY,
  label_id TEXT NOT NULL, revision INTEGER NOT NULL,
  value TEXT NOT NULL, audit INTEGER NOT NULL, withdrawn INTEGER NOT NULL, settled_ms INTEGER NOT NULL,
  topic TEXT NOT NULL, part INTEGER NOT NULL, position INTEGER NOT NULL,
  wire BLOB NOT NULL,
  UNIQUE (label_id, revision)
);
CREATE TABLE aside (
  topic TEXT NOT NULL, part INTEGER NOT NULL, position INTEGER NOT NULL,
  reason TEXT NOT NULL, detail TEXT NOT NULL, wire BLOB NOT NULL,
  PRIMARY KEY (topic, part, position)
);
CREATE TABLE positions (topic TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, part));
CREATE TABLE steps (
  step INTEGER PRIMARY KEY,
  dataset_version INTEGER NOT NULL, digest TEXT NOT NULL, trained INTEGER NOT NULL, audited INTEGER NOT NULL
);
CREATE TABLE weights (only INTEGER PRIMARY KEY CHECK (only = 1), digest TEXT NOT NULL, state BLOB NOT NULL, replay TEXT NOT NULL);
"""

# Came after the first format and changes none of its tables: it is made where it is missing.
RETRACTIONS = """
CREATE TABLE IF NOT EXISTS retractions (
  sequence INTEGER PRIMARY KEY, annotator TEXT NOT NULL UNIQUE, by TEXT NOT NULL, reason TEXT NOT NULL, time_ms INTEGER NOT NULL
)"""

# Whose labels were erased, by a key that does not name them.
ERASURES = """
CREATE TABLE IF NOT EXISTS erasures (
  sequence INTEGER PRIMARY KEY, subject TEXT NOT NULL UNIQUE, by TEXT NOT NULL, reason TEXT NOT NULL, time_ms INTEGER NOT NULL
)"""
# The newest standing labels of a kind are found without reading the others.
BY_TIME = "CREATE INDEX IF NOT EXISTS labels_by_time ON labels (audit, settled_ms, label_id) WHERE withdrawn = 0"
