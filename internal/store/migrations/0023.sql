-- Who manages what is said: 'api', or a file, a container's labels, a pack or a fleet,
-- and what it is called there and where. Only there is it changed and removed.
ALTER TABLE rules ADD COLUMN managed_by TEXT NOT NULL DEFAULT 'api';
ALTER TABLE rules ADD COLUMN key TEXT NOT NULL DEFAULT '';
ALTER TABLE rules ADD COLUMN declared_at TEXT NOT NULL DEFAULT '';
ALTER TABLE rules ADD COLUMN tests TEXT NOT NULL DEFAULT ''; -- as package config has them in JSON
ALTER TABLE triggers ADD COLUMN managed_by TEXT NOT NULL DEFAULT 'api';
ALTER TABLE triggers ADD COLUMN key TEXT NOT NULL DEFAULT '';
ALTER TABLE triggers ADD COLUMN declared_at TEXT NOT NULL DEFAULT '';
ALTER TABLE triggers ADD COLUMN sealed BLOB NOT NULL DEFAULT x''; -- what references in its definition stand for
ALTER TABLE silences ADD COLUMN managed_by TEXT NOT NULL DEFAULT 'api';
ALTER TABLE silences ADD COLUMN key TEXT NOT NULL DEFAULT '';
ALTER TABLE silences ADD COLUMN declared_at TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX rules_key ON rules (managed_by, key) WHERE managed_by <> 'api';
CREATE UNIQUE INDEX triggers_key ON triggers (managed_by, key) WHERE managed_by <> 'api';
CREATE UNIQUE INDEX silences_key ON silences (managed_by, key) WHERE managed_by <> 'api';

-- The changes of rules, triggers and silences, the latest ones.
CREATE TABLE config_changes (
    revision   INTEGER PRIMARY KEY AUTOINCREMENT,
    changed_at INTEGER NOT NULL,
    kind       TEXT    NOT NULL, -- rule, trigger or silence
    object_id  INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    action     TEXT    NOT NULL, -- added, changed or removed
    changed_by TEXT    NOT NULL -- as managed_by
);

-- What was applied last of a source.
CREATE TABLE config_sources (
    source     TEXT    PRIMARY KEY, -- as managed_by
    digest     TEXT    NOT NULL,    -- of its content
    applied_at INTEGER NOT NULL
) WITHOUT ROWID;
