//! Every kind of orphan.

use chrono::TimeDelta;

use super::*;

#[test]
fn what_sleeps_or_holds_a_disk_is_reported_for_far_longer_than_what_costs() {
    let fly = Settings::default();
    let mut sprites = Settings::default();
    sprites.provider.sprites = Some(crate::Sprites {
        runner: "https://example.com/runner@sha256:1b577383bcfb9f191c785497f4ac34a8fb546807bd1094ef65d0ce9a5a63423e"
            .parse()
            .expect("is pinned"),
        directory: "/home/sprite/bifrost".into(),
        policy: fly::SpritePolicy { rules: vec![] },
    });
    let check = |settings: &Settings, kind, is_awake, was_known, expect| {
        let case = Case { kind, is_awake, was_known };
        assert_eq!(reported_for(case, settings), expect, "{case:?}");
    };
    use OrphanKind::{Machine, Volume};
    let (soon, late) = (fly.orphan_age, fly.orphan_keep);
    assert!(late >= Duration::from_secs(24 * 3_600), "days");
    check(&fly, Machine, true, false, soon);
    check(&fly, Machine, false, false, late);
    check(&fly, Machine, false, true, soon);
    check(&fly, Volume, false, false, late);
    check(&fly, Volume, false, true, late);
    check(&sprites, Machine, true, false, late);
    check(&sprites, Machine, false, true, soon);
}

#[test]
fn only_what_came_while_somebody_watched_or_was_known_is_foreseen() {
    let since = DateTime::from_timestamp(1_795_000_000, 0).expect("in range");
    let (before, after) = (since - TimeDelta::seconds(1), since + TimeDelta::seconds(1));
    let check = |was_known, made_at, since, expect| {
        assert_eq!(is_unforeseen(was_known, made_at, since), expect, "{was_known} {made_at:?} {since:?}");
    };
    check(false, Some(before), Some(since), true);
    check(false, Some(since), Some(since), true);
    check(false, Some(after), Some(since), false);
    check(false, None, Some(since), true);
    check(false, Some(after), None, true);
    check(true, Some(before), Some(since), false);
    check(true, None, None, false);
}
