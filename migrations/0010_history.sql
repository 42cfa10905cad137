-- What a job is for, its turn in the queue, and what it costs.
ALTER TABLE jobs ADD COLUMN purpose TEXT NOT NULL DEFAULT 'pull';   -- pull | group | parent | reference | overlap | bisect
ALTER TABLE jobs ADD COLUMN priority BIGINT NOT NULL DEFAULT 20;    -- the least first
ALTER TABLE jobs ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;         -- of one priority, the least first
ALTER TABLE jobs ADD COLUMN cost_ms BIGINT NOT NULL DEFAULT 0;      -- of measuring: as planned, once done as it was
ALTER TABLE jobs ADD COLUMN day_limit_ms BIGINT;                    -- of measuring, all jobs of the repository; null: a person asked
UPDATE jobs SET turn = created_ms;
CREATE INDEX jobs_turn ON jobs (state, priority, turn, id);
CREATE INDEX jobs_spent ON jobs (repository_id, claimed_ms);

-- What a repository's history is measured against, one after the other; the one of the greatest number holds.
CREATE TABLE history_references (
    repository_id   BIGINT NOT NULL,
    number          BIGINT NOT NULL,            -- from 1
    sha             TEXT NOT NULL,
    name            TEXT NOT NULL,              -- a tag, or as the configuration has it
    since_ms        BIGINT NOT NULL,
    PRIMARY KEY (repository_id, number)
);

-- Commits of the default branch that were measured, or are to be.
CREATE TABLE history_commits (
    repository_id   BIGINT NOT NULL,
    position        BIGINT NOT NULL,            -- along first parents, from the root, which is 0
    sha             TEXT NOT NULL,
    parent_sha      TEXT,                       -- its first parent
    author          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    committed_ms    BIGINT NOT NULL,
    pull            BIGINT,                     -- the pull request that brought it, where its message says so
    environment_id  BIGINT,
    parent_job      TEXT,                       -- against its parent
    reference_job   TEXT,                       -- against the reference
    reference_number BIGINT,
    PRIMARY KEY (repository_id, position)
);
CREATE UNIQUE INDEX history_commits_sha ON history_commits (repository_id, sha);

-- Machines and their state, each once.
CREATE TABLE environments (
    id              BIGINT PRIMARY KEY,
    digest          TEXT NOT NULL UNIQUE,
    environment     TEXT NOT NULL               -- JSON, without what changes from run to run
);

CREATE TABLE history_series (
    id              BIGINT PRIMARY KEY,
    repository_id   BIGINT NOT NULL,
    suite           TEXT NOT NULL,
    benchmark       TEXT NOT NULL,
    metric          TEXT NOT NULL,
    version         BIGINT NOT NULL DEFAULT 0,  -- grows with every point
    judged_version  BIGINT NOT NULL DEFAULT 0,  -- the one that change points were looked for in
    sample          BIGINT NOT NULL DEFAULT 0   -- 1: made to be looked at, not measured
);
CREATE UNIQUE INDEX history_series_name ON history_series (repository_id, suite, benchmark, metric);
CREATE INDEX history_series_unjudged ON history_series (id) WHERE version > judged_version;

-- One row for each series and measured commit: small, and read along its primary key. What was run, and where, is the
-- commit's. Null: not measured.
CREATE TABLE history_points (
    series_id       BIGINT NOT NULL,
    position        BIGINT NOT NULL,
    value           DOUBLE PRECISION,           -- raw, in the metric's unit
    parent          DOUBLE PRECISION,           -- over the parent's
    parent_low      DOUBLE PRECISION,           -- 95 % interval
    parent_high     DOUBLE PRECISION,
    reference       DOUBLE PRECISION,           -- over the reference's
    reference_low   DOUBLE PRECISION,
    reference_high  DOUBLE PRECISION,
    reference_number BIGINT,
    PRIMARY KEY (series_id, position)
);

-- What a new reference is over the one before it, so that a series goes on.
CREATE TABLE history_links (
    series_id       BIGINT NOT NULL,
    reference_number BIGINT NOT NULL,           -- of the new one
    ratio           DOUBLE PRECISION NOT NULL,
    low             DOUBLE PRECISION NOT NULL,
    high            DOUBLE PRECISION NOT NULL,
    job_id          TEXT NOT NULL,
    PRIMARY KEY (series_id, reference_number)
);

CREATE TABLE change_points (
    id              TEXT PRIMARY KEY,
    series_id       BIGINT NOT NULL,
    position        BIGINT NOT NULL,            -- of the first measured commit after it
    before_position BIGINT NOT NULL,            -- of the last one before it
    size            DOUBLE PRECISION NOT NULL,  -- 0.03: 3 % more
    state           TEXT NOT NULL,              -- provisional | confirmed | withdrawn
    found_ms        BIGINT NOT NULL,
    confirmed_ms    BIGINT
);
CREATE INDEX change_points_series ON change_points (series_id, position);

-- Searches for the one commit of a range that changed a benchmark.
CREATE TABLE bisects (
    id              TEXT PRIMARY KEY,
    repository_id   BIGINT NOT NULL,
    series_id       BIGINT NOT NULL,
    change_point_id TEXT NOT NULL,
    good_sha        TEXT NOT NULL,
    commits         TEXT NOT NULL,              -- JSON: ids after the good one, oldest first
    seen            TEXT NOT NULL,              -- JSON: what each comparison saw, in order
    state           TEXT NOT NULL,              -- running | done | broken
    job_id          TEXT,                       -- the comparison under way
    outcome         TEXT,                       -- JSON
    created_ms      BIGINT NOT NULL,
    finished_ms     BIGINT
);
CREATE UNIQUE INDEX bisects_change_point ON bisects (change_point_id);
CREATE INDEX bisects_running ON bisects (created_ms) WHERE state = 'running';
