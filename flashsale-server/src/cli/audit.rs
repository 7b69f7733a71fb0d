use std::borrow::Cow;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use flashsale_core::domain::Decision;
use flashsale_core::services::Verdict;
use serde::Serialize;

use super::command_deps::CommandDeps;
use super::sale::one_line;
use super::{CliError, CommonArgs, database, logging, print, print_json, wording};
#[cfg(feature = "distributed")]
use crate::config::QueueArgs;
use crate::control::{
    AuditFigures, AuditReport, Happening, Reply, Request, SaleLine, TimelineReport,
};

/// `audit SALE`
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Id of the sale
    #[arg(value_name = "SALE", value_parser = clap::value_parser!(i64).range(1..))]
    sale: i64,

    /// Tell what one user tried, from the request to the order, instead
    #[arg(long, value_name = "USER", conflicts_with = "repair")]
    user: Option<String>,

    /// First bring in line what can be: decide attempts that are overdue, and rebuild a stock that
    /// differs from the orders while nothing is in flight
    #[arg(long)]
    repair: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[cfg(feature = "distributed")]
    #[command(flatten)]
    queue: QueueArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Exit code for a sale that could not be audited: neither 1 (drift) nor 2 (violation) is known.
const NOT_AUDITED: u8 = 3;

/// Prints the account; its verdict is the exit code.
pub(super) async fn run(args: AuditArgs) -> Result<ExitCode, CliError> {
    let store = args.common.store.validate()?;
    logging::start(args.common.log.validate()?, "warn");
    let deps = CommandDeps {
        password: None,
        #[cfg(feature = "distributed")]
        queue: args.queue.validate_if_given()?,
    };
    let (sale, repair) = (args.sale, args.repair);
    let request = match args.user {
        Some(user) => Request::UserTimeline { sale, user },
        None => Request::Audit { sale, repair },
    };
    let report = match database::perform(&store, deps, request).await {
        Ok(Reply::Audit(report)) => report,
        Ok(Reply::UserTimeline(timeline)) => {
            let timeline = Timeline::of(&timeline);
            if args.json {
                print_json(&timeline)?;
            } else {
                print(&timeline_text(&timeline))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Ok(other) => {
            database::refused(other).report();
            return Ok(ExitCode::from(NOT_AUDITED));
        }
        Err(failure) => {
            failure.report();
            return Ok(ExitCode::from(NOT_AUDITED));
        }
    };
    if args.json {
        print_json(&Account::of(&report))?;
    } else {
        print(&table(&Account::of(&report)))?;
    }
    Ok(ExitCode::from(match report.figures.verdict {
        Verdict::Exact => 0,
        Verdict::Drift => 1,
        Verdict::Violation => 2,
    }))
}

/// The account of a sale as `--json` prints it.
#[derive(Serialize)]
struct Account<'a> {
    #[serde(flatten)]
    figures: &'a AuditFigures,
    /// What does not add up, in words.
    findings: Vec<String>,
}

impl<'a> Account<'a> {
    fn of(report: &'a AuditReport) -> Self {
        let findings = report.findings.iter();
        Self {
            figures: &report.figures,
            findings: findings.map(|finding| finding.0.to_string()).collect(),
        }
    }
}

/// What one user tried in a sale, as `--json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeline<'a> {
    sale: &'a SaleLine,
    user_id: &'a str,
    /// What happened, the oldest first.
    events: Vec<Event<'a>>,
    /// How things stand now, in words.
    standing: String,
    /// `SUCCESS`, `FAILED`, `PENDING` or `NONE`.
    status: &'static str,
}

/// A line of a [`Timeline`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    at: &'a str,
    what: Cow<'static, str>,
    attempt_id: Option<&'a str>,
    order_id: Option<i64>,
}

impl<'a> Timeline<'a> {
    fn of(timeline: &'a TimelineReport) -> Self {
        let (status, standing) = wording::standing(timeline);
        let events = timeline.events.iter().map(|event| Event {
            at: &event.at,
            what: wording::happening(event.what),
            attempt_id: event.attempt_id.as_deref(),
            order_id: match event.what {
                Happening::Decided(Decision::Success(order)) => Some(order.get()),
                _ => None,
            },
        });
        Self {
            sale: &timeline.sale,
            user_id: &timeline.user_id,
            events: events.collect(),
            standing,
            status,
        }
    }
}

fn table(account: &Account<'_>) -> String {
    let report = account.figures;
    let sale = &report.sale;
    let name = one_line(&sale.product_name);
    let mut text = format!(
        "Sale {}: {name} ({}, {} to {})\n\n",
        sale.id, sale.status, sale.start_time, sale.end_time
    );
    let mut row = |label: &str, units: u64| {
        let _ = writeln!(text, "  {label:<44}{units:>14}");
    };
    row("units put into the sale", report.stock);
    row("units sold, by the orders", report.sold);
    row("units not sold, by the orders", report.remaining);
    if let Some(store) = &report.store {
        row("units sold, as the stock store shows buyers", store.sold);
        row("units held for attempts being decided", store.reserved);
        row("units still to be had", store.available);
        row("attempts that are not decided", store.undecided);
        row("of those, not yet in the queue", store.unpublished);
    }
    if let Some(queued) = report.queued {
        row("items in the queue to be worked on, all sales", queued);
    }
    row("successful orders", report.orders);
    row("failed attempts", report.failed);
    row("buyers with more than one order", report.doubled_users);
    text.push('\n');
    text.push_str(match report.verdict {
        Verdict::Exact => "EXACT: every unit is accounted for.\n",
        Verdict::Drift => {
            "DRIFT: nothing is sold twice; these figures are being brought in line:\n"
        }
        Verdict::Violation => "VIOLATION: something happened that must never happen:\n",
    });
    for finding in &account.findings {
        let _ = writeln!(text, "  - {finding}");
    }
    text
}

fn timeline_text(timeline: &Timeline<'_>) -> String {
    let sale = timeline.sale;
    let name = one_line(&sale.product_name);
    let mut text = format!("Sale {}: {name}, user {}\n\n", sale.id, timeline.user_id);
    for event in &timeline.events {
        let _ = write!(text, "  {}  {}", event.at, event.what);
        if let Some(order) = event.order_id {
            let _ = write!(text, ", order {order}");
        }
        if let Some(attempt) = &event.attempt_id {
            let _ = write!(text, " (attempt {attempt})");
        }
        text.push('\n');
    }
    if !timeline.events.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{}: {}", timeline.status, timeline.standing);
    text
}
