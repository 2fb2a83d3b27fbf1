-- Rules of which it is still to be found out what they would have told of the lines since a
-- time, in nanoseconds, up to those that they are evaluated on.
CREATE TABLE rule_histories (
    rule_id INTEGER PRIMARY KEY REFERENCES rules (id) ON DELETE CASCADE,
    since   INTEGER NOT NULL
);

-- From where on, in the log of a container, lines are evaluated by such a rule.
CREATE TABLE rule_begins (
    rule_id      INTEGER NOT NULL REFERENCES rule_histories (rule_id) ON DELETE CASCADE,
    container_id TEXT    NOT NULL,
    begins       INTEGER NOT NULL,
    PRIMARY KEY (rule_id, container_id)
) WITHOUT ROWID;
