//! Which of several processes looks after a sale.

use flashsale_core::domain::SaleId;
use flashsale_core::ports::Leadership;

use crate::shop;

fn sale(number: i64) -> SaleId {
    SaleId::new(number).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_leads_a_sale_until_it_is_gone() {
    let (url, ours) = shop::fresh().await;
    let theirs = shop::database(url.as_str());
    let (first, second) = (ours.leadership(), theirs.leadership());
    for _ in 0..3 {
        assert!(first.leads(sale(1)).await.unwrap());
        assert!(!second.leads(sale(1)).await.unwrap());
    }
    // Another sale may have another leader.
    assert!(second.leads(sale(2)).await.unwrap());
    assert!(!first.leads(sale(2)).await.unwrap());

    drop((first, ours));
    shop::until("the lead", || async {
        second.leads(sale(1)).await.unwrap().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_its_connection_loses_the_lead() {
    let (url, ours) = shop::fresh().await;
    let theirs = shop::database(url.as_str());
    let (first, second) = (ours.leadership(), theirs.leadership());
    assert!(first.leads(sale(1)).await.unwrap());
    let ended = shop::psql(
        &url,
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    assert_eq!(ended, "t");
    shop::until("the lead", || async {
        second.leads(sale(1)).await.unwrap().then_some(())
    })
    .await;
    // It notices with its next question, and asks on a new connection after that.
    let noticed = first.leads(sale(1)).await;
    assert!(!matches!(noticed, Ok(true)), "{noticed:?}");
    assert!(!first.leads(sale(1)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_of_other_databases_have_leaders_of_their_own() {
    let (_, ours) = shop::fresh().await;
    let (_, theirs) = shop::fresh().await;
    let (first, second) = (ours.leadership(), theirs.leadership());
    assert!(first.leads(sale(1)).await.unwrap());
    assert!(second.leads(sale(1)).await.unwrap());
}
