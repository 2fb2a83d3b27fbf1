-- Incidents: what hits that are the same trouble are folded into; and what people
-- are told of them. What is looked for stands in columns, all else is package
-- incident's.

CREATE TABLE incidents (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    rule_id   INTEGER NOT NULL, -- 0 for what logscan says about itself
    workload  TEXT    NOT NULL,
    by_values TEXT    NOT NULL,
    shape     TEXT    NOT NULL,
    rule      TEXT    NOT NULL,
    severity  TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    first_at  INTEGER NOT NULL, -- by the lines' time, as are the next three
    last_at   INTEGER NOT NULL,
    ended_at  INTEGER NOT NULL, -- 0: it isn't resolved
    due_at    INTEGER NOT NULL, -- when time alone may change it; 0 for never
    data      TEXT    NOT NULL
);
CREATE UNIQUE INDEX incidents_open ON incidents (rule_id, workload, by_values, shape) WHERE state <> 'resolved';
CREATE INDEX incidents_ended ON incidents (rule_id, workload, by_values, shape, ended_at) WHERE state = 'resolved';
CREATE INDEX incidents_due ON incidents (due_at) WHERE due_at > 0;
CREATE INDEX incidents_state ON incidents (state, id);

ALTER TABLE event_log ADD COLUMN incident_id INTEGER; -- NULL for none
CREATE INDEX event_log_incident ON event_log (incident_id, id) WHERE incident_id IS NOT NULL;

CREATE TABLE notices (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    incident_id INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    kind        TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    severity    TEXT    NOT NULL,
    matches     INTEGER NOT NULL, -- by then
    at          INTEGER NOT NULL, -- by the lines' time
    created_at  INTEGER NOT NULL,
    silenced_by INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX notices_incident ON notices (incident_id, id);
CREATE INDEX notices_silenced ON notices (silenced_by, id) WHERE silenced_by <> 0;

CREATE TABLE silences (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    ends_at    INTEGER NOT NULL,
    told       INTEGER NOT NULL DEFAULT 0, -- up to which notice a receipt has told of what it held back
    definition TEXT    NOT NULL            -- package silence's, in JSON
);

-- Notices that a trigger holds back, until when, and why.
CREATE TABLE held (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    trigger_id INTEGER NOT NULL REFERENCES triggers (id) ON DELETE CASCADE,
    group_key  TEXT    NOT NULL,
    notice_id  INTEGER NOT NULL REFERENCES notices (id) ON DELETE CASCADE,
    why        TEXT    NOT NULL,
    due_at     INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX held_group ON held (trigger_id, group_key, seq);
CREATE INDEX held_due ON held (due_at);
CREATE INDEX held_notice ON held (notice_id);

-- When a trigger last told of a group, and how bad that was.
CREATE TABLE groups (
    trigger_id INTEGER NOT NULL REFERENCES triggers (id) ON DELETE CASCADE,
    group_key  TEXT    NOT NULL,
    told_at    INTEGER NOT NULL,
    severity   TEXT    NOT NULL,
    PRIMARY KEY (trigger_id, group_key)
) WITHOUT ROWID;

-- A delivery carries an event, or a message about incidents (package channel's, in
-- JSON). SQLite can't drop a NOT NULL, but it is in the table's text alone.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'event_id    INTEGER NOT NULL REFERENCES', 'event_id    INTEGER REFERENCES') WHERE type = 'table' AND name = 'deliveries';
PRAGMA writable_schema = RESET;
ALTER TABLE deliveries ADD COLUMN message TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN incident_id INTEGER NOT NULL DEFAULT 0; -- the message's first
ALTER TABLE deliveries ADD COLUMN about_dead INTEGER NOT NULL DEFAULT 0;  -- it reports dead deliveries
CREATE INDEX deliveries_messages ON deliveries (trigger_id, created_at) WHERE message <> '';

-- By what receivers tell this installation's incidents from others'.
CREATE TABLE installation (id TEXT NOT NULL);
INSERT INTO installation VALUES (lower(hex(randomblob(8))));

-- Links of messages that were used: each is good for once.
CREATE TABLE used_actions (
    token TEXT PRIMARY KEY,
    until INTEGER NOT NULL -- the link itself is no longer good then
) WITHOUT ROWID;
