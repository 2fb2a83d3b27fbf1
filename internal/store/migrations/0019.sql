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
