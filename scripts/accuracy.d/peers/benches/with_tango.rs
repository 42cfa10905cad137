use tango_bench::{benchmark_fn, tango_benchmarks, tango_main, IntoBenchmarks};

fn all() -> impl IntoBenchmarks {
    let named = |at: usize| {
        let name = peers::all()[at].name;
        benchmark_fn(name, move |b| {
            let mut run = peers::all().swap_remove(at).run;
            b.iter(move || run())
        })
    };
    (0..peers::all().len()).map(named).collect::<Vec<_>>()
}

tango_benchmarks!(all());
tango_main!();
