-- What a machine ran before its image was changed, until it has come up with the new one.
ALTER TABLE machines ADD COLUMN former_image TEXT NOT NULL DEFAULT '';
