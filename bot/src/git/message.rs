//! What a commit's first line says of where it came from. Pure.

/// The pull request that brought it: `fix: a thing (#12)` of a squash or rebase, `Merge pull request #12 from …`.
pub fn pull_number(subject: &str) -> Option<u64> {
    let digits = match subject.strip_prefix("Merge pull request #") {
        Some(rest) => rest.split(' ').next()?,
        None => subject.trim_end().strip_suffix(')')?.rsplit_once("(#")?.1,
    };
    let plain = (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok().filter(|number| *number > 0) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_names_its_pull_request() {
        for (subject, expect) in [
            ("fix: a thing (#12)", Some(12)),
            ("Merge pull request #7 from acme/topic", Some(7)),
            ("Revert \"fix: a thing (#12)\" (#13)", Some(13)),
            ("fix: a thing", None),
            ("fix: see (#12) there", None),
            ("fix: (#x)", None),
            ("fix: (#0)", None),
            ("fix: (#99999999999999999999)", None),
            ("", None),
        ] {
            assert_eq!(pull_number(subject), expect, "{subject}");
        }
    }
}
