//! What the demonstration's pull request changes: a real slowdown in routing, and a real improvement elsewhere.
//!
//! Every edit swaps a few lines of the gateway for others that do the same thing at another cost. The slowdown goes
//! from the natural lines to the slow ones; the improvement's slow lines stand on the main branch already, and the
//! pull request brings the natural ones.

use super::source::Files;
use anyhow::bail;

/// The same behaviour in two costs.
#[derive(Debug)]
struct Edit {
    /// The function, for people.
    function: &'static str,
    /// How much slower, for people.
    size: &'static str,
    path: &'static str,
    natural: &'static str,
    slow: &'static str,
    /// Benchmarks that run it begin with one of these; the first is the one that shows it most.
    benchmarks: &'static [&'static str],
}

const SLOWDOWNS: [Edit; 8] = [
    Edit {
        function: "path::normalize",
        size: "much",
        path: "gateway/src/path.rs",
        natural: "    if looks_normal(bytes) {\n        return Ok(Cow::Borrowed(path));\n    }\n    rewrite(path).map(Cow::Owned)\n",
        slow: "    match looks_normal(bytes) {\n        true => rewrite(path).map(Cow::Owned),\n        false => rewrite(path).map(Cow::Owned),\n    }\n",
        benchmarks: &["route/normalize/"],
    },
    Edit {
        function: "route::Trie::hash",
        size: "much",
        path: "gateway/src/route/trie.rs",
        natural: "    while let Some((word, after)) = rest.split_first_chunk::<8>() {\n        state = fold(state ^ u64::from_le_bytes(*word), MIX_A);\n",
        slow: "    while let Some((byte, after)) = rest.split_first() {\n        state = fold(state ^ u64::from(*byte), MIX_A);\n",
        benchmarks: &["route/match/", "route/miss/", "route/host/", "route/parameters/", "route/build/"],
    },
    Edit {
        function: "route::Table::longest_prefix",
        size: "moderately",
        path: "gateway/src/route.rs",
        natural: "        for segment in path.as_bytes().split(|byte| *byte == b'/').skip(1) {\n",
        slow: "        let segments: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').skip(1).collect();\n        for segment in segments {\n",
        benchmarks: &["route/match/", "route/miss/", "route/host/", "route/parameters/"],
    },
    Edit {
        function: "route::host_name",
        size: "moderately",
        path: "gateway/src/route.rs",
        natural: "    for (to, from) in out.iter_mut().zip(name) {\n        *to = from.to_ascii_lowercase();\n    }\n",
        slow: "    out.copy_from_slice(&name.to_ascii_lowercase());\n",
        benchmarks: &["route/host/", "route/match/", "route/miss/", "route/parameters/"],
    },
    Edit {
        function: "path::looks_normal",
        size: "moderately",
        path: "gateway/src/path.rs",
        natural: "    for &byte in path {\n        if byte == b'%'",
        slow: "    for byte in path.to_vec() {\n        if byte == b'%'",
        benchmarks: &["route/normalize/"],
    },
    Edit {
        function: "route::Trie::hash",
        size: "much",
        path: "gateway/src/route/trie.rs",
        natural: "    let mut rest = text;\n",
        slow: "    let text = text.to_vec();\n    let mut rest = text.as_slice();\n",
        benchmarks: &["route/match/", "route/miss/", "route/host/", "route/parameters/", "route/build/"],
    },
    Edit {
        function: "route::Table::longest_prefix",
        size: "much",
        path: "gateway/src/route.rs",
        natural: "        for segment in path.as_bytes().split(|byte| *byte == b'/').skip(1) {\n",
        slow: "        let segments: Vec<Vec<u8>> =\n            path.as_bytes().split(|byte| *byte == b'/').skip(1).map(<[u8]>::to_vec).collect();\n        for segment in &segments {\n",
        benchmarks: &["route/match/", "route/miss/", "route/host/", "route/parameters/"],
    },
    Edit {
        function: "route::host_name",
        size: "much",
        path: "gateway/src/route.rs",
        natural: "    for (to, from) in out.iter_mut().zip(name) {\n        *to = from.to_ascii_lowercase();\n    }\n",
        slow: "    let lower: String = name.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect();\n    out.iter_mut().zip(lower.chars()).for_each(|(to, from)| *to = from as u8);\n",
        benchmarks: &["route/host/", "route/match/", "route/miss/", "route/parameters/"],
    },
];

const IMPROVEMENTS: [Edit; 2] = [
    Edit {
        function: "limit::Key::new",
        size: "much",
        path: "gateway/src/limit.rs",
        natural: "        hasher.write(who);\n",
        slow: "        who.iter().for_each(|byte| hasher.write_u8(*byte));\n",
        benchmarks: &["limit/key/"],
    },
    Edit {
        function: "headers::remove_hop_by_hop",
        size: "moderately",
        path: "gateway/src/headers.rs",
        natural: "    for name in &HOP_BY_HOP {\n        headers.remove(name);\n    }\n",
        slow: "    for name in &HOP_BY_HOP {\n        headers.remove(name.as_str());\n    }\n",
        benchmarks: &["headers/"],
    },
];

/// A change of words only, in a comment of the source.
const WORDS: (&str, &str, &str) = (
    "gateway/src/path.rs",
    "//! Brings a request path into its one normal form,",
    "//! Turns a request path into its one normal form,",
);

/// What one demonstration is about.
pub struct Story {
    change: Option<(&'static Edit, &'static Edit)>,
}

