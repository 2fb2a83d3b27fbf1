-- How often a container's cursor was stored. A commit that is repeated although
-- it was stored, and failed only to say so, finds itself here.

ALTER TABLE cursors ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
