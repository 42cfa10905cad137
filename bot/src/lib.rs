//! Paceline, the GitHub App: conventions and performance on every pull request.

pub mod clock;
pub mod demo;
pub mod format;
pub mod git;
pub mod github;
pub mod judgement;
pub mod outgoing;
pub mod pull;
