-- Events by the id of their rule, which a change of its name leaves alone.

ALTER TABLE event_log ADD COLUMN rule_id INTEGER GENERATED ALWAYS AS (metadata ->> '$.rule_id') VIRTUAL;
CREATE INDEX event_log_rule_id ON event_log (rule_id, id) WHERE rule_id IS NOT NULL;
