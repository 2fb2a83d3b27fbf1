-- Messages about one incident alone, to a service that shows what becomes of it in one
-- place: each waits for the one before it, and refers to what the service gave for it.

ALTER TABLE deliveries ADD COLUMN thread INTEGER NOT NULL DEFAULT 0; -- that incident; 0 for none
CREATE INDEX deliveries_thread ON deliveries (trigger_id, thread, seq) WHERE thread <> 0 AND state = 'pending';

CREATE TRIGGER thread_goes_on AFTER UPDATE OF state ON deliveries WHEN old.state = 'pending' AND new.state <> 'pending' AND new.thread <> 0 BEGIN
    UPDATE deliveries SET next_at = since WHERE attempts = 0 AND seq =
        (SELECT min(seq) FROM deliveries WHERE trigger_id = new.trigger_id AND thread = new.thread AND thread <> 0 AND state = 'pending');
END;

CREATE TABLE threads (
    trigger_id  INTEGER NOT NULL REFERENCES triggers (id) ON DELETE CASCADE,
    incident_id INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL, -- of the delivery for which the service gave ref
    ref         TEXT    NOT NULL,
    PRIMARY KEY (trigger_id, incident_id)
) WITHOUT ROWID;
CREATE INDEX threads_incident ON threads (incident_id);
