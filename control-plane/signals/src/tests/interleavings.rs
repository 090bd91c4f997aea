//! Any interleaving of pushes, failures of the store and crashes of the control
//! plane shows each entry once and in order (row T-7.9f).

use super::*;

/// One seeded run: after each step what arrived is a beginning of what was pushed.
async fn run(ctx: &Ctx, seed: u64) {
    let (chance, store) = (Chance::seeded(seed), Store::default());
    let server = store.serve().await;
    let mut delivery = delivery(ctx, &server, None);
    let mut pushed = Vec::new();
    for _ in 0..40 {
        match chance.below(9) {
            0..=2 => {
                for _ in 0..chance.below(5) {
                    let number = pushed.len() as u64;
                    say(ctx, "test", number).await;
                    pushed.push(number);
                }
            }
            3 => repeat(ctx, seed, &mut pushed).await,
            4 => store.fail([[Fault::Before, Fault::After, Fault::Proxy][chance.below(3) as usize]]),
            5 => store.set_down(chance.below(2) == 0),
            6 => delivery = super::delivery(ctx, &server, None),
            7 => ctx.clock.advance(Duration::from_secs(chance.below(7))),
            _ => drop(delivery.tick(ctx).await),
        }
        let arrived = arrived(&store);
        assert!(pushed.starts_with(&arrived), "seed {seed}: pushed {pushed:?}, arrived {arrived:?}");
    }
    store.set_down(false);
    settle(ctx, &delivery).await;
    assert_eq!(arrived(&store), pushed, "seed {seed}");
}

/// The same fact is pushed again: its key says that it is known.
async fn repeat(ctx: &Ctx, seed: u64, pushed: &mut Vec<u64>) {
    let mut tx = ctx.begin("test.repeat").await.expect("begins");
    let word = 1_000_000 + seed;
    outbox::push_once(ctx, &mut tx, "test", About::default(), &word, &format!("key/{seed}")).await.expect("pushes");
    tx.commit(()).await.expect("commits");
    if !pushed.contains(&word) {
        pushed.push(word);
    }
}

/// The numbers that arrived, without what the outbox says of the store itself.
fn arrived(store: &Store) -> Vec<u64> {
    store.arrived().iter().filter_map(Value::as_u64).collect()
}

kernel::on_both! { MIGRATIONS;
    async fn every_entry_arrives_once_and_in_order(ctx) {
        for seed in 0..12 {
            run(&ctx, seed).await;
        }
    }
}
