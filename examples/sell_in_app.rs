//! Sells from inside another program: one file, no server, nothing in the background.
//!
//! `cargo run -p flashsale-examples --bin sell_in_app [FILE]`; without a file it uses a temporary
//! one, closes it, opens it again, and checks that nothing is lost.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use flashsale_core::domain::{NewSale, UserId, Window};
use flashsale_core::ports::{Clock, NoRecorder};
use flashsale_core::services::AttemptOutcome;
use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine, SystemClock};

async fn sell(file: &Path) -> Result<AttemptOutcome, Box<dyn Error>> {
    let engine = EmbeddedEngine::open(EmbeddedConfig::new(file), Arc::new(SystemClock))?;
    let shop = engine.services(Arc::new(NoRecorder)).await?;
    let now = SystemClock.now();
    let lamps = NewSale {
        product_name: "Lamp".to_owned(),
        product_description: "One per person".to_owned(),
        window: Window {
            start: now,
            end: now.plus_ms(60 * 60 * 1_000),
        },
        stock: 100,
    };
    let sale = match shop.sales.list().await?.pop() {
        Some(earlier) => earlier.sale, // The file remembers it.
        None => shop.sales.create(&lamps).await??.sale,
    };
    let ann = UserId::new("ann")?;
    let answer = shop.flash_sale.attempt(&ann, sale.id).await?;
    match &answer {
        AttemptOutcome::Accepted(yes) => println!("ann has bought: attempt {}", yes.attempt),
        no => println!("ann has not bought: {no:?}"),
    }
    Ok(answer)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(file) = std::env::args_os().nth(1) {
        sell(Path::new(&file)).await?;
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.db");
    let first = sell(&file).await?;
    let again = sell(&file).await?;
    assert!(matches!(first, AttemptOutcome::Accepted(_)), "{first:?}");
    assert_eq!(first, again, "a retry gets the same attempt");

    let engine = EmbeddedEngine::open(EmbeddedConfig::new(&file), Arc::new(SystemClock))?;
    let shop = engine.services(Arc::new(NoRecorder)).await?;
    let sales = shop.sales.list().await?;
    let levels = sales.first().and_then(|view| view.levels.as_ref());
    let levels = levels.ok_or("the sale is gone")?;
    println!("{} sold, {} left", levels.sold, levels.available);
    assert_eq!((levels.sold, levels.available), (1, 99));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_this_program() {
        let readme = include_str!("../README.md");
        let shown: Vec<_> = readme
            .split("```")
            .filter(|b| b.starts_with("rust\n"))
            .collect();
        assert!(!shown.is_empty());
        for block in shown {
            let block = block.trim_start_matches("rust\n");
            assert!(include_str!("sell_in_app.rs").contains(block), "{block}");
        }
    }
}
