-- What a job is for: `measure`, or `check` (formatter, lints, tests and the proof of a fix, on the merge result).
ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'measure';
-- JSON of what a job of checks came to.
ALTER TABLE jobs ADD COLUMN checks TEXT;

-- JSON of what is asked of a head's tests, and what was found without running any; absent where nothing is asked.
ALTER TABLE judgements ADD COLUMN tests TEXT;
-- The label that a slowdown which blocks gives to the pull request.
ALTER TABLE judgements ADD COLUMN label TEXT;