/// A commit to be made, on `main` or on `topic`.
pub struct Planned {
    pub branch: &'static str,
    pub message: String,
    /// Path and new text.
    pub files: Vec<(String, String)>,
}

impl Story {
    /// The seed picks the function that gets slower, by how much, and the one that gets faster.
    pub fn choose(seed: u64, identical: bool) -> Self {
        let slower = &SLOWDOWNS[(seed % SLOWDOWNS.len() as u64) as usize];
        let faster = &IMPROVEMENTS[(seed / 3 % IMPROVEMENTS.len() as u64) as usize];
        Self { change: (!identical).then_some((slower, faster)) }
    }

    pub fn title(&self) -> &'static str {
        match self.change {
            Some(_) => "Tidy the routing and speed up the edges",
            None => "Better words for the normal form",
        }
    }

    /// What was put in, in words.
    pub fn summary(&self) -> String {
        match self.change {
            None => "nothing that runs has changed".into(),
            Some((slower, faster)) => format!(
                "`{}` {} slower, `{}` {} faster, one commit message that is not conventional",
                slower.function, slower.size, faster.function, faster.size
            ),
        }
    }

    /// Benchmarks that may get slower: a slower row among them is right, one elsewhere is a false alarm.
    pub fn slower(&self) -> &'static [&'static str] {
        self.change.map_or(&[], |(slower, _)| slower.benchmarks)
    }

    pub fn faster(&self) -> &'static [&'static str] {
        self.change.map_or(&[], |(_, faster)| faster.benchmarks)
    }

    /// Whether a commit message breaks the convention.
    pub fn breaks_convention(&self) -> bool {
        self.change.is_some()
    }

    /// The commits of main, then those of the pull request, which are made on `topic`.
    pub fn commits(&self, files: &Files) -> anyhow::Result<Vec<Planned>> {
        let mut base = files.clone();
        if let Some((_, faster)) = self.change {
            swap(&mut base, faster.path, faster.natural, faster.slow)?;
        }
        let mut head = base.clone();
        let mut planned = vec![Planned {
            branch: "main",
            message: "feat(gateway): route, limit and break circuits".into(),
            files: base.into_iter().collect(),
        }];
        let mut topic = |message: String, path: &str, from: &str, to: &str| -> anyhow::Result<()> {
            swap(&mut head, path, from, to)?;
            let files = vec![(path.to_owned(), head[path].clone())];
            planned.push(Planned { branch: "topic", message, files });
            Ok(())
        };
        match self.change {
            None => {
                let (path, from, to) = WORDS;
                topic("docs(path): say what the module does in shorter words".into(), path, from, to)?;
            }
            Some((slower, faster)) => {
                let message = format!(
                    "refactor(route): tidy {}\n\nThe same behaviour in other words.",
                    slower.function
                );
                topic(message, slower.path, slower.natural, slower.slow)?;
                let message = format!("Faster {}", faster.function);
                topic(message, faster.path, faster.slow, faster.natural)?;
            }
        }
        Ok(planned)
    }
}

/// Swaps a text that stands exactly once.
fn swap(files: &mut Files, path: &str, from: &str, to: &str) -> anyhow::Result<()> {
    let Some(text) = files.get_mut(path) else { bail!("the gateway has no file {path}") };
    match text.matches(from).count() {
        1 => *text = text.replacen(from, to, 1),
        count => bail!("the lines to change stand {count} times in {path}, not once:\n{from}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::source;

    #[test]
    fn every_edit_fits_the_gateway_as_it_is() {
        let files = source::files().unwrap();
        for edit in SLOWDOWNS.iter().chain(&IMPROVEMENTS) {
            let mut copy = files.clone();
            swap(&mut copy, edit.path, edit.natural, edit.slow).unwrap();
            swap(&mut copy, edit.path, edit.slow, edit.natural).unwrap();
            assert_eq!(copy[edit.path], files[edit.path], "{}", edit.function);
        }
        for seed in 0..32 {
            let commits = Story::choose(seed, false).commits(&files).unwrap();
            assert_eq!(commits.iter().map(|c| c.branch).collect::<Vec<_>>(), ["main", "topic", "topic"]);
        }
    }

    #[test]
    fn every_benchmark_of_routing_is_known_to_a_slowdown() {
        let files = source::files().unwrap();
        let groups = files["gateway/benches/route.rs"].split("benchmark_group(\"").skip(1);
        let groups: Vec<String> =
            groups.filter_map(|rest| Some(format!("{}/", rest.split_once('"')?.0))).collect();
        assert!(!groups.is_empty());
        for group in groups {
            assert!(SLOWDOWNS.iter().any(|edit| edit.benchmarks.contains(&group.as_str())), "{group}");
        }
    }

    #[test]
    fn an_identical_pull_request_changes_one_comment() {
        let files = source::files().unwrap();
        let commits = Story::choose(1, true).commits(&files).unwrap();
        let [main, topic] = commits.as_slice() else { panic!("one commit each") };
        let (path, after) = &topic.files[0];
        let before = &main.files.iter().find(|(name, _)| name == path).unwrap().1;
        let changed: Vec<_> = before.lines().zip(after.lines()).filter(|(a, b)| a != b).collect();
        assert_eq!(changed.len(), 1);
        assert!(changed[0].0.starts_with("//") && changed[0].1.starts_with("//"));
        assert_eq!(before.lines().count(), after.lines().count());
    }
}
