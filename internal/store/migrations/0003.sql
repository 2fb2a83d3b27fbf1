-- When a delivery was last tried; 0 for never, or before this was kept. A clock
-- that is earlier has been set back, and next_at means nothing to it.

ALTER TABLE deliveries ADD COLUMN tried_at INTEGER NOT NULL DEFAULT 0;
