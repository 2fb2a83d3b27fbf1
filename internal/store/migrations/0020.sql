-- The last lines of runs of containers. A run is known by its number in its log; one of
-- which no lines are kept says that it was looked at. lines are compressed JSON, and size
-- is how long they are.
CREATE TABLE last_words (
    container_id TEXT    NOT NULL,
    run          INTEGER NOT NULL,
    size         INTEGER NOT NULL,
    lines        BLOB    NOT NULL,
    PRIMARY KEY (container_id, run)
) WITHOUT ROWID;
CREATE INDEX last_words_size ON last_words (run, size) WHERE size > 0;
