-- What is said about a trigger is one JSON object (package trigger's Fields), as of a
-- rule. Triggers that there are tell each event by itself, as before.

ALTER TABLE triggers ADD COLUMN definition TEXT NOT NULL DEFAULT '{}';
UPDATE triggers SET definition = json_object(
    'version', 1, 'name', name, 'enabled', json(iif(enabled, 'true', 'false')), 'mode', 'events', 'severities', severities, 'sources', sources,
    'message_regex', message_regex, 'action_url', action_url, 'action_secret', action_secret);
ALTER TABLE triggers DROP COLUMN name;
ALTER TABLE triggers DROP COLUMN enabled;
ALTER TABLE triggers DROP COLUMN severities;
ALTER TABLE triggers DROP COLUMN sources;
ALTER TABLE triggers DROP COLUMN message_regex;
ALTER TABLE triggers DROP COLUMN action_url;
ALTER TABLE triggers DROP COLUMN action_secret;
ALTER TABLE triggers ADD COLUMN name TEXT GENERATED ALWAYS AS (definition ->> '$.name') VIRTUAL;
ALTER TABLE triggers ADD COLUMN enabled INTEGER GENERATED ALWAYS AS (definition ->> '$.enabled') VIRTUAL;
