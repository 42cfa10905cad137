-- Whether the App still sees a repository: null, or `removed` or `suspended`.
ALTER TABLE repositories ADD COLUMN inactive TEXT;

-- The inbox is read in order of arrival, however long it is.
DROP INDEX deliveries_waiting;
CREATE INDEX deliveries_queue ON deliveries (state, received_ms, guid);
-- What is written stays in its table; what is still to be written is found without reading all of it.
CREATE INDEX writes_unwritten ON writes (updated_ms, target) WHERE version > written_version;
CREATE INDEX writes_leased ON writes (installation_id, lease_until_ms) WHERE lease_until_ms IS NOT NULL;
