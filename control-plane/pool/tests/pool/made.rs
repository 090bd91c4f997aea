//! What the pool says of a machine when it makes one, as the provider was told it.

use fly::StopConfig;

use crate::world::{APP, World, migrations};

kernel::on_both! { migrations();
    async fn a_machine_has_a_minute_to_save_its_work_and_is_of_no_one_task(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let made = world.machines.machines(APP).await.expect("lists").remove(0).config.expect("has one");
        let stop = StopConfig {
            signal: Some("SIGTERM".into()),
            timeout: Some("60s".into()),
            ..StopConfig::default()
        };
        assert_eq!(made.stop_config, Some(stop));
        let marks: Vec<&str> = made.metadata.keys().map(String::as_str).collect();
        assert_eq!(marks, ["bifrost_machine", "bifrost_pool"]);
        world.stop().await;
    }
}
