-- What each head's judgement and texts were made of, so that `paceline replay` can make them again, and the SHA-256 of
-- each text as it was last wanted.
CREATE TABLE dossiers (
    repository_id   BIGINT NOT NULL,
    number          BIGINT NOT NULL,
    head_sha        TEXT NOT NULL,
    rules           BIGINT NOT NULL,            -- version of the rules that judged
    config          TEXT,                       -- git's id of .github/paceline.toml as the base had it; null: it had none
    facts           TEXT NOT NULL,              -- JSON: what was judged, beside what git has
    scene           TEXT,                       -- JSON: what the texts were made of, beside the judgement
    texts           TEXT,                       -- JSON: SHA-256 by name of text
    at_ms           BIGINT NOT NULL,
    PRIMARY KEY (repository_id, number, head_sha)
);

-- When a pull request came to each stage, against the targets of its configuration.
CREATE TABLE clocks (
    repository_id   BIGINT NOT NULL,
    number          BIGINT NOT NULL,
    triage_days     BIGINT NOT NULL,            -- targets, as the base's configuration last had them
    review_days     BIGINT NOT NULL,
    responded_ms    BIGINT,                     -- the first answer of somebody who is neither its author nor a bot
    approved_ms     BIGINT,                     -- every file has the approvals that it wants; null again when one lacks
    ended_ms        BIGINT,                     -- merged or closed
    reminded_ms     BIGINT,                     -- the one reminder
    PRIMARY KEY (repository_id, number)
);
