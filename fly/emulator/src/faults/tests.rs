//! Scripts: which rules fire, in which order, and what is wrong with bad ones.

use chrono::DateTime;

use super::*;

fn faults(script: &str) -> Faults {
    Faults::new(Script::from_toml(script).expect("a script"))
}

fn call(faults: &Faults, action: Action, target: &str) -> Option<CallEffect> {
    faults.of_call(Call { action, app: "runners", targets: &[target.to_owned()] })
}

fn machine(name: &str) -> Record {
    serde_json::from_value(serde_json::json!({
        "id": "148ed599c14698", "app": "runners", "name": name, "region": "local", "instance_id": "01J",
        "state": "starting", "config": {}, "created_at": DateTime::UNIX_EPOCH, "updated_at": DateTime::UNIX_EPOCH,
        "events": [], "lease": null, "process": null, "restarts": [],
    }))
    .expect("a record")
}

#[test]
fn a_rule_is_for_an_action_an_app_and_a_target() {
    let faults = faults(
        "[[call]]\naction = 'start'\nwhen = { app = 'run*', target = 'a*' }\neffect = { drop = 'before' }\n\
         [[call]]\nwhen = { app = 'other' }\neffect = { drop = 'after' }",
    );
    assert_eq!(call(&faults, Action::Start, "ab"), Some(CallEffect::Drop(Moment::Before)));
    assert_eq!(call(&faults, Action::Start, "ba"), None);
    assert_eq!(call(&faults, Action::Stop, "ab"), None);
}

#[test]
fn the_nth_and_at_most_so_many_are_counted_per_rule() {
    let faults = faults("[[call]]\naction = 'start'\nwhen = { nth = [2, 4, 5], times = 2 }\neffect = { delay_ms = 5 }");
    let fired: Vec<bool> = (0..6).map(|_| call(&faults, Action::Start, "a").is_some()).collect();
    assert_eq!(fired, [false, true, false, true, false, false]);
}

