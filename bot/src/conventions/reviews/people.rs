//! People and teams by name. GitHub compares both without regard to case.

use super::Owner;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A file of teams: 100,000 members of 20 bytes, and room.
pub const TEAMS_MAX_BYTES: usize = 16 << 20;

/// A person's login (or address) as it was written; equal whatever its case.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Login(String);

impl Login {
    /// With or without `@` before it.
    pub fn new(name: impl AsRef<str>) -> Self {
        let name = name.as_ref().trim();
        Self(name.strip_prefix('@').unwrap_or(name).to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = char> + '_ {
        self.0.chars().flat_map(char::to_lowercase)
    }
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.folded().eq(other.folded())
    }
}

impl Eq for Login {}

impl PartialOrd for Login {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Login {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded().cmp(other.folded())
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Members by team. Members may be teams themselves.
#[derive(Clone, Debug, Default)]
pub struct Teams {
    /// `org/team` in lower case, or `team` alone where the file names no organisation.
    members: BTreeMap<String, Vec<Member>>,
}

#[derive(Clone, Debug)]
enum Member {
    Person(Login),
    Team(String),
}

#[derive(Debug, thiserror::Error)]
pub enum TeamsError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("it must be an object of lists, such as {{\"org/team\": [\"alice\", \"bob\"]}}; {0}")]
    Shape(String),
}

impl Teams {
    /// `{"org/team": ["alice", "org/other-team", …], …}`, names with or without `@`.
    pub fn parse(json: &[u8]) -> Result<Self, TeamsError> {
        let Value::Object(object) = serde_json::from_slice(json)? else {
            return Err(TeamsError::Shape("this is none".into()));
        };
        let mut teams = Self::default();
        for (team, members) in object {
            let wrong = || TeamsError::Shape(format!("the value of {} is none", crate::text::quoted(&team)));
            let members = members.as_array().ok_or_else(wrong)?;
            let names = members.iter().map(|member| member.as_str().ok_or_else(wrong));
            let names = names.collect::<Result<Vec<&str>, TeamsError>>()?;
            teams.insert(&team, names);
        }
        Ok(teams)
    }

    /// Adds members to a team.
    pub fn insert<'a>(&mut self, team: &str, members: impl IntoIterator<Item = &'a str>) {
        let members = members.into_iter().map(|member| match member.contains('/') {
            true => Member::Team(key(member)),
            false => Member::Person(Login::new(member)),
        });
        self.members.entry(key(team)).or_default().extend(members);
    }

    pub fn knows(&self, team: &str) -> bool {
        self.of(&key(team)).is_some()
    }

    /// The people behind owners, teams within teams included. A cycle of teams has the members of all of them.
    pub fn people(&self, owners: &[Owner]) -> BTreeSet<Login> {
        let mut people = BTreeSet::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        // Each team is looked into once, so that a cycle ends and a deep nesting loses nobody.
        let mut waiting: Vec<String> = Vec::new();
        for owner in owners {
            match owner {
                Owner::Person(name) => {
                    people.insert(Login::new(name));
                }
                Owner::Team(name) => waiting.push(key(name)),
            }
        }
        while let Some(team) = waiting.pop() {
            let Some((name, members)) = self.of(&team) else { continue };
            if !seen.insert(name) {
                continue;
            }
            for member in members {
                match member {
                    Member::Person(login) => {
                        people.insert(login.clone());
                    }
                    Member::Team(team) => waiting.push(team.clone()),
                }
            }
        }
        people
    }

    /// By its whole name, else by the team's own.
    fn of(&self, team: &str) -> Option<(&str, &[Member])> {
        let short = team.rsplit_once('/').map_or(team, |(_, short)| short);
        let found = self.members.get_key_value(team).or_else(|| self.members.get_key_value(short))?;
        Some((found.0.as_str(), found.1.as_slice()))
    }
}

fn key(team: &str) -> String {
    Login::new(team).as_str().to_lowercase()
}
