-- What people said of a history.

-- Changes that were taken with a reason: they stand, and nobody has to look at them any more.
CREATE TABLE accepted_changes (
    change_point_id TEXT PRIMARY KEY,
    login           TEXT NOT NULL,              -- who said so
    reason          TEXT NOT NULL,
    at_ms           BIGINT NOT NULL
);

-- Benchmarks that go on under another name, which is nobody's alias itself.
CREATE TABLE renamed_benchmarks (
    repository_id   BIGINT NOT NULL,
    suite           TEXT NOT NULL,
    benchmark       TEXT NOT NULL,              -- as it was called
    renamed_to      TEXT NOT NULL,
    login           TEXT NOT NULL,
    at_ms           BIGINT NOT NULL,
    PRIMARY KEY (repository_id, suite, benchmark)
);

-- Benchmarks that are recorded only, because somebody said so. What was over stays, for `paceline replay`.
CREATE TABLE quarantined_benchmarks (
    id              TEXT PRIMARY KEY,
    repository_id   BIGINT NOT NULL,
    suite           TEXT NOT NULL,
    benchmark       TEXT NOT NULL,
    login           TEXT NOT NULL,
    reason          TEXT NOT NULL,
    since_ms        BIGINT NOT NULL,
    until_ms        BIGINT                      -- null: it lasts
);
CREATE INDEX quarantined_benchmarks_of ON quarantined_benchmarks (repository_id, suite, benchmark);

-- What stands open on default branches, the newest first.
CREATE INDEX change_points_found ON change_points (found_ms, id) WHERE state = 'confirmed';
