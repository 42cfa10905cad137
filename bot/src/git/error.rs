//! What can go wrong with git, in words for people and sorted for callers.

/// No text in here ever holds a token: commands get theirs by environment, and what git prints is scrubbed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("the git command was not found: install git 2.32 or newer and make sure that it is on PATH")]
    NoGit,
    #[error("{found} is too old: install git 2.32 or newer")]
    OldGit { found: String },
    #[error("{what} took longer than {seconds} s and was stopped")]
    TimedOut { what: &'static str, seconds: u64 },
    /// The command said no; the end of what it printed.
    #[error("{what} failed: {message}")]
    Failed { what: &'static str, message: String },
    /// A commit, path or branch that is not there.
    #[error("{what} is not in the repository")]
    Missing { what: String },
    #[error("{0}")]
    NoMergeBase(String),
    /// More than the caller allows.
    #[error("more than {max} {what}")]
    TooMany { what: &'static str, max: usize },
    #[error("{what} has {bytes} bytes; at most {max} are read")]
    TooLarge { what: String, bytes: usize, max: usize },
    /// A name or range that cannot be understood; the text says what would be.
    #[error("{0}")]
    Range(String),
    #[error("git: {}", .0.message())]
    Git(#[from] git2::Error),
    #[error("{context}: {source}")]
    Io { context: String, source: std::io::Error },
}

impl GitError {
    pub(super) fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }

    /// In words, where git found objects that it does not take (a tree that leads outside, an address that is an option):
    /// trying again cannot help.
    pub fn refused_objects(&self) -> Option<String> {
        let Self::Failed { message, .. } = self else { return None };
        let line = message.lines().find(|line| line.contains("fsck") || line.contains("error: object "))?;
        let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
        Some(format!("git does not take its objects ({})", line.trim()))
    }

    /// Whether what was asked for is not there, by this side's or the other side's word.
    pub fn absent(&self) -> bool {
        match self {
            Self::Missing { .. } => true,
            // git's own words, in the locale that it is always run in.
            Self::Failed { message, .. } => message.contains("couldn't find remote ref"),
            _ => false,
        }
    }

    pub(super) fn missing(what: impl Into<String>) -> Self {
        Self::Missing { what: what.into() }
    }
}
