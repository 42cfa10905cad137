//! What a head's judgement and texts were made of, kept so that they can be made again.
//!
//! git's part is not copied: commits, files and the configuration are in the mirror, which forgets nothing, and are named
//! by their ids. Approvals are in the ledger, samples in the evidence.

use crate::conventions::landing::Opened;
use crate::conventions::what_if::WhatIf;
use crate::judgement::{Acceptance, AuthorRecord, Checks, CommentContext, Performance, Run};
use crate::outgoing::Outgoing;
use crate::pull::{PullRequest, Repository};
use crate::stages::Stages;
use crate::{checks, comment, db};
use perfsuite::model::{JobId, Sha};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Grows with every change of the rules by which the same facts are judged otherwise.
pub const RULES: u32 = 2;

/// What was judged, beside what git has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The tip of the base branch, from which the configuration comes too.
    pub base_tip: Sha,
    pub head: Sha,
    pub author: String,
    pub labels: Vec<String>,
    /// Somebody asked for everything to be measured, whatever changed.
    pub asked: bool,
    /// Of one suite.
    #[serde(default)]
    pub suite: Option<String>,
    pub opened: Opened,
    #[serde(default)]
    pub reviews: Option<ReviewFacts>,
    /// What a change of the configuration would have done to the pull requests of the past.
    #[serde(default)]
    pub what_if: Option<WhatIf>,
    /// Why no check was to be run.
    #[serde(default)]
    pub untried: Option<String>,
}

/// Who had approved, and who was in which team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewFacts {
    /// Approving reviews that stood, by GitHub's number, with whose they are; what they approved is in the ledger.
    pub approved: Vec<(String, i64)>,
    pub teams: BTreeMap<String, Vec<String>>,
    pub notes: Vec<String>,
}

/// What the texts were made of, beside the judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    pub repository: Repository,
    pub pull: PullRequest,
    pub base: Sha,
    pub public_url: String,
    pub job: Option<JobId>,
    pub check_job: Option<JobId>,
    /// `None`: as the job's evidence has it.
    pub performance: Option<Performance>,
    /// `None`: as the job's evidence has it, or nothing is asked.
    pub checks: Option<Checks>,
    pub accepted: Option<Acceptance>,
    pub author_pulls: u32,
    #[serde(default)]
    pub author: Option<AuthorRecord>,
    #[serde(default)]
    pub stages: Option<Stages>,
}

/// The SHA-256 of each text, by name.
pub type Digests = BTreeMap<String, String>;

impl Scene {
    /// Everything that GitHub is to show of a run.
    pub fn texts(&self, run: &Run) -> Vec<Outgoing> {
        let number = self.pull.number;
        let page = format!("{}/{}/pull/{number}", self.public_url, self.repository.name);
        let of = |job: &Option<JobId>| match job {
            Some(job) => format!("{}/runs/{job}", self.public_url),
            None => page.clone(),
        };
        let (details, of_tests) = (of(&self.job), of(&self.check_job));
        let context = CommentContext {
            id: self.repository.id,
            name: &self.repository.name,
            pull: &self.pull,
            public_url: &self.public_url,
            job: self.job.as_ref().map(|job| job.0.as_str()),
            author_pulls: self.author_pulls,
            author: self.author,
            stages: self.stages,
        };
        let mut texts = vec![
            Outgoing::Comment { number, body: comment::comment(run, &context) },
            Outgoing::CheckRun(checks::commits_check(run, &details)),
            Outgoing::CheckRun(checks::performance_check(run, &details)),
        ];
        texts.extend(checks::reviews_check(run, &details).map(Outgoing::CheckRun));
        texts.extend(checks::tests_check(run, &of_tests).map(Outgoing::CheckRun));
        texts.extend(checks::config_check(run, &details).map(Outgoing::CheckRun));
        texts
    }
}

/// The digests of texts, as they are kept in `writes`.
pub fn digests(texts: &[Outgoing]) -> Digests {
    let digest = |text: &Outgoing| perfsuite::evidence::digest(db::to_json(text).as_bytes());
    texts.iter().map(|text| (name(text), digest(text))).collect()
}

/// What a text is called.
pub fn name(text: &Outgoing) -> String {
    match text {
        Outgoing::CheckRun(check) => check.name.clone(),
        _ => "comment".into(),
    }
}
