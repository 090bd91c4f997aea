//! What can be written on the command line and what is refused.

mod examples;

use chrono::DateTime;

use super::*;

fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
    read(std::iter::once("bifrost").chain(line.iter().copied()).map(OsString::from).collect())
}

fn run(line: &[&str]) -> RunArguments {
    match parse(line).expect("parses").command {
        Command::Run(arguments) => *arguments,
        _ => panic!("not a run"),
    }
}

#[test]
fn the_grammar_is_sound() {
    lenient(Arguments::command()).debug_assert();
}

#[test]
fn a_run_takes_everything_after_the_dashes_as_it_is() {
    let line = ["run", "--env", "A=b=c", "--env", "B=", "--env", "C", "--timeout", "2h", "--", "sh", "-c", "--json"];
    let run = run(&line);
    assert_eq!(run.command, ["sh", "-c", "--json"]);
    assert_eq!(
        run.env,
        [
            EnvArgument::Set("A".into(), "b=c".into()),
            EnvArgument::Set("B".into(), String::new()),
            EnvArgument::Inherit("C".into())
        ]
    );
    assert_eq!((run.repo.as_str(), run.timeout, run.priority.get()), (".", Some(7_200), 3));
}

#[test]
fn one_machine_is_given_up_or_those_of_an_app_that_is_gone_and_never_without_a_reason() {
    let abandon = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        parse(&[&["machines", "abandon"], words.as_slice()].concat()).map(drop).map_err(|error| error.to_string())
    };
    let id = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
    assert_eq!(abandon(&format!("{id} --reason r")), Ok(()));
    assert_eq!(abandon("--app runners --reason r"), Ok(()));
    for (wrong, expect) in [
        ("--reason r", "<ID|--app <APP>>"),
        ("--app runners", "--reason <TEXT>"),
        (&format!("{id} --app runners --reason r"), "cannot be used with"),
    ] {
        let said = abandon(wrong).expect_err(wrong);
        assert!(said.contains(expect), "{wrong}: {said}");
    }
}

#[test]
fn an_agent_is_asked_by_a_prompt_or_is_a_command_and_never_both() {
    let start = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        let line = [&["agents", "start", "--branch", "b"], words.as_slice()].concat();
        parse(&line).map(drop).map_err(|error| error.to_string())
    };
    for well in
        ["--agent codex --prompt p", "-- bash", "--agent codex --session s -- codex resume s", "--no-register -- sh"]
    {
        assert_eq!(start(well), Ok(()), "{well}");
    }
    for (wrong, expect) in [
        ("", "--prompt <FILE>|CMD"),
        ("--agent codex", "--prompt <FILE>|CMD"),
        ("--prompt p", "--agent <AGENT>"),
        ("--session s -- codex", "--agent <AGENT>"),
        ("--agent codex --prompt p -- codex", "cannot be used with"),
    ] {
        let said = start(wrong).expect_err(wrong);
        assert!(said.contains(expect), "{wrong}: {said}");
    }
}

#[test]
fn no_command_s_own_argument_takes_the_place_of_a_global_option() {
    let whole = Arguments::command();
    let is_global = |id: &clap::Id| whole.get_arguments().any(|global| global.is_global_set() && global.get_id() == id);
    for (words, command) in examples::commands(&whole, "").into_iter().filter(|(words, _)| words != "bifrost") {
        for argument in command.get_arguments().filter(|argument| is_global(argument.get_id())) {
            // A hold, for one, says why in any case; the audit is told the same.
            assert_eq!(argument.get_id(), "reason", "`{words}` would set the global option as well");
        }
    }
}

#[test]
fn colours_are_known_before_the_line_is_read() {
    use clap::ColorChoice::{Always, Auto, Never};
    for (line, expect) in [
        ("tasks list", Auto),
        ("--color never tasks --nope", Never),
        ("tasks list --color=always", Always),
        ("tasks list --color", Auto),
        ("tasks list --color blue", Auto),
        ("run -- ls --color never", Auto),
    ] {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        assert_eq!(color_of(&words), expect, "{line}");
    }
}

