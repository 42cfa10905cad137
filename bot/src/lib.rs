//! Paceline, the GitHub App: conventions and performance on every pull request.

pub mod checks;
pub mod clock;
pub mod comment;
pub mod conventions;
pub mod demo;
pub mod format;
pub mod git;
pub mod github;
pub mod judgement;
pub mod outgoing;
pub mod pull;
pub mod render;
pub mod repo_config;
pub mod text;
