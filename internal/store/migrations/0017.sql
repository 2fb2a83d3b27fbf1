-- A rule's state says what enabled did, and more. Of a notice of a rule in shadow
-- nobody is told; where one was held when its rule was put there, told has 'shadow' in
-- the place of a delivery.
UPDATE rules SET definition = json_remove(json_set(definition, '$.state', iif(definition ->> '$.enabled' = 0, 'off', 'on')), '$.enabled');
ALTER TABLE notices ADD COLUMN shadow INTEGER NOT NULL DEFAULT 0;
