use flashsale_core::domain::{
    AllocationState, ChangeRefused, Epoch, NewSaleRefused, Phase, SaleChange, SaleId,
};
use flashsale_core::ports::{ChangeOutcome, CreateSaleOutcome, StockStoreExt};
use flashsale_core::services::{ChangeSaleOutcome, StockReadiness};

use crate::shop::{FAIL_BEFORE, Shop, lamps, user};

#[tokio::test]
async fn a_new_sale_can_be_bought_from_at_once() {
    let shop = Shop::empty();
    let view = shop
        .sale_service()
        .create(&lamps(3))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((view.sale.phase, view.sale.version), (Phase::Open, 1));
    assert_eq!(view.levels.unwrap().available, 3);
    shop.accepted("ann", view.sale.id).await;
    let found = shop
        .sale_service()
        .find(view.sale.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.levels.unwrap().reserved, 1);
    assert_eq!(shop.sale_service().list().await.unwrap(), [found]);
}

#[tokio::test]
async fn a_sale_that_cannot_be_is_refused() {
    let (shop, sale) = Shop::selling(3).await;
    let overlapping = shop.sale_service().create(&lamps(3)).await.unwrap();
    assert_eq!(overlapping, Err(NewSaleRefused::Overlaps(sale.id)));
    let empty = shop.sale_service().create(&lamps(0)).await.unwrap();
    assert_eq!(empty, Err(NewSaleRefused::Stock));
    assert_eq!(shop.sale_service().list().await.unwrap().len(), 1);
    let unknown = SaleId::new(99).unwrap();
    assert_eq!(shop.sale_service().find(unknown).await.unwrap(), None);
}

#[tokio::test]
async fn changes_reach_the_stock_store_and_the_catalogue() {
    let (shop, sale) = Shop::selling(3).await;
    for (change, phase, available) in [
        (SaleChange::Pause, Phase::Paused, 3),
        (SaleChange::Restock(2), Phase::Paused, 5),
        (SaleChange::Resume, Phase::Open, 5),
        (SaleChange::Close, Phase::Closed, 5),
    ] {
        let view = shop.change(sale.id, change).await;
        let levels = view.levels.unwrap();
        assert_eq!((view.sale.phase, levels.phase), (phase, phase));
        assert_eq!(
            (levels.available, levels.version),
            (available, view.sale.version)
        );
        assert_eq!(*shop.catalogue.get(sale.id).unwrap(), view.sale);
    }
}

#[tokio::test]
async fn a_change_that_is_not_allowed_is_refused() {
    let (shop, sale) = Shop::selling(3).await;
    let service = shop.sale_service();
    let resume = service.change(sale.id, SaleChange::Resume).await.unwrap();
    let open = ChangeRefused::Phase(Phase::Open);
    assert_eq!(resume, ChangeSaleOutcome::Refused(open));
    let unknown = SaleId::new(99).unwrap();
    let unknown = service.change(unknown, SaleChange::Pause).await.unwrap();
    assert_eq!(unknown, ChangeSaleOutcome::UnknownSale);
}

#[tokio::test]
async fn a_change_that_the_stock_store_missed_is_made_later_and_once() {
    let (mut shop, sale) = Shop::selling(3).await;
    let good = shop.stock.clone();
    shop.stock = shop.faulty_stock(FAIL_BEFORE);
    let restock = SaleChange::Restock(4);
    assert_eq!(shop.change(sale.id, restock).await.levels, None);
    shop.stock = good;
    let ChangeOutcome::Changed(sale, _) = shop
        .sales
        .change(sale.id, SaleChange::Pause, None)
        .await
        .unwrap()
    else {
        panic!("it must be paused");
    };
    for _ in 0..2 {
        let ready = shop.sale_service().prepare(&sale).await.unwrap();
        assert_eq!(ready, StockReadiness::Ready);
        let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
        assert_eq!((levels.available, levels.phase), (7, Phase::Paused));
        assert_eq!(levels.version, sale.version);
    }
}

