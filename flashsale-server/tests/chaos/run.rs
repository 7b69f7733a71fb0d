use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, timeout};

use crate::crowd::Crowds;
use crate::history::now;
use crate::judge::judge;
use crate::options::{Engine, Options};
use crate::report::Report;
use crate::sale::Plan;
use crate::stack::Stack;

/// How long a sale may take beyond the time in which users come, whatever happens.
const SALE_GRACE: Duration = Duration::from_secs(150);

/// Does what the options say; whether nothing was wrong.
pub(crate) async fn run(options: &Options) -> bool {
    let seed = options.seed();
    println!("--seed {seed}");
    let mut good = true;
    for &engine in options.engines() {
        good &= storms(options, engine, seed).await;
    }
    good
}

/// Sale after sale with faults.
async fn storms(options: &Options, engine: Engine, seed: u64) -> bool {
    let began = now();
    let stack = Stack::start(engine).await;
    println!("{engine} engine: started in {:.1?}", now() - began);
    let watch = tokio::spawn(watch(Arc::clone(&stack)));
    let mut report = Report::new(engine, seed);
    let mut crowds = Crowds::default();
    let until = began + Duration::from_secs(options.minutes * 60);
    let enough = |report: &Report| {
        report.sales >= options.sales && report.kills >= options.kills || now() > until
    };
    let mut number = 0;
    while !enough(&report) {
        number += 1;
        let plan = Plan {
            number,
            time: options.sale_time(),
            rate: options.rate,
            seed,
        };
        let playing = plan.play(&stack, &mut crowds);
        let Ok(played) = timeout(options.sale_time() + SALE_GRACE, playing).await else {
            report.trouble("the sale does not end");
            break;
        };
        report.add(&stack, &played);
        report.complain(&played, &judge(engine, &played));
        for trouble in stack.troubles() {
            report.trouble(&trouble);
        }
    }
    watch.abort();
    stack.end();
    report.print();
    report.violations == 0
}

/// Looks whether processes end or panic, and starts again what has ended.
async fn watch(stack: Arc<Stack>) {
    let mut looks = interval(Duration::from_millis(250));
    loop {
        looks.tick().await;
        stack.look();
    }
}
