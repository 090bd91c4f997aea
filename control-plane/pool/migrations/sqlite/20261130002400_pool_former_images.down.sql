ALTER TABLE machines DROP COLUMN former_image;
