//! One request of the API, with what it works on.

use super::access::{Caller, Need};
use super::answer::{Answer, Asked};
use super::state::State;
use serde_json::Value;

/// All of it is done with the state locked, so that each request is one step.
pub(super) struct Call<'a> {
    pub state: &'a mut State,
    pub asked: &'a Asked,
    pub caller: Caller,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    pub now_ms: i64,
}

impl Call<'_> {
    pub(super) fn allowed(&self, repo: Option<i64>, permission: &str, need: Need) -> Result<i64, Answer> {
        self.caller.repo(self.state, repo, permission, need)
    }

    /// A page of a plain list below a repository.
    pub(super) fn page(&self, repo: i64, rest: &str, items: Vec<Value>) -> Answer {
        Answer::page(self.asked, &format!("/repositories/{repo}/{rest}"), items, |_, page| Value::Array(page))
    }
}
