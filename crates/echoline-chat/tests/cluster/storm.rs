//! Failures on all nodes at once, for a limited time.

use std::time::Duration;

use echoline_chat::ReplicatedState;
use tokio::time::{Instant, sleep};

use super::bus::Trouble;
use super::evening::World;
use super::random::Random;

/// Causes failures for `length`. Afterwards all nodes work.
pub(crate) async fn rage(world: &World, length: Duration, random: &mut Random) {
    let end = Instant::now() + length;
    let storms: Vec<_> = (0..world.count())
        .map(|site| tokio::spawn(strike(world.clone(), site, end, random.fork())))
        .collect();
    for storm in storms {
        storm.await.expect("no task panics");
    }
}

async fn strike(world: World, site: usize, end: Instant, mut random: Random) {
    loop {
        sleep(random.millis(20_000)).await;
        if Instant::now() >= end {
            return;
        }
        // The keeper's node is never killed and misses no entries.
        if site > 0 && random.chance(15) {
            fall(&world, site, &mut random).await;
            continue;
        }
        let Some(node) = world.node(site) else { return };
        let (trouble, most) =
            random.pick(&[(Trouble::Cut, 40), (Trouble::Frozen, 25), (Trouble::Stopped, 25)]);
        let seconds = match random.below(10) {
            0 => 61 + random.below(20),
            1..5 => 1 + random.below(5),
            _ => 2 + random.below(most),
        };
        let length = Duration::from_secs(seconds as u64).min(end - Instant::now());
        if site > 0 && random.chance(20) {
            // The stream no longer has the missed entries, so the node loads a snapshot.
            let source = world.node(0).expect("the first node is never killed");
            let length = length + random.millis(1000);
            let gap = async {
                sleep(length.saturating_sub(random.millis(1000))).await;
                node.skip_to(source.chat.snapshot());
            };
            tokio::join!(gap, node.suffer(trouble, length));
        } else {
            node.suffer(trouble, length + random.millis(1000)).await;
        }
    }
}

/// Kills a node, and starts another node in its place.
async fn fall(world: &World, site: usize, random: &mut Random) {
    world.kill(site);
    sleep(random.millis(5000)).await;
    let snapshot = random.chance(50).then(|| {
        let source = world.node(0).expect("the first node is never killed");
        source.chat.snapshot()
    });
    world.start(site, snapshot, random);
}
