-- Times are Unix nanoseconds, 0 for none. AUTOINCREMENT: an id is never used
-- again, also after its row is gone; clients keep ids as positions.

CREATE TABLE rules (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL,
    description  TEXT    NOT NULL,
    pattern      TEXT    NOT NULL,
    severity     TEXT    NOT NULL,
    streams      TEXT    NOT NULL,
    cooldown     INTEGER NOT NULL, -- nanoseconds
    enabled      INTEGER NOT NULL,
    workload_id  TEXT    NOT NULL, -- '' = global
    overrides_id INTEGER REFERENCES rules (id) ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
);
CREATE UNIQUE INDEX rules_override ON rules (overrides_id, workload_id) WHERE overrides_id IS NOT NULL;

CREATE TABLE triggers (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL,
    enabled       INTEGER NOT NULL,
    severities    TEXT    NOT NULL,
    sources       TEXT    NOT NULL,
    message_regex TEXT    NOT NULL,
    action_url    TEXT    NOT NULL,
    action_secret TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);

CREATE TABLE event_log (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    source         TEXT    NOT NULL CHECK (source IN ('logscan', 'system')),
    severity       TEXT    NOT NULL,
    message        TEXT    NOT NULL,
    metadata       TEXT    NOT NULL, -- a JSON object
    created_at     INTEGER NOT NULL,
    workload_id    TEXT GENERATED ALWAYS AS (metadata ->> '$.workload_id') VIRTUAL,
    container_id   TEXT GENERATED ALWAYS AS (metadata ->> '$.container_id') VIRTUAL,
    container_name TEXT GENERATED ALWAYS AS (metadata ->> '$.container_name') VIRTUAL,
    rule_name      TEXT GENERATED ALWAYS AS (metadata ->> '$.rule_name') VIRTUAL
);
CREATE INDEX event_log_created ON event_log (created_at);
CREATE INDEX event_log_workload ON event_log (workload_id, id);
CREATE INDEX event_log_rule ON event_log (rule_name, id);

CREATE TABLE cursors (
    container_id TEXT PRIMARY KEY,
    position     BLOB NOT NULL,
    state        BLOB NOT NULL,
    updated_at   INTEGER NOT NULL
);

-- The outbox. seq is the order in which a trigger's deliveries are sent.
CREATE TABLE deliveries (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    event_id    INTEGER NOT NULL REFERENCES event_log (id) ON DELETE CASCADE,
    trigger_id  INTEGER NOT NULL REFERENCES triggers (id) ON DELETE CASCADE,
    state       TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    next_at     INTEGER NOT NULL,
    since       INTEGER NOT NULL,           -- its time to be delivered runs from here
    overtaken   INTEGER NOT NULL DEFAULT 0, -- later ones got through: it holds nobody up
    reported    INTEGER NOT NULL DEFAULT 0, -- dead, and an event says so, or none shall
    last_status INTEGER NOT NULL DEFAULT 0,
    last_error  TEXT    NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL
);
CREATE INDEX deliveries_pending ON deliveries (trigger_id, seq) WHERE state = 'pending';
CREATE INDEX deliveries_unreported ON deliveries (trigger_id) WHERE state = 'dead' AND reported = 0;
CREATE INDEX deliveries_state ON deliveries (state, seq);
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_trigger ON deliveries (trigger_id);
