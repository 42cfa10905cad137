//! `paceline reviewers`: who must still approve a change, from files alone; one JSON object. Needs no repository.

use crate::conventions::reviews::{
    Asked, CODEOWNERS_MAX_BYTES, CodeOwners, FileAsked, Login, TEAMS_MAX_BYTES, Teams, missing,
};
use crate::error::UserError;
use crate::git::unquoted;
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Of CODEOWNERS and of the list of changed files: a million lines of 64 bytes.
const LISTED_MAX_BYTES: usize = 64 << 20;

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    git diff -z --name-only main... | paceline reviewers --codeowners .github/CODEOWNERS --changed - --author alice\n  \
    paceline reviewers --codeowners CODEOWNERS --changed changed.txt --teams teams.json \\\n    \
    --approved bob,carol --author alice --count 2\n\n\
    teams.json: {\"org/team\": [\"alice\", \"org/other-team\"]}\n\n\
    Prints {\"short\":[{\"path\",\"have\",\"need\",\"candidates\"}],\"smallest_set\":[],\"impossible\":[]}: files that lack \
    approvals, the fewest people who would cover them, and files with fewer eligible owners than they want (those there \
    are, are asked for). Nothing is asked for a file without owners. Where the fewest people could not be found within \
    bounds, \"exact\":false is added and the set may be a little larger than it need be. Lines of CODEOWNERS that GitHub \
    skips are told on standard error as FILE:LINE: REASON.\n\n\
    Exit code: 0 answered, 2 could not read.")]
pub struct ReviewersArgs {
    /// The CODEOWNERS file
    #[arg(long, value_name = "FILE")]
    pub codeowners: PathBuf,
    /// Changed paths, one a line as git prints them, or separated by NUL bytes; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub changed: PathBuf,
    /// Members of teams [default: teams are unknown and have nobody]
    #[arg(long, value_name = "FILE.json")]
    pub teams: Option<PathBuf>,
    /// Who has approved, separated by commas
    #[arg(long, value_name = "LOGIN,…", value_delimiter = ',')]
    pub approved: Vec<String>,
    /// Whose change it is; never counted
    #[arg(long, value_name = "LOGIN", default_value = "")]
    pub author: String,
    /// Distinct owners that each file wants
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=100))]
    pub count: u16,
}

/// The names are a contract with outside tools.
#[derive(Serialize)]
struct Answer<'a> {
    short: Vec<ShortRecord<'a>>,
    smallest_set: &'a [Login],
    impossible: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
}

#[derive(Serialize)]
struct ShortRecord<'a> {
    path: &'a str,
    have: usize,
    need: usize,
    candidates: &'a [Login],
}

pub fn run(args: &ReviewersArgs) -> anyhow::Result<ExitCode> {
    let text = read(&args.codeowners, LISTED_MAX_BYTES)?;
    let owners = CodeOwners::parse(&String::from_utf8_lossy(&text));
    let shown = args.codeowners.display();
    if text.len() > CODEOWNERS_MAX_BYTES {
        eprintln!("{shown}: GitHub reads no CODEOWNERS over {} MiB", CODEOWNERS_MAX_BYTES >> 20);
    }
    for bad in &owners.bad {
        eprintln!("{shown}:{}: {}", bad.line, bad.message);
    }
    if owners.bad_left_out > 0 {
        eprintln!("{shown}: {} more lines are skipped", owners.bad_left_out);
    }
    let teams = match &args.teams {
        None => Teams::default(),
        Some(path) => Teams::parse(&read(path, TEAMS_MAX_BYTES)?)
            .map_err(|error| UserError::new(format!("cannot use {}: {error}", path.display())))?,
    };
    for team in owners.teams().into_iter().filter(|team| !teams.knows(team)) {
        eprintln!("{shown}: nobody is known of the team @{team}");
    }
    let changed = changed(&read(&args.changed, LISTED_MAX_BYTES)?);
    let approved: BTreeSet<Login> =
        args.approved.iter().map(Login::new).filter(|login| !login.as_str().is_empty()).collect();
    let count = usize::from(args.count);
    let files = changed.iter().map(|path| FileAsked { path, count, approved: &approved }).collect();
    let found = missing(&Asked { owners: &owners, teams: &teams, author: &Login::new(&args.author), files });
    let short = found.short.iter();
    let answer = Answer {
        short: short
            .map(|s| ShortRecord { path: &s.path, have: s.have, need: s.need, candidates: &s.candidates })
            .collect(),
        smallest_set: &found.smallest_set,
        impossible: &found.impossible,
        exact: (!found.exact).then_some(false),
    };
    let mut output = serde_json::to_vec(&answer).context("the answer is plain data")?;
    output.push(b'\n');
    match io::stdout().lock().write_all(&output) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Paths by NUL where there is one, else by line, with git's quoting undone.
fn changed(bytes: &[u8]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let paths: Vec<String> = if bytes.contains(&0) {
        bytes.split(|byte| *byte == 0).map(text).collect()
    } else {
        let lines = bytes.split(|byte| *byte == b'\n');
        lines.map(|line| text(&unquoted(line.strip_suffix(b"\r").unwrap_or(line)))).collect()
    };
    paths.into_iter().filter(|path| !path.is_empty()).collect()
}

fn read(path: &Path, max_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let cannot = |error: io::Error| UserError::new(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let most = max_bytes as u64 + 1;
    if path.as_os_str() == "-" {
        io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(cannot)?;
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(cannot)?;
    }
    if bytes.len() > max_bytes {
        let mib = max_bytes >> 20;
        return Err(
            UserError::new(format!("{} is too large: at most {mib} MiB are read", path.display())).into()
        );
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_as_git_prints_them() {
        assert_eq!(changed(b"a\nb c\r\n\n\"d\\n\\303\\244\\\"\"\n"), ["a", "b c", "d\nä\""]);
        assert_eq!(changed(b"a\nb\0\"c\"\0"), ["a\nb", "\"c\""]);
        assert_eq!(changed(b""), [""; 0]);
    }
}
