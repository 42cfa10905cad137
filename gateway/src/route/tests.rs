//! The table by cases, and against a search through all rules.

use super::*;
use proptest::prelude::*;

/// `/a/{b}$?2` is an exact path with a parameter and two conditions.
fn rule(host: &str, methods: &str, path: &str) -> Rule {
    let host = match host {
        "" => HostPattern::Any,
        _ => match host.strip_prefix("*.") {
            Some(name) => HostPattern::Under(name.into()),
            None => HostPattern::Exact(host.into()),
        },
    };
    let methods = match methods {
        "" => Methods::ALL,
        list => list.split(' ').fold(Methods::NONE, |all, name| all.union(Methods::only(Verb::of(name)))),
    };
    let (path, conditions) = path.split_once('?').unwrap_or((path, "0"));
    let condition = |n| Condition { of: Part::Field, name: format!("x-{n}"), value: None };
    let conditions = (0..conditions.parse().expect("a number")).map(condition).collect();
    let (prefix, exact) = path.strip_suffix('$').map_or((path, false), |path| (path, true));
    Rule { host, methods, prefix: prefix.into(), exact, conditions }
}

fn check(table: &Table, request: &str, expect: Option<u32>) {
    let [verb, host, path] = request.split(' ').collect::<Vec<_>>()[..] else { panic!("{request}") };
    let expect = expect.map_or(Found::Nothing, |n| Found::Route(RouteId(n)));
    assert_eq!(table.find(host, Verb::of(verb), path), expect, "{request}");
}

#[test]
fn the_most_specific_route_wins() {
    let table = Table::build(&[
        rule("", "", "/"),
        rule("", "", "/api"),
        rule("", "", "/api/v1/users"),
        rule("a.example.com", "", "/"),
        rule("*.example.com", "", "/api"),
        rule("*.b.example.com", "", "/api/v1"),
        rule("example.com", "", "/only"),
        rule("[::1]", "", "/six"),
    ])
    .expect("no clash");
    check(&table, "GET x /", Some(0));
    check(&table, "GET x /apix", Some(0));
    check(&table, "GET x /api", Some(1));
    check(&table, "GET x /api/", Some(1));
    check(&table, "GET x /api/x", Some(1));
    check(&table, "GET x /api/v1/user", Some(1));
    check(&table, "GET x /api/v1/users/7", Some(2));
    check(&table, "GET a.example.com /api/v1/users/7", Some(3));
    check(&table, "GET A.Example.COM.:8080 /", Some(3));
    check(&table, "GET c.example.com /api/v1/users/7", Some(4));
    check(&table, "GET x.y.example.com /api", Some(4));
    check(&table, "GET x.b.example.com /api/v1/z", Some(5));
    check(&table, "GET x.b.example.com /api/v2", Some(4));
    check(&table, "GET x.b.example.com /", Some(0));
    check(&table, "GET b.example.com /api/v1", Some(4));
    check(&table, "GET example.com /only", Some(6));
    check(&table, "GET example.com /api", Some(1));
    check(&table, "GET notexample.com /only", Some(0));
    check(&table, "GET [::1]:80 /six", Some(7));
    check(&table, "GET [::1] /six/x", Some(7));
    check(&table, &format!("GET {}.example.com /api/v1", "x".repeat(300)), Some(1));
}

#[test]
fn methods_come_after_the_prefix_among_routes_that_match() {
    let table = Table::build(&[
        rule("", "GET HEAD", "/files"),
        rule("", "PUT", "/files/new"),
        rule("", "", "/open"),
        rule("", "POST", "/open/"),
        rule("", "DELETE", "/open"),
    ])
    .expect("no clash");
    check(&table, "GET x /files/new", Some(0));
    check(&table, "PUT x /files/new/y", Some(1));
    check(&table, "GET x /open/z", Some(2));
    check(&table, "BREW x /open", Some(2));
    check(&table, "POST x /open", Some(3));
    check(&table, "DELETE x /open", Some(4));
    check(&table, "GET x /elsewhere", None);
    let Found::WrongMethod(allowed) = table.find("x", Verb::Post, "/files/new") else { panic!("a route") };
    assert_eq!(allowed.to_string(), "GET, HEAD, PUT");
}

#[test]
fn rules_that_match_the_same_requests_clash() {
    let clash = |rules: &[Rule]| Table::build(rules).err().map(|clash| (clash.first, clash.second));
    assert_eq!(clash(&[rule("", "", "/a"), rule("", "", "/b"), rule("", "", "/a/")]), Some((0, 2)));
    assert_eq!(clash(&[rule("h", "GET PUT", "/a"), rule("h", "PUT", "/a")]), Some((0, 1)));
    assert_eq!(clash(&[rule("h", "GET", "/a"), rule("h", "PUT", "/a"), rule("h", "", "/a")]), None);
    assert_eq!(clash(&[rule("h", "", "/a"), rule("*.h", "", "/a"), rule("", "", "/a")]), None);
}

#[test]
fn an_empty_table_finds_nothing() {
    let table = Table::build(&[]).expect("no clash");
    check(&table, "GET x /", None);
}

