use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::sale::one_line;
use super::{CommonArgs, Failure, database, logging, print, print_json};
use crate::control::{AuditReport, Reply, Request};

/// `audit SALE`
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Id of the sale
    #[arg(value_name = "SALE", value_parser = clap::value_parser!(i64).range(1..))]
    sale: i64,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// Exit code for a sale that could not be audited: neither 1 (drift) nor 2 (violation) is known.
const NOT_AUDITED: u8 = 3;

/// Prints the account; its verdict is the exit code.
pub(super) async fn run(args: AuditArgs) -> Result<ExitCode, Failure> {
    let store = args.common.store.validate()?;
    logging::start(args.common.log.validate()?, "warn");
    let request = Request::Audit { sale: args.sale };
    let report = match database::perform(&store, None, request).await {
        Ok(Reply::Audit(report)) => report,
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
