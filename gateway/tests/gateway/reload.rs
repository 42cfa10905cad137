//! Another configuration while requests go on: taken, refused, and what outlives it.

use crate::support::*;

fn limited(shop: &Upstream, requests: u32, more: &str) -> String {
    let limit = format!("limit = {{ requests = {requests}, window_ms = 3600000, key = \"route\" }}");
    [shop.table("shop", ""), route("all", "/", "shop", &limit), more.into()].concat()
}

#[test]
fn a_valid_file_takes_effect_and_an_invalid_one_does_not() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let tables = |upstream: &Upstream| [upstream.table("shop", ""), route("all", "/", "shop", "")].concat();
    let gateway = Gateway::start(&tables(&one));
    let mut client = gateway.client();
    assert_eq!(client.get("/").text(), "one");
    gateway.change(&tables(&two));
    assert_eq!(client.get("/").text(), "two", "on a connection from before, too");
    gateway.change("nonsense = 1");
    assert_eq!(client.get("/").text(), "two");
    gateway.change(&route("all", "/", "nowhere", ""));
    assert_eq!(client.get("/").text(), "two");
    gateway.metric_becomes("gateway_config_reloads_total{outcome=\"taken\"}", 1.0);
    gateway.metric_becomes("gateway_config_reloads_total{outcome=\"refused\"}", 2.0);
    gateway.change(&tables(&one));
    assert_eq!(client.get("/").text(), "one");
    gateway.stop();
}

#[test]
fn a_changed_file_is_noticed_without_being_told() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let tables = |upstream: &Upstream| [upstream.table("shop", ""), route("all", "/", "shop", "")].concat();
    let gateway = Gateway::start(&tables(&one));
    let text = std::fs::read_to_string(gateway.config()).expect("a file");
    let changed = text.replace(&one.address.to_string(), &two.address.to_string());
    // Replaced as editors do it: a new file under the old name.
    let beside = gateway.config().with_extension("new");
    std::fs::write(&beside, changed).expect("a file");
    std::fs::rename(&beside, gateway.config()).expect("a rename");
    until("the file is noticed", || gateway.get("/").text() == "two");
    gateway.stop();
}

#[test]
fn limits_and_breakers_outlive_a_reload_by_name() {
    let shop = Upstream::named("shop");
    let gateway = Gateway::start(&limited(&shop, 2, ""));
    assert_eq!([gateway.get("/").status, gateway.get("/").status, gateway.get("/").status], [200, 200, 429]);
    gateway.change(&limited(&shop, 2, &route("more", "/more", "shop", "")));
    assert_eq!(gateway.get("/").status, 429);
    gateway.change(&limited(&shop, 3, ""));
    assert_eq!([gateway.get("/").status, gateway.get("/").status], [200, 429], "what was used stays used");
    gateway.metric_becomes("gateway_requests_total{route=\"all\",class=\"2xx\"}", 3.0);

    let (_held, dead) = dead_address();
    let broken = |more: &str| {
        let rule = "breaker = { failures = 1, open_ms = 3600000, half_open_max = 1 }";
        let table = format!("[[upstream]]\nname = \"dead\"\naddresses = [\"{dead}\"]\n{rule}\n");
        [table, route("dead", "/", "dead", ""), more.into()].concat()
    };
    gateway.change(&broken(""));
    assert_eq!([gateway.get("/").status, gateway.get("/").status], [502, 503]);
    gateway.change(&broken(&route("more", "/more", "dead", "")));
    assert_eq!(gateway.get("/").status, 503);
    gateway.stop();
}

#[test]
fn thousands_of_routes_are_taken_without_a_failed_request() {
    let shop = Upstream::named("shop");
    let tables = |version: usize| {
        let mut all = [shop.table("shop", ""), route("all", "/", "shop", "")].concat();
        for n in 0..5_000 {
            all.push_str(&route(
                &format!("r{n}"),
                &format!("/v{version}/service-{}/resource-{n}", n % 97),
                "shop",
                "",
            ));
        }
        all
    };
    let gateway = Gateway::start(&tables(0));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut client, mut asked) = (gateway.client(), 0);
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        assert_eq!(client.get("/v1/service-7/resource-7/x").status, 200);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for version in 1..3 {
            gateway.change(&tables(version));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        for client in clients {
            assert!(client.join().expect("no failed request") > 0);
        }
    });
    assert_eq!(gateway.metric("gateway_config_reloads_total{outcome=\"taken\"}"), Some(2.0));
    assert_eq!(gateway.metric("gateway_config_routes"), Some(5_001.0));
    gateway.stop();
}
