-- What somebody asked for by a command and that takes more than one step: a comparison with another commit, a profile, a
-- search for a commit. Its answer is the reply to the command, renewed as it goes on.
CREATE TABLE errands (
    id              TEXT PRIMARY KEY,
    repository_id   BIGINT NOT NULL,
    number          BIGINT NOT NULL,            -- the pull request
    comment_id      BIGINT NOT NULL,            -- the command
    head_sha        TEXT NOT NULL,              -- of the pull request, when it was asked for
    errand          TEXT NOT NULL,              -- JSON: what was asked for, and what was seen so far
    state           TEXT NOT NULL,              -- running | ended
    job_id          TEXT NOT NULL,              -- under way, or the last one
    created_ms      BIGINT NOT NULL,
    finished_ms     BIGINT
);
CREATE UNIQUE INDEX errands_comment ON errands (repository_id, comment_id);
CREATE INDEX errands_pull ON errands (repository_id, number, created_ms);
CREATE INDEX errands_job ON errands (job_id);
CREATE INDEX errands_running ON errands (created_ms) WHERE state = 'running';
