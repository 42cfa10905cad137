//! Paceline, the GitHub App: conventions and performance on every pull request.

pub mod judgement;
pub mod outgoing;
pub mod pull;
