//! Reviews by tables and against brute force.

use super::*;
use proptest::prelude::*;

fn logins(names: &[&str]) -> BTreeSet<Login> {
    names.iter().map(Login::new).collect()
}

fn answer(
    owners: &str,
    teams: &str,
    changed: &[&str],
    approved: &[&str],
    author: &str,
    count: usize,
) -> Missing {
    let (owners, teams) = (CodeOwners::parse(owners), Teams::parse(teams.as_bytes()).unwrap());
    let approved = logins(approved);
    let files = changed.iter().map(|path| FileAsked { path, count, approved: &approved }).collect();
    missing(&Asked { owners: &owners, teams: &teams, author: &Login::new(author), files })
}

/// Per short file `path have/need candidates`, then the set, then what is impossible.
fn told(missing: &Missing) -> (Vec<String>, String, String) {
    let joined = |logins: &[Login]| logins.iter().map(Login::as_str).collect::<Vec<_>>().join(" ");
    let short =
        missing.short.iter().map(|s| format!("{} {}/{} {}", s.path, s.have, s.need, joined(&s.candidates)));
    (short.collect(), joined(&missing.smallest_set), missing.impossible.join(" "))
}

fn check(answer: &Missing, short: &[&str], set: &str, impossible: &str) {
    let expect = (short.iter().map(|s| (*s).to_owned()).collect(), set.to_owned(), impossible.to_owned());
    assert_eq!(told(answer), expect);
}

#[test]
fn two_owners_and_never_the_author() {
    let owners = "* @a @b @c\n/docs/ @d\n";
    check(&answer(owners, "{}", &["x"], &["a", "b"], "z", 2), &[], "", "");
    check(&answer(owners, "{}", &["x"], &["a"], "z", 2), &["x 1/2 b c"], "b", "");
    check(&answer(owners, "{}", &["x"], &["a", "b"], "a", 2), &["x 1/2 c"], "c", "");
    check(&answer(owners, "{}", &["x"], &["z", "y"], "z", 2), &["x 0/2 a b c"], "a b", "");
    check(&answer(owners, "{}", &["docs/x"], &[], "z", 2), &["docs/x 0/2 d"], "d", "docs/x");
    check(&answer(owners, "{}", &["docs/x"], &["d"], "z", 2), &["docs/x 1/2 "], "", "docs/x");
    check(&answer(owners, "{}", &["docs/x"], &[], "d", 2), &["docs/x 0/2 "], "", "docs/x");
    check(&answer(owners, "{}", &["x"], &["A", "@B"], "Z", 2), &[], "", "");
    check(&answer(owners, "{}", &["x"], &[], "z", 0), &[], "", "");
}

#[test]
fn a_cycle_of_teams_has_the_members_of_all_of_them() {
    let teams =
        r#"{"o/a": ["p", "o/b"], "o/b": ["q", "o/c"], "o/c": ["@o/a", "r", "o/c"], "o/self": ["o/self"]}"#;
    for owners in ["* @o/a\n", "* @o/b\n", "* @o/c @o/a @o/b\n"] {
        check(&answer(owners, teams, &["x"], &["q"], "p", 2), &["x 1/2 r"], "r", "");
    }
    // Nobody is behind a team that has only itself.
    check(&answer("* @o/self\n", teams, &["x"], &[], "z", 2), &["x 0/2 "], "", "x");
}

#[test]
fn teams_within_teams_lose_nobody_however_deep() {
    let depth = 5_000;
    let chain: Vec<String> = (0..depth).map(|n| format!("\"o/t{n}\": [\"o/t{}\"]", n + 1)).collect();
    let teams = format!("{{{}, \"o/t{depth}\": [\"p\", \"q\"]}}", chain.join(", "));
    check(&answer("* @o/t0\n", &teams, &["x"], &["q"], "z", 2), &["x 1/2 p"], "p", "");
}

#[test]
fn nothing_is_asked_for_files_without_owners() {
    let missing = answer("/a/ @a\n/a/b\n", "{}", &["a/b", "a/b/c", "x"], &[], "z", 2);
    check(&missing, &[], "", "");
    assert_eq!(missing.unowned, 3);
}

#[test]
fn one_person_for_several_files() {
    let owners = "/a @p @q\n/b @q @r\n/c @s @q\n";
    check(
        &answer(owners, "{}", &["a", "b", "c"], &[], "z", 1),
        &["a 0/1 p q", "b 0/1 q r", "c 0/1 q s"],
        "q",
        "",
    );
    check(&answer(owners, "{}", &["a", "a"], &[], "z", 1), &["a 0/1 p q"], "p", "");
}

#[test]
fn teams_are_people_also_in_a_circle() {
    let teams = r#"{"@org/one": ["@alice", "org/two"], "org/two": ["bob", "org/one", "org/three"], "three": ["Carol"]}"#;
    check(&answer("* @ORG/One\n", teams, &["x"], &["BOB"], "alice", 2), &["x 1/2 Carol"], "Carol", "");
    check(&answer("* @org/none @dora\n", teams, &["x"], &[], "z", 2), &["x 0/2 dora"], "dora", "x");
    for bad in ["[]", "{\"a\": 1}", "{\"a\": [1]}", "{", "", "null"] {
        assert!(Teams::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

proptest! {
    /// The whole answer against its definition, by trying every set of people.
    #[test]
    fn the_answer_is_its_definition(
        lines in proptest::collection::vec(proptest::collection::vec(0..6_usize, 0..4), 1..6),
        approved in proptest::collection::btree_set(0..6_usize, 0..4),
        author in 0..6_usize,
        count in 0..4_usize,
    ) {
        let name = |n: usize| format!("p{n}");
        let text: String = lines.iter().enumerate().map(|(n, line)| {
            format!("/f{n} {}\n", line.iter().map(|p| format!("@{}", name(*p))).collect::<Vec<_>>().join(" "))
        }).collect();
        let changed: Vec<String> = (0..lines.len()).map(|n| format!("f{n}")).collect();
        let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
        let approved: Vec<String> = approved.into_iter().map(name).collect();
        let approved: Vec<&str> = approved.iter().map(String::as_str).collect();
        let found = answer(&text, "{}", &changed, &approved, &name(author), count);

        let owners = |n: usize| lines[n].iter().copied().filter(|p| *p != author).collect::<BTreeSet<_>>();
        let holds = |set: u32, p: usize| set & (1 << p) != 0 || approved.contains(&name(p).as_str());
        let best = (0..1_u32 << 6).filter(|set| (0..lines.len()).all(|n| {
            let owners = owners(n);
            owners.iter().filter(|p| holds(*set, **p)).count() >= count.min(owners.len())
        })).map(u32::count_ones).min().unwrap() as usize;
        prop_assert_eq!(found.smallest_set.len(), best);
        for (n, line) in lines.iter().enumerate() {
            let have = owners(n).iter().filter(|p| holds(0, **p)).count();
            let path = format!("f{n}");
            let owned = !line.is_empty();
            prop_assert_eq!(found.short.iter().any(|s| s.path == path), owned && have < count);
            prop_assert_eq!(found.impossible.contains(&path), owned && owners(n).len() < count);
        }
    }
}
