-- What a trigger has told of an incident: looked up at each message about it, and
-- again and again while it is open, for receivers that forget.

CREATE INDEX deliveries_incident ON deliveries (trigger_id, incident_id, seq, state) WHERE incident_id <> 0;
CREATE INDEX incidents_unresolved ON incidents (id) WHERE state <> 'resolved';