#[test]
fn literals_win_over_parameters_and_ends_over_prefixes() {
    let table = Table::build(&[
        rule("", "", "/users"),
        rule("", "", "/users$"),
        rule("", "", "/users/{id}"),
        rule("", "", "/users/{id}/orders$"),
        rule("", "", "/users/me"),
        rule("", "GET", "/users/{id}/orders/{order}$"),
        rule("", "", "/$"),
    ])
    .expect("no clash");
    check(&table, "GET x /", Some(6));
    check(&table, "GET x /a", None);
    check(&table, "GET x /users", Some(1));
    check(&table, "GET x /users/", Some(1));
    check(&table, "GET x /users/7", Some(2));
    check(&table, "GET x /users/7/orders", Some(3));
    check(&table, "GET x /users/7/orders/", Some(3));
    check(&table, "GET x /users/7/other", Some(2));
    check(&table, "GET x /users/me/orders", Some(4));
    check(&table, "GET x /users/7/orders/9", Some(5));
    check(&table, "PUT x /users/7/orders/9", Some(2));
    check(&table, "GET x /users/7/orders/9/10", Some(2));
}

#[test]
fn conditions_are_asked_for_and_the_most_come_first() {
    let rules = [rule("", "", "/a"), rule("", "", "/a?2"), rule("", "GET", "/a?1"), rule("", "PUT", "/a")];
    let table = Table::build(&rules).expect("no clash");
    let find = |holds: &[u32]| table.find_where("x", Verb::Get, "/a/b", |id| holds.contains(&id.0));
    assert_eq!(find(&[]), Found::Route(RouteId(0)));
    assert_eq!(find(&[2]), Found::Route(RouteId(2)));
    assert_eq!(find(&[1, 2]), Found::Route(RouteId(1)));
    assert_eq!(table.find("x", Verb::Put, "/a"), Found::Route(RouteId(3)));
    let clash = |rules: &[Rule]| Table::build(rules).err().map(|clash| (clash.first, clash.second));
    assert_eq!(clash(&[rule("", "", "/a?1"), rule("", "", "/a?1")]), Some((0, 1)));
    assert_eq!(clash(&[rule("", "", "/a/{b}"), rule("", "", "/a/{c}")]), Some((0, 1)));
    assert_eq!(clash(&[rule("", "", "/a?1"), rule("", "", "/a?2"), rule("", "", "/a$")]), None);
}

/// The rules of [`Table::find_where`], word for word, over the whole list. A route's conditions hold where its
/// place is even.
fn naive(rules: &[Rule], host: &str, verb: Verb, path: &str) -> Found {
    let segments = |text: &str| -> Vec<String> {
        text.split('/').skip(1).filter(|s| !s.is_empty()).map(String::from).collect()
    };
    let host_rank = |pattern: &HostPattern| match pattern {
        HostPattern::Any => Some(0),
        HostPattern::Exact(name) => (name == host).then_some(usize::MAX),
        HostPattern::Under(name) => host.ends_with(&format!(".{name}")).then_some(name.len()),
    };
    let path = segments(path);
    let mut allowed = Methods::NONE;
    let mut best = None;
    for (index, rule) in rules.iter().enumerate() {
        let own = segments(&rule.prefix);
        let Some(host_rank) = host_rank(&rule.host) else { continue };
        let fits = own.iter().zip(&path).all(|(own, asked)| parameter(own).is_some() || own == asked);
        let ends = own.len() == path.len() || (own.len() < path.len() && !rule.exact);
        if !fits || !ends || !(rule.conditions.is_empty() || index % 2 == 0) {
            continue;
        }
        if !rule.methods.contains(verb) {
            allowed = allowed.union(rule.methods);
            continue;
        }
        let mut path_rank: Vec<u8> =
            own.iter().map(|own| if parameter(own).is_some() { 2 } else { 3 }).collect();
        path_rank.push(u8::from(rule.exact));
        let named = rule.methods != Methods::ALL;
        let key = (host_rank, path_rank, rule.conditions.len(), named, usize::MAX - index);
        if best.as_ref().is_none_or(|(known, _)| key > *known) {
            best = Some((key, index));
        }
    }
    match best {
        Some((_, index)) => Found::Route(RouteId(index as u32)),
        None if allowed == Methods::NONE => Found::Nothing,
        None => Found::WrongMethod(allowed),
    }
}

fn some_rule() -> impl Strategy<Value = Rule> {
    (
        prop::sample::select(vec!["", "a", "b.a", "*.a", "*.b.a", "c.b.a", "*.c.b.a"]),
        prop::sample::select(vec!["", "GET", "POST", "GET PUT"]),
        "(/([ab]{1,2}|[{]p[}])){0,3}/?",
        prop::sample::select(vec!["", "$", "?1", "?2", "$?1"]),
    )
        .prop_map(|(host, methods, path, end)| {
            let path = if path.is_empty() { "/" } else { &path };
            rule(host, methods, &format!("{path}{end}"))
        })
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_search_through_all_rules(
        rules in prop::collection::vec(some_rule(), 0..40),
        requests in prop::collection::vec(
            (
                prop::sample::select(vec!["a", "b.a", "c.b.a", "d.c.b.a", "x.b.a", "x", "xa"]),
                prop::sample::select(vec![Verb::Get, Verb::Post, Verb::Put, Verb::Other]),
                "(/[ab]{1,2}){0,4}/?",
            ),
            1..20,
        ),
    ) {
        let mut kept = Vec::new();
        for rule in rules {
            kept.push(rule);
            if Table::build(&kept).is_err() {
                kept.pop();
            }
        }
        let table = Table::build(&kept).expect("clashes were left out");
        for (host, verb, path) in requests {
            let path = if path.is_empty() { "/" } else { &path };
            let found = table.find_where(host, verb, path, |id| id.index() % 2 == 0);
            prop_assert_eq!(found, naive(&kept, host, verb, path), "{} {}", host, path);
        }
    }
}
