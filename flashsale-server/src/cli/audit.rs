use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::command_deps::CommandDeps;
use super::sale::one_line;
use super::{CliError, CommonArgs, database, logging, print, print_json};
#[cfg(feature = "distributed")]
use crate::config::QueueArgs;
use crate::control::{AuditReport, Reply, Request, TimelineReport};

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
        print_json(&report)?;
    } else {
        print(&table(&report))?;
    }
    Ok(ExitCode::from(match report.verdict.as_str() {
        "EXACT" => 0,
        "DRIFT" => 1,
        _ => 2,
    }))
}

fn table(report: &AuditReport) -> String {
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
    text.push_str(match report.verdict.as_str() {
        "EXACT" => "EXACT: every unit is accounted for.\n",
        "DRIFT" => "DRIFT: nothing is sold twice; these figures are being brought in line:\n",
        _ => "VIOLATION: something happened that must never happen:\n",
    });
    for finding in &report.findings {
        let _ = writeln!(text, "  - {finding}");
    }
    text
}

fn timeline_text(timeline: &TimelineReport) -> String {
    let sale = &timeline.sale;
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
