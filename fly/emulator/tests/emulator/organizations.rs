//! Lists of an organisation, regions, room, addresses, and Fly's rate limits.

use emulator::Config;
use fly::{AddressKind, MachineFilter, NewAddress, NewApp, PlacementQuery};
use serde_json::Value;

use crate::world::*;

#[tokio::test]
async fn an_organisations_machines_and_volumes_are_listed_over_its_apps() {
    let world = World::start().await;
    for (name, org_slug) in [("ours", "personal"), ("theirs", "acme")] {
        let app = NewApp { name: name.to_owned(), org_slug: org_slug.to_owned(), network: None };
        world.machines.create_app(&app).await.expect("created");
        let mut new = script(name, "true");
        new.launch.skip_launch = true;
        world.machines.create_machine(name, &new).await.expect("created");
    }
    let volume = world.volume().await;
    let mut new = with_volume(script("one", "true"), &volume);
    new.launch.skip_launch = true;
    let one = world.machines.create_machine(APP, &new).await.expect("created");

    let found = world.machines.org_machines("personal", None).await.expect("listed");
    let mut names: Vec<&str> = found.machines.iter().map(|machine| machine.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!((names, found.silent_regions), (vec!["one", "ours"], vec![]));
    let later = found.machines.iter().filter_map(|machine| machine.updated_at).max();
    assert_eq!(world.machines.org_machines("personal", later).await.expect("listed").machines, []);
    let volumes = world.machines.org_volumes("personal", None).await.expect("listed");
    let only = volumes.first().expect("one volume");
    assert_eq!((volumes.len(), only.app_name.as_str(), &only.volume.id), (1, APP, &volume.id));
    assert_eq!(only.volume.attached_machine_id.as_ref(), Some(&one.id));

    let page = world.http("GET", "/v1/orgs/personal/machines?limit=1").send().await.expect("answered");
    let page: Value = page.json().await.expect("JSON");
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    let rest = world.http("GET", &format!("/v1/orgs/personal/machines?limit=1&cursor={cursor}")).send().await;
    let rest: Value = rest.expect("answered").json().await.expect("JSON");
    assert_ne!(page["machines"][0]["id"], rest["machines"][0]["id"]);
    assert_eq!(rest["next_cursor"], "");
    world.stop().await;
}

#[tokio::test]
async fn an_app_gets_addresses_and_gives_them_back() {
    let world = World::start().await;
    let new = NewAddress { kind: AddressKind::PrivateV6, network: None, org_slug: None, region: None };
    let address = world.machines.assign_address(APP, &new).await.expect("assigned");
    assert!(address.ip.starts_with("fdaa:"), "{address:?}");
    assert_eq!(world.machines.addresses(APP).await.expect("listed").first(), Some(&address));
    world.machines.release_address(APP, &address.ip).await.expect("released");
    world.machines.release_address(APP, &address.ip).await.expect("gone is no error");
    assert_eq!(world.machines.addresses(APP).await.expect("listed"), []);
    world.stop().await;
}

#[tokio::test]
async fn there_is_one_region_and_room_wherever_one_asks() {
    let world = World::start().await;
    assert_eq!(world.machines.regions().await.expect("read").nearest, "local");
    let query = PlacementQuery {
        org_slug: "personal".to_owned(),
        region: Some("iad, fra".to_owned()),
        count: Some(3),
        ..PlacementQuery::default()
    };
    let found = world.machines.placements(&query).await.expect("found");
    let found: Vec<(&str, u64)> = found.iter().map(|placement| (placement.region.as_str(), placement.count)).collect();
    assert_eq!(found, [("iad", 3), ("fra", 3)]);
    let error = world.machines.placements(&PlacementQuery::default()).await.expect_err("nobody's");
    assert_eq!(error.status(), Some(400));
    world.stop().await;
}

#[tokio::test]
async fn with_rate_limits_the_fourth_order_at_once_is_refused() {
    let world = World::with(|config| Config { keeps_rate_limits: true, ..config }).await;
    let id = world.machines.create_machine(APP, &script("one", "exec sleep 1000")).await.expect("created").id;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let call = world.http("POST", &format!("/v1/apps/{APP}/machines/{id}/cordon"));
        statuses.push(call.send().await.expect("answered").status().as_u16());
    }
    assert!(statuses.starts_with(&[200, 200, 200]) && statuses.contains(&429), "{statuses:?}");
    let listed = world.machines.machines_where(APP, &MachineFilter::default()).await.expect("another action");
    assert_eq!(listed.len(), 1);
    world.stop().await;
}
