-- The lines around what an event is about. Those that are owed are still to be read, or
-- some of them; around says which, as JSON. lines are compressed JSON, and size is how
-- long they are.
CREATE TABLE event_context (
    event_id INTEGER PRIMARY KEY REFERENCES event_log (id) ON DELETE CASCADE,
    owed     INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    around   TEXT    NOT NULL,
    lines    BLOB    NOT NULL
);
CREATE INDEX event_context_owed ON event_context (event_id) WHERE owed = 1;
CREATE INDEX event_context_size ON event_context (event_id, size);

-- What a delivery waits for before its first attempt, until next_at at the most: the
-- context of this event; -1 for those before it that wait; 0 for nothing.
ALTER TABLE deliveries ADD COLUMN awaits INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deliveries_awaiting ON deliveries (trigger_id, seq) WHERE awaits <> 0 AND state = 'pending';
CREATE INDEX deliveries_awaits ON deliveries (awaits) WHERE awaits > 0 AND state = 'pending';
