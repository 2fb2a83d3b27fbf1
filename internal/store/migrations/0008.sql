-- Deliveries are sent when they are due, in no other order; and how many there
-- are is counted as they change, for there may be hundreds of thousands.

ALTER TABLE deliveries DROP COLUMN overtaken;
CREATE INDEX deliveries_due ON deliveries (trigger_id, next_at, seq) WHERE state = 'pending';

CREATE TABLE delivery_counts (
    trigger_id INTEGER NOT NULL REFERENCES triggers (id) ON DELETE CASCADE,
    state      TEXT    NOT NULL,
    n          INTEGER NOT NULL,
    PRIMARY KEY (trigger_id, state)
) WITHOUT ROWID;
INSERT INTO delivery_counts SELECT trigger_id, state, count(*) FROM deliveries GROUP BY trigger_id, state;

CREATE TRIGGER delivery_inserted AFTER INSERT ON deliveries BEGIN
    INSERT INTO delivery_counts VALUES (new.trigger_id, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER delivery_changed AFTER UPDATE OF state ON deliveries WHEN new.state <> old.state BEGIN
    UPDATE delivery_counts SET n = n - 1 WHERE trigger_id = old.trigger_id AND state = old.state;
    INSERT INTO delivery_counts VALUES (new.trigger_id, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER delivery_removed AFTER DELETE ON deliveries BEGIN
    UPDATE delivery_counts SET n = n - 1 WHERE trigger_id = old.trigger_id AND state = old.state;
END;
