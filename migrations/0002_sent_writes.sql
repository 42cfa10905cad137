-- When each installation was written to in the last hour: GitHub bounds what an App creates in a minute and an hour.
CREATE TABLE sent_writes (
    id              TEXT PRIMARY KEY,
    installation_id BIGINT NOT NULL,
    at_ms           BIGINT NOT NULL
);
CREATE INDEX sent_writes_at ON sent_writes (installation_id, at_ms);
