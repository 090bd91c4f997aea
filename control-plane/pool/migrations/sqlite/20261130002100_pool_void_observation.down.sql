ALTER TABLE provider_observation DROP COLUMN void_since;
