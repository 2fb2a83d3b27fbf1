-- What is said about a rule is one JSON object (package rule's Fields), so that a
-- new field needs no column. What it says about other rules stays in columns too:
-- the foreign key and the unique index look after it.

ALTER TABLE rules ADD COLUMN definition TEXT NOT NULL DEFAULT '{}';
UPDATE rules SET definition = json_object(
    'version', 1, 'name', name, 'description', description, 'pattern', pattern, 'severity', severity, 'streams', streams,
    'cooldown_seconds', cooldown / 1000000000, 'enabled', json(iif(enabled, 'true', 'false')),
    'workload_id', workload_id, 'overrides_id', coalesce(overrides_id, 0));
ALTER TABLE rules DROP COLUMN name;
ALTER TABLE rules DROP COLUMN description;
ALTER TABLE rules DROP COLUMN pattern;
ALTER TABLE rules DROP COLUMN severity;
ALTER TABLE rules DROP COLUMN streams;
ALTER TABLE rules DROP COLUMN cooldown;
ALTER TABLE rules DROP COLUMN enabled;