#[tokio::test]
async fn units_withdrawn_while_a_sale_is_being_opened_are_not_sold() {
    let mut shop = Shop::empty();
    let good = shop.stock.clone();
    shop.stock = shop.faulty_stock(FAIL_BEFORE);
    shop.sale_service()
        .create(&lamps(3))
        .await
        .unwrap()
        .unwrap();
    shop.stock = good;
    let before = shop.sales.list().await.unwrap().remove(0);
    // Somebody opens the stock, and the sale changes before it is marked as open.
    let withdraw = SaleChange::Withdraw(1);
    shop.sales.change(before.id, withdraw, None).await.unwrap();
    shop.sale_service().prepare(&before).await.unwrap();
    let after = shop.sales.find(before.id).await.unwrap().unwrap();
    assert_eq!(after.phase, Phase::Scheduled);
    shop.sale_service().prepare(&after).await.unwrap();
    let view = shop.sale_service().find(before.id).await.unwrap().unwrap();
    let levels = view.levels.unwrap();
    assert_eq!(view.sale.phase, Phase::Open);
    assert_eq!((levels.available, levels.version), (2, 2));
    // Whoever found it unopened withdraws nothing any more behind the back of its stock.
    let outdated = shop.sales.change(before.id, withdraw, Some(&after)).await;
    let refused = ChangeOutcome::Refused(ChangeRefused::Outdated);
    assert_eq!(outdated.unwrap(), refused);
}

#[tokio::test]
async fn a_sale_that_was_stored_and_not_opened_is_opened_later() {
    let mut shop = Shop::empty();
    let good = shop.stock.clone();
    shop.stock = shop.faulty_stock(FAIL_BEFORE);
    let view = shop.sale_service().create(&lamps(3)).await.unwrap();
    assert_eq!(view.unwrap().levels, None);
    shop.stock = good;
    let sale = shop.sales.list().await.unwrap().remove(0);
    assert_eq!(sale.phase, Phase::Scheduled);
    let ready = shop.sale_service().prepare(&sale).await.unwrap();
    assert_eq!(ready, StockReadiness::Ready);
    assert_eq!(
        shop.sales.find(sale.id).await.unwrap().unwrap().phase,
        Phase::Open
    );
    shop.catalogue.refresh().await.unwrap();
    shop.accepted("ann", sale.id).await;
}

#[tokio::test]
async fn a_sale_restocked_before_it_was_opened_counts_the_units_once() {
    let shop = Shop::empty();
    let CreateSaleOutcome::Created(sale) = shop.sales.create(&lamps(3)).await.unwrap() else {
        panic!("it must be created");
    };
    let view = shop.change(sale.id, SaleChange::Restock(2)).await;
    assert_eq!(view.levels.unwrap().available, 5);
    let sale = shop.sales.find(sale.id).await.unwrap().unwrap();
    assert_eq!(sale.phase, Phase::Open);
    shop.sale_service().prepare(&sale).await.unwrap();
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!(levels.available, 5);
}

#[tokio::test]
async fn a_sale_that_the_stock_store_lost_has_to_be_rebuilt() {
    let (shop, sale) = Shop::selling(3).await;
    shop.memory_stock.forget();
    let lost = shop.sale_service().prepare(&sale).await.unwrap();
    assert_eq!(lost, StockReadiness::Lost);
    let (shop, mut sale) = Shop::selling(3).await;
    sale.epoch = Epoch::new(2);
    let other_epoch = shop.sale_service().prepare(&sale).await.unwrap();
    assert_eq!(other_epoch, StockReadiness::Lost);
}

#[tokio::test]
async fn a_sale_is_opened_with_the_buyers_it_has() {
    let (shop, mut sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    shop.memory_stock.forget();
    // As after a crash between the opening of the stock and the note of it.
    sale.phase = Phase::Scheduled;
    let ready = shop.sale_service().prepare(&sale).await.unwrap();
    assert_eq!(ready, StockReadiness::Ready);
    let levels = shop.stock.levels(&sale.key()).await.unwrap().unwrap();
    assert_eq!((levels.available, levels.sold), (2, 1));
    let allocation = shop
        .stock
        .allocation(&sale.key(), &user("ann"))
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(allocation.state, AllocationState::Sold(_)));
}

#[tokio::test]
async fn a_closed_sale_need_not_be_in_the_stock_store() {
    let (shop, sale) = Shop::selling(3).await;
    let closed = shop.change(sale.id, SaleChange::Close).await.sale;
    shop.memory_stock.forget();
    let ready = shop.sale_service().prepare(&closed).await.unwrap();
    assert_eq!(ready, StockReadiness::Ready);
}
