-- What is known of the matches of rules whose hits depend on more than a line, in the
-- form of package correlate; rule 0 is what it knows besides.

CREATE TABLE correlated (
    rule_id INTEGER NOT NULL,
    scope   TEXT    NOT NULL,
    by_text TEXT    NOT NULL,
    data    BLOB    NOT NULL,
    PRIMARY KEY (rule_id, scope, by_text)
) WITHOUT ROWID;

-- How often the table above was written: a commit that is repeated isn't made twice.
CREATE TABLE correlated_revision (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
);
INSERT INTO correlated_revision VALUES (1, 0);
