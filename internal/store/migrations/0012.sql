-- What is looked for at each hit, each second and each minute is found without a
-- scan, however much there is: what each trigger holds that is due, the first that
-- is due of a group, and what is to be removed by its age.

DROP INDEX held_group;
DROP INDEX held_due;
CREATE INDEX held_group ON held (trigger_id, group_key, due_at);
CREATE INDEX held_due ON held (trigger_id, due_at, group_key);

CREATE INDEX incidents_resolved ON incidents (ended_at) WHERE state = 'resolved';
CREATE INDEX deliveries_message ON deliveries (created_at) WHERE message <> '';
