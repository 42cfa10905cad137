-- The whole schema of the first release, for SQLite and PostgreSQL alike.
-- Columns are TEXT, BIGINT or DOUBLE PRECISION; ids UUIDv7 text or GitHub's numbers; times *_ms since the epoch;
-- yes and no are BIGINT 1 and 0.

CREATE TABLE deliveries (
    guid            TEXT PRIMARY KEY,           -- X-GitHub-Delivery
    event           TEXT NOT NULL,              -- X-GitHub-Event
    action          TEXT,
    installation_id BIGINT,
    repository      TEXT,                       -- owner/name as the payload has it
    lane            TEXT NOT NULL,              -- repo id and pull request number: one at a time within a lane
    payload         TEXT NOT NULL,
    received_ms     BIGINT NOT NULL,
    state           TEXT NOT NULL,              -- queued | working | done | ignored | failed
    attempts        BIGINT NOT NULL DEFAULT 0,
    not_before_ms   BIGINT NOT NULL,
    claimed_by      TEXT,                       -- process that works on it, for recovery after a crash
    lease_until_ms  BIGINT,
    error           TEXT,
    finished_ms     BIGINT
);
CREATE INDEX deliveries_waiting ON deliveries (state, not_before_ms);
CREATE INDEX deliveries_lane ON deliveries (lane, state, received_ms);

CREATE TABLE repositories (
    id              BIGINT PRIMARY KEY,         -- GitHub's id: survives renames
    installation_id BIGINT NOT NULL,
    owner           TEXT NOT NULL,
    name            TEXT NOT NULL,
    private         BIGINT NOT NULL,
    default_branch  TEXT NOT NULL,
    seen_ms         BIGINT NOT NULL
);
CREATE UNIQUE INDEX repositories_name ON repositories (owner, name);

CREATE TABLE pull_requests (
    repository_id   BIGINT NOT NULL REFERENCES repositories (id),
    number          BIGINT NOT NULL,
    title           TEXT NOT NULL,
    author          TEXT NOT NULL,
    author_is_bot   BIGINT NOT NULL,
    state           TEXT NOT NULL,              -- open | closed | merged
    draft           BIGINT NOT NULL,
    from_fork       BIGINT NOT NULL,
    base_ref        TEXT NOT NULL,
    base_sha        TEXT NOT NULL,              -- tip of the base branch
    head_ref        TEXT NOT NULL,
    head_sha        TEXT NOT NULL,
    merge_base      TEXT,
    mergeable       TEXT,                       -- clean | conflict, of head merged into base by us
    approved_sha    TEXT,                       -- the fork's head that somebody with write permission allowed to run
    approved_by     TEXT,
    opened_ms       BIGINT NOT NULL,
    updated_ms      BIGINT NOT NULL,
    PRIMARY KEY (repository_id, number)
);
CREATE INDEX pull_requests_updated ON pull_requests (updated_ms);

-- What was decided about one head, without performance: the conventions' findings as JSON.
CREATE TABLE judgements (
    repository_id   BIGINT NOT NULL,
    number          BIGINT NOT NULL,
    head_sha        TEXT NOT NULL,
    skipped         TEXT,                       -- why there is nothing to measure; null: there is
    config_error    TEXT,                       -- JSON of the error when it did not parse
    commits         TEXT NOT NULL,              -- JSON of the commits' judgement
    judged_ms       BIGINT NOT NULL,
    PRIMARY KEY (repository_id, number, head_sha)
);

CREATE TABLE runners (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    token_sha256    TEXT NOT NULL UNIQUE,
    builtin         BIGINT NOT NULL,            -- the server's own child
    environment     TEXT,                       -- JSON, as it last said
    sandboxed       BIGINT NOT NULL DEFAULT 0,
    created_ms      BIGINT NOT NULL,
    seen_ms         BIGINT,
    revoked_ms      BIGINT
);

CREATE TABLE jobs (
    id              TEXT PRIMARY KEY,
    repository_id   BIGINT NOT NULL REFERENCES repositories (id),
    number          BIGINT NOT NULL,
    base_sha        TEXT NOT NULL,              -- merge base
    head_sha        TEXT NOT NULL,
    spec            TEXT NOT NULL,              -- JSON of the JobSpec
    stranger        BIGINT NOT NULL,            -- needs a sandbox
    state           TEXT NOT NULL,              -- queued | claimed | building | measuring | done | failed | cancelled | superseded
    fence           BIGINT NOT NULL DEFAULT 0,
    attempts        BIGINT NOT NULL DEFAULT 0,
    runner_id       TEXT,
    lease_until_ms  BIGINT,
    progress        TEXT,                       -- JSON
    evidence        TEXT,                       -- digest
    report          TEXT,                       -- JSON
    error           TEXT,
    created_ms      BIGINT NOT NULL,
    claimed_ms      BIGINT,
    finished_ms     BIGINT
);
CREATE INDEX jobs_waiting ON jobs (state, created_ms);
CREATE INDEX jobs_pull ON jobs (repository_id, number, created_ms);

CREATE TABLE job_log (
    job_id          TEXT NOT NULL REFERENCES jobs (id),
    seq             BIGINT NOT NULL,
    at_ms           BIGINT NOT NULL,
    line            TEXT NOT NULL,
    PRIMARY KEY (job_id, seq)
);

-- One row per judged benchmark and metric of a finished job: what tables and history read.
CREATE TABLE comparisons (
    job_id          TEXT NOT NULL REFERENCES jobs (id),
    repository_id   BIGINT NOT NULL,
    suite           TEXT NOT NULL,
    benchmark       TEXT NOT NULL,
    metric          TEXT NOT NULL,
    base            DOUBLE PRECISION NOT NULL,
    head            DOUBLE PRECISION NOT NULL,
    estimate        DOUBLE PRECISION NOT NULL,
    low             DOUBLE PRECISION NOT NULL,
    high            DOUBLE PRECISION NOT NULL,
    smallest_visible DOUBLE PRECISION NOT NULL,
    spread          DOUBLE PRECISION NOT NULL,
    visits          BIGINT NOT NULL,
    verdict         TEXT NOT NULL,
    certainty       TEXT NOT NULL,
    mode            TEXT NOT NULL,
    PRIMARY KEY (job_id, suite, benchmark, metric)
);
CREATE INDEX comparisons_series ON comparisons (repository_id, suite, benchmark, metric);

-- Writes to GitHub that are still to be made or were made. `target` is what must exist once:
-- the newest body of a target wins, and the marker in the body or the external id finds it again after a crash.
CREATE TABLE writes (
    target          TEXT PRIMARY KEY,           -- comment:REPO:PR | reply:REPO:COMMENT | check:REPO:SHA:NAME | reaction:REPO:COMMENT:CONTENT
    installation_id BIGINT NOT NULL,
    repository_id   BIGINT NOT NULL,
    body            TEXT NOT NULL,              -- JSON of the wanted state
    version         BIGINT NOT NULL,            -- grows with every change of body
    written_version BIGINT NOT NULL DEFAULT 0,
    remote_id       TEXT,                       -- GitHub's id once known
    attempts        BIGINT NOT NULL DEFAULT 0,
    not_before_ms   BIGINT NOT NULL,
    claimed_by      TEXT,
    lease_until_ms  BIGINT,
    error           TEXT,
    updated_ms      BIGINT NOT NULL
);
CREATE INDEX writes_waiting ON writes (installation_id, not_before_ms);

-- When an installation may be written to next: GitHub wants a second between writes, and names its own waits.
CREATE TABLE pace (
    installation_id BIGINT PRIMARY KEY,
    next_ms         BIGINT NOT NULL
);
