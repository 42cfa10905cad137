//! Which commit a history is measured against: the newest release's tag, or what the configuration names. Pure, but for
//! reading names from git.

use crate::git::{GitError, History};
use perfsuite::model::Sha;

/// The configuration's word for the newest release.
pub const LATEST_RELEASE: &str = "latest-release";

/// A commit and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub sha: Sha,
    pub name: String,
}

/// The commit that the configuration means; `None` where there is none: no release yet, or no such name.
pub fn resolve(history: &History, wanted: &str) -> Result<Option<Named>, GitError> {
    let tags = history.tags()?;
    let of_tag = |(name, sha): &(String, Sha)| Named { sha: sha.clone(), name: name.clone() };
    if wanted == LATEST_RELEASE {
        let newest = tags.iter().filter_map(|tag| Some((release(&tag.0)?, tag))).max_by(|a, b| a.0.cmp(&b.0));
        return Ok(newest.map(|(_, tag)| of_tag(tag)));
    }
    if let Some(tag) = tags.iter().find(|(name, _)| name == wanted) {
        return Ok(Some(of_tag(tag)));
    }
    Ok(history.commit_of_digits(wanted).map(|sha| Named { name: sha.short().to_owned(), sha }))
}

/// A release's version: three numbers at a tag's end, with or without a `v` or a name before them. Anything behind
/// them is a pre-release.
fn release(tag: &str) -> Option<[u64; 3]> {
    let start = tag.rfind(|c: char| !c.is_ascii_digit() && c != '.').map_or(0, |at| at + 1);
    let (before, version) = (&tag[..start], &tag[start..]);
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    let version = [parts.next()??, parts.next()??, parts.next()??];
    let named = before.is_empty() || before == "v" || before.ends_with("-v") || before.ends_with("/v");
    // A name that ends in a version of its own (`v1.0.0-rc.1.2.3`) is a pre-release's.
    let plain = !before.bytes().any(|b| b.is_ascii_digit());
    (parts.next().is_none() && (named || before.ends_with(['-', '/'])) && plain).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_from_other_tags() {
        for (tag, expect) in [
            ("v1.2.3", Some([1, 2, 3])),
            ("1.2.3", Some([1, 2, 3])),
            ("gateway-v1.10.0", Some([1, 10, 0])),
            ("gateway/v0.1.0", Some([0, 1, 0])),
            ("gateway-1.0.0", Some([1, 0, 0])),
            ("v1.2.3-rc.1", None),
            ("v1.0.0-rc.1.2.3", None),
            ("v1.2", None),
            ("v1.2.3.4", None),
            ("nightly", None),
            ("", None),
            ("v", None),
            ("v1..3", None),
            ("v99999999999999999999.0.0", None),
        ] {
            assert_eq!(release(tag), expect, "{tag}");
        }
        assert!(release("v1.10.0") > release("v1.9.9"));
    }
}
