-- Rules of which it is still to be found out what they would have told of the lines since a
-- time, in nanoseconds, up to those that they are evaluated on.
CREATE TABLE rule_histories (
    rule_id INTEGER PRIMARY KEY REFERENCES rules (id) ON DELETE CASCADE,
    since   INTEGER NOT NULL
);
