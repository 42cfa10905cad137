-- What a runner made of no change at all: benchmarks measured against themselves, one row for each time.
CREATE TABLE calibrations (
    id              TEXT PRIMARY KEY,
    job_id          TEXT NOT NULL REFERENCES jobs (id),
    repository_id   BIGINT NOT NULL,
    runner_id       TEXT NOT NULL,
    suite           TEXT NOT NULL,
    benchmark       TEXT NOT NULL,
    metric          TEXT NOT NULL,
    estimate        DOUBLE PRECISION NOT NULL,  -- relative change that was seen where there is none
    spread          DOUBLE PRECISION NOT NULL,
    visits          BIGINT NOT NULL,
    alarm           BIGINT NOT NULL,            -- the rule called it a change
    at_ms           BIGINT NOT NULL
);
CREATE INDEX calibrations_series ON calibrations (repository_id, runner_id, at_ms);
CREATE INDEX calibrations_runner ON calibrations (runner_id, at_ms);
