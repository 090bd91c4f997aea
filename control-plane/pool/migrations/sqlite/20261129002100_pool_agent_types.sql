-- The types of agent whose work a worker takes (row CAIRN-50).
ALTER TABLE workers ADD COLUMN agent_types TEXT NOT NULL DEFAULT '[]';
UPDATE workers SET agent_types = json_array(worker_type);
