-- What people did in a repository, an event a row: from webhooks as they come, and from a back-fill through the API.
-- `kind` and `source` name an event once, however often it is told.
CREATE TABLE activity (
    repository_id   BIGINT NOT NULL,
    kind            TEXT NOT NULL,              -- opened | pushed | ready | closed | merged | reopened | review | comment | review-comment | linked | issue-opened | issue-closed | star | unstar | fork | release
    source          TEXT NOT NULL,              -- GitHub's id, or what stands for one
    number          BIGINT,                     -- of the pull request or issue
    login           TEXT NOT NULL,              -- `ghost` where the person was deleted
    is_bot          BIGINT NOT NULL,
    detail          TEXT,                       -- a review's state, a release's tag, a linked issue's number
    sha             TEXT,                       -- the head that it was about
    at_ms           BIGINT NOT NULL,
    PRIMARY KEY (repository_id, kind, source)
);
CREATE INDEX activity_when ON activity (repository_id, at_ms);
CREATE INDEX activity_number ON activity (repository_id, number, at_ms);
CREATE INDEX activity_login ON activity (login);

-- People who asked to be left out, in lower case: they are named nowhere but on GitHub.
CREATE TABLE opt_outs (
    login           TEXT PRIMARY KEY,
    at_ms           BIGINT NOT NULL
);

-- Stars, forks and watchers as GitHub counts them, sampled by the hour.
CREATE TABLE repository_counts (
    repository_id   BIGINT NOT NULL,
    at_ms           BIGINT NOT NULL,
    stars           BIGINT NOT NULL,
    forks           BIGINT NOT NULL,
    watchers        BIGINT NOT NULL,
    PRIMARY KEY (repository_id, at_ms)
);

-- What of the configuration on the default branch the pages need.
CREATE TABLE repository_settings (
    repository_id   BIGINT PRIMARY KEY,
    triage_days     BIGINT NOT NULL,
    review_days     BIGINT NOT NULL,
    excluded        TEXT NOT NULL,              -- JSON: logins that are not counted, in lower case
    opt_out         TEXT NOT NULL,              -- JSON: logins that are not named, in lower case
    updated_ms      BIGINT NOT NULL
);

-- How far a back-fill is, so that it goes on where it stopped.
CREATE TABLE backfills (
    repository_id   BIGINT PRIMARY KEY,
    since_ms        BIGINT NOT NULL,
    stage           TEXT NOT NULL,              -- pulls | issues | comments | review-comments | done
    page            BIGINT NOT NULL,            -- the next one, from 1
    pulls           BIGINT NOT NULL,
    events          BIGINT NOT NULL,
    started_ms      BIGINT NOT NULL,
    updated_ms      BIGINT NOT NULL
);

-- Who is signed in. Of what the browser holds only the digest is kept, and no token of GitHub's.
CREATE TABLE sessions (
    id_sha256       TEXT PRIMARY KEY,
    user_id         BIGINT NOT NULL,            -- GitHub's
    login           TEXT NOT NULL,
    created_ms      BIGINT NOT NULL,
    expires_ms      BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);

-- Sign-ins under way: each is good once, and for a few minutes.
CREATE TABLE sign_ins (
    state_sha256    TEXT PRIMARY KEY,
    verifier        TEXT NOT NULL,              -- of PKCE
    back            TEXT NOT NULL,              -- the path to return to
    created_ms      BIGINT NOT NULL
);