#[test]
fn chance_goes_by_the_seed() {
    let run = |seed: u64| {
        let faults =
            faults(&format!("seed = {seed}\n[[call]]\nwhen = {{ chance = 0.5 }}\neffect = {{ drop = 'after' }}"));
        (0..64).map(|_| call(&faults, Action::Stop, "a").is_some()).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let always = faults("[[call]]\nwhen = { chance = 1.0 }\neffect = { drop = 'after' }");
    assert!((0..64).all(|_| call(&always, Action::Stop, "a").is_some()));
}

#[test]
fn machines_stick_fail_and_lose_what_the_script_says() {
    let faults = faults(
        "[[machine]]\nwhen = { target = 'one', times = 1 }\neffect = { stick_in = 'starting' }\n\
         [[machine]]\neffect = 'fail_to_boot'\n\
         [[machine]]\nwhen = { target = '148*' }\neffect = 'lose_snapshot'\n\
         [[machine]]\nwhen = { target = 'far' }\neffect = { host = 'unreachable' }",
    );
    let (one, far) = (machine("one"), machine("far"));
    assert_eq!(faults.stays(&one, State::Stopping), None);
    assert_eq!(faults.stays(&one, State::Starting), Some(Stay::UntilPoked));
    assert_eq!(faults.stays(&one, State::Starting), None);
    assert!(faults.fails_to_boot(&far) && faults.loses_snapshot(&far));
    assert_eq!((faults.host_status(&one), faults.host_status(&far)), (HostStatus::Ok, HostStatus::Unreachable));
    faults.replace(Script::default());
    assert!(!faults.fails_to_boot(&far));
}

#[test]
fn machines_take_their_time_and_their_clocks_lag_as_the_script_says() {
    let faults = faults(
        "[[machine]]\neffect = { stay_in = { state = 'created', for_ms = 2000 } }\n\
         [[machine]]\nwhen = { target = 'one', nth = [2] }\neffect = { clock_lag = { by_ms = 180000, for_ms = 5 } }",
    );
    let (one, far) = (machine("one"), machine("far"));
    assert_eq!(faults.stays(&far, State::Created), Some(Stay::For(Duration::from_secs(2))));
    assert_eq!(faults.stays(&far, State::Starting), None);
    assert_eq!((faults.may_lag(&one), faults.may_lag(&far)), (true, false));
    assert_eq!(faults.clock_lag(&one), None);
    let lag = faults.clock_lag(&one).map(|lag| (lag.by(), lag.time()));
    assert_eq!(lag, Some((Duration::from_secs(180), Some(Duration::from_millis(5)))));
}

#[test]
fn what_is_wrong_with_a_script_is_said_with_the_field() {
    for (script, said) in [
        ("sede = 1", "unknown field `sede`"),
        ("[[call]]\naction = 'strat'\neffect = { drop = 'after' }", "unknown variant `strat`"),
        ("[[call]]\naction = 'start'", "missing field `effect`"),
        ("[[call]]\neffect = { failure = 'bad-luck' }", "unknown variant `bad-luck`"),
        ("[[call]]\nwhen = { nht = [1] }\neffect = { drop = 'after' }", "unknown field `nht`"),
        ("[[call]]\nwhen = { nth = [0] }\neffect = { drop = 'after' }", "call[0].when.nth:"),
        ("[[call]]\nwhen = { times = 0 }\neffect = { drop = 'after' }", "call[0].when.times:"),
        ("[[call]]\nwhen = { chance = 1.5 }\neffect = { drop = 'after' }", "call[0].when.chance:"),
        ("[[call]]\neffect = { answer = { status = 200, error = 'x' } }", "call[0].effect.answer.status:"),
        ("[[call]]\neffect = { delay_ms = 0 }", "call[0].effect.delay_ms:"),
        ("[[machine]]\neffect = { stick_in = 'stopped' }", "machine[0].effect.stick_in:"),
        ("[[machine]]\neffect = { stay_in = { state = 'started', for_ms = 5 } }", "machine[0].effect.stay_in.state:"),
        ("[[machine]]\neffect = { stay_in = { state = 'starting', for_ms = 0 } }", "machine[0].effect.stay_in.for_ms:"),
        ("[[machine]]\neffect = { stay_in = { state = 'starting', ms = 5 } }", "unknown field `ms`"),
        ("[[machine]]\neffect = { clock_lag = { by_ms = 0 } }", "machine[0].effect.clock_lag.by_ms:"),
        ("[[machine]]\neffect = { clock_lag = { by_ms = 1, for_ms = 0 } }", "machine[0].effect.clock_lag.for_ms:"),
        ("[[machine]]\nwhen = { times = 1 }\neffect = { host = 'unreachable' }", "machine[0].effect.host:"),
    ] {
        let error = Script::from_toml(script).expect_err("a bad script").to_string();
        assert!(error.contains(said), "{script}: {error}");
    }
    for (script, said) in [
        (r#"{"call": [{"effect": {"drop": "never"}}]}"#, "unknown variant `never`"),
        (r#"{"call": ["x"]}"#, "call[0]: invalid type: string \"x\", expected a table"),
        (
            r#"{"call": [{"when": 7, "effect": {"drop": "after"}}]}"#,
            "call[0].when: invalid type: integer `7`, expected a table",
        ),
        (r#"{"call": 7}"#, "call: invalid type: integer `7`, expected a list"),
        (r#"{"machine": [{"effect": 7}]}"#, "machine[0].effect: "),
        (r#"{"seed": 7} 8"#, "trailing characters"),
    ] {
        let error = Script::from_json(script).expect_err("a bad script").to_string();
        assert!(error.contains(said) && !error.contains("struct ") && !error.contains("enum "), "{script}: {error}");
    }
}

#[test]
fn an_action_that_is_not_served_here_is_refused() {
    let of_sprites = "[[call]]\naction = 'create_sprite'\neffect = { drop = 'after' }";
    let error = Script::from_toml(of_sprites).expect_err("nothing would ever fail").to_string();
    assert!(error.contains("unknown variant `create_sprite`, expected one of `list_apps`"), "{error}");
}

#[test]
fn a_host_that_is_none_and_a_number_below_nothing_are_refused_in_plain_words() {
    let why = |text: &str| Script::from_toml(text).expect_err("refused").to_string();
    let weird = why("[[machine]]\neffect = { host = 'weird' }");
    assert!(weird.contains("expected `unreachable` or `unknown`"), "{weird}");
    let negative = why("[[call]]\neffect = { delay_ms = -4 }");
    assert!(negative.contains("expected a whole number, 0 or more") && !negative.contains("u64"), "{negative}");
    let negative = Script::from_json(r#"{"call": [{"effect": {"delay_ms": -4}}]}"#).expect_err("refused").to_string();
    assert!(negative.contains("expected a whole number, 0 or more"), "{negative}");
}
