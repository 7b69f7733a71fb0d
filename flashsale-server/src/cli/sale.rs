use clap::{Args, Subcommand};
use flashsale_core::domain::SaleChange;
use flashsale_core::ports::Clock;
use flashsale_embedded::SystemClock;

use super::command_deps::CommandDeps;
use super::{CliError, CommonArgs, database, logging, print, print_json};
use crate::control::{NewSaleRequest, Reply, Request, SaleLine};
use crate::time_arg::TimeArg;

/// `sale …`
#[derive(Debug, Subcommand)]
pub(super) enum SaleCommand {
    /// Make a sale, and its product if that is new
    Create(CreateArgs),
    /// List all sales
    List(ListArgs),
    /// Show one sale
    Show(OneArgs),
    /// Stop selling for a while
    Pause(OneArgs),
    /// Sell again after a pause
    Resume(OneArgs),
    /// Add units to a sale
    Restock(RestockArgs),
    /// Take units out of a sale that nobody has bought or holds
    Withdraw(WithdrawArgs),
    /// Let a sale end later
    Extend(ExtendArgs),
    /// End a sale for good; what was bought stays bought
    Close(OneArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Name of the product; a product of this name is used if there is one, else made
    #[arg(long, value_name = "NAME")]
    product: String,

    /// What buyers read about the product, if it is new
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,

    /// Units to sell
    #[arg(long, value_name = "UNITS", allow_negative_numbers = true, value_parser = units)]
    stock: u64,

    /// Start: `now`, a time from now like +10m, or a date like 2026-12-24T18:00:00+01:00
    #[arg(long, value_name = "TIME", default_value = "now")]
    start: TimeArg,

    /// End, the first moment at which nothing is sold: a time from now like +1h, or a date
    #[arg(long, value_name = "TIME")]
    end: TimeArg,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// Id of the sale
    #[arg(value_name = "SALE", value_parser = clap::value_parser!(i64).range(1..))]
    sale: i64,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct RestockArgs {
    #[command(flatten)]
    one: OneArgs,

    /// Units to add
    #[arg(long, value_name = "UNITS", allow_negative_numbers = true, value_parser = units, alias = "stock")]
    units: u64,
}

#[derive(Debug, Args)]
pub(super) struct WithdrawArgs {
    #[command(flatten)]
    one: OneArgs,

    /// Units to take out
    #[arg(long, value_name = "UNITS", allow_negative_numbers = true, value_parser = units)]
    units: u64,
}

#[derive(Debug, Args)]
pub(super) struct ExtendArgs {
    #[command(flatten)]
    one: OneArgs,

    /// The new end: a time from now like +1h, or a date
    #[arg(long, value_name = "TIME")]
    end: TimeArg,
}

/// How the answer is printed.
#[derive(Debug, Args)]
struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// Carries the command out and prints the sales as they are after it.
pub(super) async fn run(command: SaleCommand) -> Result<(), CliError> {
    let (request, output) = request(command);
    let store = output.common.store.validate()?;
    logging::start(output.common.log.validate()?, "warn");
    match database::perform(&store, CommandDeps::default(), request).await? {
        Reply::Sale(sale) if output.json => print_json(&sale),
        Reply::Sale(sale) => print(&table(&[sale])),
        Reply::Sales(sales) if output.json => print_json(&sales),
        Reply::Sales(sales) if sales.is_empty() => {
            print("There are no sales yet; `sale create` makes one.")
        }
        Reply::Sales(sales) => print(&table(&sales)),
        other => Err(database::refused(other)),
    }
}

fn request(command: SaleCommand) -> (Request, OutputArgs) {
    let change = |one: OneArgs, change| {
        let sale = one.sale;
        (Request::SaleChange { sale, change }, one.output)
    };
    match command {
        SaleCommand::Create(args) => {
            let now = SystemClock.now();
            let request = NewSaleRequest {
                product: args.product,
                description: args.description,
                start_ms: args.start.from(now).as_millis(),
                end_ms: args.end.from(now).as_millis(),
                stock: args.stock,
            };
            (Request::SaleCreate(request), args.output)
        }
        SaleCommand::List(args) => (Request::SaleList, args.output),
        SaleCommand::Show(one) => (Request::SaleShow { sale: one.sale }, one.output),
        SaleCommand::Pause(one) => change(one, SaleChange::Pause),
        SaleCommand::Resume(one) => change(one, SaleChange::Resume),
        SaleCommand::Restock(args) => change(args.one, SaleChange::Restock(args.units)),
        SaleCommand::Withdraw(args) => change(args.one, SaleChange::Withdraw(args.units)),
        SaleCommand::Extend(args) => {
            let end = args.end.from(SystemClock.now());
            change(args.one, SaleChange::Extend(end))
        }
        SaleCommand::Close(one) => change(one, SaleChange::Close),
    }
}

/// Sales as aligned columns. The product comes last because it may be long.
fn table(sales: &[SaleLine]) -> String {
    let head = [
        "sale",
        "status",
        "stock",
        "available",
        "starts",
        "ends",
        "product",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(sales.iter().map(|sale| {
        [
            sale.id.to_string(),
            sale.status.clone(),
            sale.stock.to_string(),
            sale.available
                .map_or_else(|| "-".to_owned(), |units| units.to_string()),
            sale.start_time.clone(),
            sale.end_time.clone(),
            one_line(&sale.product_name),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A name cannot break the table or move the terminal's cursor.
pub(super) fn one_line(name: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    name.chars().map(shown).collect()
}

fn units(text: &str) -> Result<u64, String> {
    let most = flashsale_core::domain::UNITS_MAX;
    text.parse()
        .map_err(|_| format!("must be a number of units, 1 to {most}"))
}
