//! Paceline through its doors: real router, real database, real git; GitHub alone is a stand-in.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

mod backfill;
mod backup;
mod commands;
mod commits_command;
mod crash;
mod database;
mod git;
mod github;
mod hand;
mod hooks;
mod hostile;
mod ingest;
mod journey;
mod json_api;
mod landing;
mod look;
mod missed;
mod openapi;
mod outbox;
mod pages;
mod payloads;
mod people;
mod postgres;
mod presence;
mod prove;
mod queries;
mod races;
mod released;
mod replay;
mod replicas;
mod reviewers_command;
mod reviews;
mod scene;
mod secrets;
mod seed;
mod setup;
mod space;
mod standin;
mod stop;
mod storm;
mod visitors;
mod webhook;
mod whole;
mod world;
