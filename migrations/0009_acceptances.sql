-- Slowdowns that somebody with write permission took for one head, and why. The newest of a head counts.
CREATE TABLE acceptances (
    id              TEXT PRIMARY KEY,
    repository_id   BIGINT NOT NULL,
    number          BIGINT NOT NULL,
    head_sha        TEXT NOT NULL,
    login           TEXT NOT NULL,
    reason          TEXT NOT NULL,
    at_ms           BIGINT NOT NULL
);
CREATE INDEX acceptances_head ON acceptances (repository_id, number, head_sha);
