-- What the pages of a large history read.

-- Points are stored in the order of commits, and read in the order of one series: all of a point beside its key, so that
-- a chart of ten thousand of them reads one stretch of an index and not ten thousand places.
CREATE INDEX history_points_read ON history_points (series_id, position, reference, reference_low, reference_high,
    reference_number, value, parent, parent_low, parent_high);
CREATE INDEX bisects_series ON bisects (series_id);

-- Runs of two commits, and commits by the beginning of their ids.
CREATE INDEX jobs_base ON jobs (repository_id, base_sha, head_sha);
CREATE INDEX jobs_head ON jobs (repository_id, head_sha);

-- What others asked to be told of: a notice each, for each address.
CREATE TABLE notices (
    id              TEXT PRIMARY KEY,           -- the receiver sees it: the same notice again has the same
    url             TEXT NOT NULL,
    kind            TEXT NOT NULL,              -- run.slower | history.slower
    body            TEXT NOT NULL,              -- JSON, as it is sent
    attempts        BIGINT NOT NULL DEFAULT 0,
    not_before_ms   BIGINT NOT NULL,
    holder          TEXT,                       -- names one taking of it
    lease_until_ms  BIGINT,
    ended_ms        BIGINT,                     -- told, or given up
    error           TEXT,                       -- of the last try that failed
    created_ms      BIGINT NOT NULL
);
CREATE INDEX notices_due ON notices (not_before_ms) WHERE ended_ms IS NULL;
CREATE INDEX notices_ended ON notices (ended_ms);
