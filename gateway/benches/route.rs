//! What routing costs a request: the table by size and by outcome, hosts, and the normal form of a path.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gateway::path::normalize;
use gateway::route::{HostPattern, Methods, Rule, Table, Verb};
use std::cell::LazyCell;
use std::hint::black_box;

/// How many requests one iteration cycles through, so that no branch predictor learns a single path.
const REQUESTS: usize = 64;

fn prefix_rule(n: usize) -> Rule {
    let methods = match n % 4 {
        0 => Methods::only(Verb::Get).union(Methods::only(Verb::Head)),
        _ => Methods::ALL,
    };
    let prefix = format!("/api/v{}/service-{}/resource-{n}", n % 3 + 1, n % 97);
    Rule::prefix(HostPattern::Any, methods, prefix)
}

fn prefix_table(size: usize) -> Table {
    let rules: Vec<Rule> = (0..size).map(prefix_rule).collect();
    Table::build(&rules).expect("every prefix is its own")
}

/// Spreads the requests over the whole table, in an order without a pattern.
fn spread(n: usize, size: usize) -> usize {
    n.wrapping_mul(0x9e37_79b9) % size
}

fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/match");
    group.throughput(Throughput::Elements(REQUESTS as u64));
    for size in [10, 1_000, 100_000] {
        let state = LazyCell::new(move || {
            let paths: Vec<String> =
                (0..REQUESTS).map(|n| prefix_rule(spread(n, size)).prefix + "/12345/orders").collect();
            (prefix_table(size), paths)
        });
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let (table, paths) = &*state;
            b.iter(|| {
                for path in paths {
                    black_box(table.find("shop.example", Verb::Get, black_box(path)));
                }
            });
        });
    }
    group.finish();
}

fn miss(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/miss");
    group.throughput(Throughput::Elements(REQUESTS as u64));
    let table = LazyCell::new(|| prefix_table(1_000));
    let paths = |at: &str| -> Vec<String> { (0..REQUESTS).map(|n| format!("{at}/x-{n}/12345")).collect() };
    for (name, at) in [("first", ""), ("last", "/api/v1/service-0")] {
        let paths = paths(at);
        group.bench_function(name, |b| {
            let table = &*table;
            b.iter(|| {
                for path in &paths {
                    black_box(table.find("shop.example", Verb::Get, black_box(path)));
                }
            });
        });
    }
    group.finish();
}

fn host(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/host");
    group.throughput(Throughput::Elements(REQUESTS as u64));
    let table = LazyCell::new(|| {
        let rules: Vec<Rule> = (0..1_000)
            .map(|n| {
                let name = format!("tenant-{n}.example.com");
                let host = if n % 2 == 0 { HostPattern::Exact(name) } else { HostPattern::Under(name) };
                Rule::prefix(host, Methods::ALL, "/")
            })
            .collect();
        Table::build(&rules).expect("every host is its own")
    });
    let hosts = |before: &str, odd: usize| -> Vec<String> {
        (0..REQUESTS)
            .map(|n| format!("{before}tenant-{}.Example.com:8080", spread(n, 500) * 2 + odd))
            .collect()
    };
    for (name, hosts) in
        [("exact", hosts("", 0)), ("wildcard", hosts("a.b.", 1)), ("unknown", hosts("un", 0))]
    {
        group.bench_function(name, |b| {
            let table = &*table;
            b.iter(|| {
                for host in &hosts {
                    black_box(table.find(black_box(host), Verb::Get, "/"));
                }
            });
        });
    }
    group.finish();
}

type Make = fn(usize) -> String;

fn paths(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/normalize");
    group.throughput(Throughput::Elements(REQUESTS as u64));
    let cases: [(&str, Make); 4] = [
        ("clean", |n| format!("/api/v1/users/{n}/orders")),
        ("long", |n| format!("/static{}/{n}.js", "/a-longer-segment".repeat(12))),
        ("escaped", |n| format!("/files/%7Euser-{n}/caf%c3%a9/na%20me")),
        ("dots", |n| format!("/a/./b-{n}/../c//d/../e")),
    ];
    for (name, make) in cases {
        let paths: Vec<String> = (0..REQUESTS).map(make).collect();
        group.bench_function(name, |b| {
            b.iter(|| {
                for path in &paths {
                    let _ = black_box(normalize(black_box(path)));
                }
            });
        });
    }
    group.finish();
}

/// Paths with parameters, among literals that share their fronts.
fn parameters(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/parameters");
    group.throughput(Throughput::Elements(REQUESTS as u64));
    for size in [1_000, 100_000] {
        let state = LazyCell::new(move || {
            let rule = |n: usize| {
                let path = format!("/api/v{}/service-{}/{{id}}/resource-{n}", n % 3 + 1, n % 97);
                Rule { exact: true, ..Rule::prefix(HostPattern::Any, Methods::ALL, path) }
            };
            let rules: Vec<Rule> = (0..size).map(rule).collect();
            let paths: Vec<String> =
                (0..REQUESTS).map(|n| rule(spread(n, size)).prefix.replace("{id}", &n.to_string())).collect();
            (Table::build(&rules).expect("every path is its own"), paths)
        });
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let (table, paths) = &*state;
            b.iter(|| {
                for path in paths {
                    black_box(table.find("shop.example", Verb::Get, black_box(path)));
                }
            });
        });
    }
    group.finish();
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/build");
    for size in [1_000, 100_000] {
        let rules = LazyCell::new(move || (0..size).map(prefix_rule).collect::<Vec<_>>());
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let rules = &*rules;
            b.iter(|| Table::build(black_box(rules)));
        });
    }
    group.finish();
}

criterion_group!(benches, find, miss, host, paths, parameters, build);
criterion_main!(benches);
