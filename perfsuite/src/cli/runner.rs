//! `perfsuite runner`: takes jobs from a server until it is stopped.

use super::Answer;
use crate::runner::{Here, RunnerArgs, run as serve, stop_signals};
use anyhow::Context;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

pub(super) fn run(args: &RunnerArgs) -> anyhow::Result<Answer> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let config = args.config()?;
    let here = Here::new(args.sandbox, args.cache_dir(), args.reserve_bytes())?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async { serve(config, Arc::new(here), stop_signals()?).await })?;
    Ok(Answer::NoChange)
}
