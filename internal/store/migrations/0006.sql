-- Tokens of the API over TCP. They are long and random: a plain hash is enough.

CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    scope      TEXT    NOT NULL,
    hash       BLOB    NOT NULL UNIQUE, -- SHA-256
    created_at INTEGER NOT NULL
);
