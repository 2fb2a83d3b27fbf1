-- Which sources there are is package event's to say. SQLite can't drop a CHECK,
-- but it is in the table's text alone: the rows stay as they are, so that this
-- takes no room on the disk, however many they are.

PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, ' CHECK (source IN (''logscan'', ''system''))', '') WHERE type = 'table' AND name = 'event_log';
PRAGMA writable_schema = RESET;
