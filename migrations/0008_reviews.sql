-- Who must still approve a head, as it was judged; absent where nothing is asked.
ALTER TABLE judgements ADD COLUMN reviews TEXT;

-- What each approving review approved: the patch of every file, so that a rebase keeps it and a change does not.
CREATE TABLE approvals (
    repository_id   BIGINT NOT NULL,
    number          BIGINT NOT NULL,
    review_id       BIGINT NOT NULL,            -- GitHub's
    login           TEXT NOT NULL,
    commit_sha      TEXT NOT NULL,              -- the head that was looked at
    patches         TEXT NOT NULL,              -- JSON: patch id by path
    at_ms           BIGINT NOT NULL,
    PRIMARY KEY (repository_id, number, review_id)
);