#[test]
fn global_options_stand_before_or_behind_the_command() {
    for line in [&["--json", "--data", "d", "tasks", "list"][..], &["tasks", "list", "--json", "--data", "d"]] {
        let global = parse(line).expect("parses").global;
        assert!(global.json);
        assert_eq!(global.data, PathBuf::from("d"));
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_cure() {
    const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
    for (line, cure) in [
        (&["run", "make"][..], "-- <CMD>"),
        (&["run"], "<CMD>"),
        (&["run", "--agent", "mock"], "--prompt <FILE>"),
        (&["run", "--prompt", "f", "--", "x"], "--agent <AGENT>"),
        (&["run", "--prompt", "f"], "--agent <AGENT>"),
        (&["run", "--priority", "6", "--", "x"], "from 1 (least urgent) to 5"),
        (&["run", "--timeout", "30", "--", "x"], "such as 90s, 30m, 2h or 1d"),
        (&["run", "--timeout", "-5s", "--", "x"], "'-5s' for '--timeout <TIME>'"),
        (&["run", "--budget-machine-time", "-5s", "--", "x"], "'-5s' for '--budget-machine-time <TIME>'"),
        (&["run", "--priority", "-1", "--", "x"], "'-1' for '--priority <1..5>'"),
        (&["egress", "serve", "--connections", "-1"], "'-1' for '--connections <"),
        (&["projects", "weigh", "p", "-x"], "unexpected argument '-x'"),
        (&["busy", "--for", "2h"], "'2h' for '--for <TIME>': must be at most 1h"),
        (&["run", "--env", "=v", "--", "x"], "NAME=VALUE"),
        (&["tasks", "show", "7"], "expected a UUID"),
        (&["tasks", "list", "--status", "done"], "expected one of ready, assigned"),
        (&["tasks", "depend", ID], "--on <TASK>"),
        (&["tasks", "create"], "<TITLE>"),
        (&["tasks", "create", "t", "--needs"], "--needs <TASK>"),
        (&["tasks", "create", "t", "--idempotency-key", "two words"], "visible ASCII"),
        (&["tasks", "create", "t", "--description", "a", "--description-file", "b"], "cannot be used with"),
        (&["tasks", "list", "--blocked", "perhaps"], "true|false"),
        (&["tasks", "start", ID], "--worker <WORKER>"),
        (&["tasks", "update", ID], "--title <TITLE>"),
        (&["tasks", "update", ID, "--no-budget", "--budget-tokens", "5"], "cannot be used with"),
        (&["audit", "--since", "yesterday"], "or a time such as 2026-11-21T09:00:00Z"),
        (&["tasks", "cancel", ID, "--reason", " "], "1 to 500 characters"),
        (&["tasks", "undepend", ID, "--on", "7"], "expected a UUID"),
        (&["tasks", "estimate", ID, "long"], "invalid digit"),
        (&["tasks", "import"], "<FILE>"),
        (&["agents", "logs", "nosuch"], "not the id of an agent: `bifrost agents list`"),
        (&["agents", "kill", ID, "nosuch"], "not the id of an agent: `bifrost agents list`"),
        (&["events", "tail", "--after", "1", "--lines", "2"], "cannot be used with"),
        (&["claim", "--lease", "30"], "such as 90s, 30m, 2h or 1d"),
        (&["claim", "--worker-id", "7"], "expected a UUID"),
        (&["complete"], "<EXECUTION>"),
        (&["complete", ID, "--message", "broken"], "--failed"),
        (&["up", "--listen", "7600"], "socket address"),
        (&["tasks", "logs", ID, "extra"], "unexpected argument"),
        (&["tasks", "logs", ID, "--lines", "0"], "0 is not in 1..=10000"),
        (&["tasks", "logs", ID, "-n", "10001"], "10001 is not in 1..=10000"),
    ] {
        let error = parse(line).err().expect("is refused").to_string();
        assert!(error.contains(cure), "{line:?}: {error}");
    }
}

#[test]
fn a_number_below_zero_is_a_value_that_its_reader_refuses() {
    for line in [
        &["budgets", "create", "--period", "day", "--dollars", "-5"][..],
        &["budgets", "create", "--period", "day", "--dollars", "5", "--alert-at", "-1", "--reserve", "-1"],
        &["run", "--budget-dollars", "-1", "--", "x"],
        &["run", "--budget-tokens", "-1", "--", "x"],
        &["limits", "set", "k", "--max-running", "-1"],
        &["projects", "weigh", "p", "-1"],
    ] {
        assert!(parse(line).is_ok(), "{line:?}");
    }
}

#[test]
fn the_help_lists_every_exit_code() {
    let mut command = Arguments::command();
    let whole = command.render_long_help().to_string();
    let run = command.find_subcommand_mut("run").expect("exists").render_long_help().to_string();
    for help in [whole, run] {
        for code in crate::exit::Code::ALL {
            let row = format!("\n  {:<5} ", code.number());
            assert!(help.contains(&row), "{row} in {help}");
        }
    }
}

/// Whoever makes a budget is told where it sees no machine.
#[test]
fn the_help_of_a_budget_says_where_machines_cost_nothing() {
    let help = parse(&["budgets", "create", "--help"]).map(drop).expect_err("is the help").to_string();
    assert!(help.contains("BIFROST_MACHINE_MICRODOLLARS_PER_HOUR") && help.contains("bifrost up"), "{help}");
}

#[test]
fn the_audit_is_asked_about_kinds_things_and_times() {
    const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
    let now = DateTime::from_timestamp(1_795_000_000, 0).expect("in range");
    let entity = |text: &str| match parse(&["audit", "--entity", text]).expect("parses").command {
        Command::Audit(AuditArguments { entity: Some(entity), .. }) => (entity.kind, entity.id),
        _ => panic!("not the audit of an entity"),
    };
    assert_eq!(entity("task"), (Some("task".into()), None));
    assert_eq!(entity(ID), (None, Some(ID.into())));
    assert_eq!(entity("api_key/x"), (Some("api_key".into()), Some("x".into())));
    for (text, seconds) in [("2h", 1_795_000_000 - 7_200), ("2026-11-18T09:46:41+01:00", 1_794_991_601)] {
        match parse(&["audit", "--since", text]).expect("parses").command {
            Command::Audit(AuditArguments { since: Some(since), .. }) => assert_eq!(since.at(now).timestamp(), seconds),
            _ => panic!("not the audit since {text}"),
        }
    }
}
