-- Since when what was seen of the provider says nothing about what it has: until it is looked at again.
ALTER TABLE provider_observation ADD COLUMN void_since TEXT;
