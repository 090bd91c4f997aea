//! What each agent prints, as its makers document it, and what becomes of it.

use super::*;
use crate::agent::driver::Drivers;

fn read(agent: &str, output: &str) -> (String, AgentReport, Verdict) {
    let drivers = Drivers::built_in();
    let mut reading = Reading::new(drivers.get(agent).expect("known"), agent);
    // As pipes may deliver it: in pieces that end anywhere.
    let mut shown = Vec::new();
    for piece in output.as_bytes().chunks(7) {
        shown.extend(reading.take(piece));
    }
    shown.extend(reading.finish());
    let Heard { report, verdict } = reading.conclude();
    (String::from_utf8(shown).expect("text"), report, verdict)
}

fn report(agent: &str, session: &str, tokens: (u64, u64), cost: Option<&str>, message: &str) -> AgentReport {
    AgentReport {
        agent: agent.into(),
        session: Some(session.into()),
        input_tokens: tokens.0,
        output_tokens: tokens.1,
        cost_dollars: cost.map(Into::into),
        message: Some(message.into()),
        asks: None,
    }
}

#[test]
fn claude_code_is_understood() {
    let output = r#"{"type":"system","subtype":"init","session_id":"s-1","tools":["Bash"]}
{"type":"assistant","message":{"content":[{"type":"text","text":"I look."},{"type":"tool_use","name":"Bash"}],"usage":{"input_tokens":9}}}
{"type":"user","message":{"content":[{"type":"tool_result","content":"x"}]}}
{"type":"assistant","message":{"content":[{"type":"text","text":"Done."}]}}
{"type":"result","subtype":"success","is_error":false,"result":"Done.","session_id":"s-1","total_cost_usd":0.0123456,"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":4}}
"#;
    let expect = report("claude_code", "s-1", (60, 4), Some("0.012346"), "Done.");
    assert_eq!(read("claude_code", output), ("I look.\nDone.\n".into(), expect, Verdict::Succeeded));
    let failed = r#"{"type":"result","subtype":"error_during_execution","is_error":true,"session_id":"s-2"}"#;
    assert_eq!(read("claude_code", failed).2, Verdict::Failed);
}

#[test]
fn codex_is_understood() {
    let output = r#"{"type":"thread.started","thread_id":"t-1"}
{"type":"turn.started"}
{"type":"item.completed","item":{"id":"0","type":"command_execution","command":"ls"}}
{"type":"item.completed","item":{"id":"1","type":"agent_message","text":"Fixed."}}
{"type":"turn.completed","usage":{"input_tokens":100,"cached_input_tokens":50,"output_tokens":7}}
{"type":"turn.completed","usage":{"input_tokens":11,"cached_input_tokens":0,"output_tokens":3}}
"#;
    let expect = report("codex", "t-1", (111, 10), None, "Fixed.");
    assert_eq!(read("codex", output), ("Fixed.\n".into(), expect, Verdict::Succeeded));
    let (_, report, verdict) = read("codex", r#"{"type":"turn.failed","error":{"message":"usage limit"}}"#);
    assert_eq!((report.message.as_deref(), verdict), (Some("usage limit"), Verdict::Failed));
}

#[test]
fn gemini_is_understood() {
    let output = r#"{"type":"init","session_id":"g-1","model":"m"}
{"type":"message","role":"user","content":"do it"}
{"type":"message","role":"assistant","content":"I am ","delta":true}
{"type":"message","role":"assistant","content":"done.","delta":true}
{"type":"result","status":"success","stats":{"total_tokens":30,"input_tokens":20,"output_tokens":10}}
"#;
    let (shown, report, verdict) = read("gemini", output);
    assert_eq!((shown.as_str(), verdict), ("I am done.\n", Verdict::Succeeded));
    assert_eq!((report.session.as_deref(), report.input_tokens, report.output_tokens), (Some("g-1"), 20, 10));
    let (_, report, verdict) = read("gemini", r#"{"type":"result","status":"error","error":{"message":"quota"}}"#);
    assert_eq!((report.message.as_deref(), verdict), (Some("quota"), Verdict::Failed));
}

#[test]
fn opencode_is_understood() {
    let output = r#"{"type":"step_start","sessionID":"ses_1","part":{"type":"step-start"}}
{"type":"step_finish","sessionID":"ses_1","part":{"reason":"tool-calls","cost":0.25,"tokens":{"input":5,"output":2,"reasoning":1,"cache":{"read":3,"write":4}}}}
{"type":"text","sessionID":"ses_1","part":{"type":"text","text":"All green."}}
{"type":"step_finish","sessionID":"ses_1","part":{"reason":"stop","cost":0.5,"tokens":{"input":1,"output":1,"reasoning":0,"cache":{"read":0,"write":0}}}}
"#;
    let expect = report("opencode", "ses_1", (13, 4), Some("0.75"), "All green.");
    assert_eq!(read("opencode", output), ("All green.\n".into(), expect, Verdict::Succeeded));
}

#[test]
fn a_question_is_shown_and_is_what_the_agent_asks() {
    let output = r#"{"type":"start","session":"m-1"}
{"type":"ask","text":"Which colour?"}
{"type":"end","failed":false}
"#;
    let asks = Some("Which colour?".to_owned());
    let expect = AgentReport { asks, ..report("mock", "m-1", (0, 0), None, "Which colour?") };
    assert_eq!(read("mock", output), ("Which colour?\n".into(), expect, Verdict::Succeeded));
}

#[test]
fn an_agent_that_never_says_how_it_ended_is_silent_and_plain_text_is_shown() {
    let (shown, report, verdict) = read("codex", "warning: old version\n{\"type\":\"turn.started\"}\n[1, 2]\nlast");
    assert_eq!((shown.as_str(), verdict), ("warning: old version\n[1, 2]\nlast", Verdict::Silent));
    assert_eq!(report, AgentReport { agent: "codex".into(), ..AgentReport::default() });
}

#[test]
fn a_line_without_an_end_costs_no_more_memory_than_the_bound() {
    let drivers = Drivers::built_in();
    let mut reading = Reading::new(drivers.get("codex").expect("known"), "codex");
    let piece = vec![b'x'; 1024 * 1024];
    let shown: Vec<u8> = (0..20).flat_map(|_| reading.take(&piece)).collect();
    assert_eq!(shown, b"bifrost: a line of the agent is too long to be read\n");
    assert!(reading.line.capacity() < 2 * LINE_BYTES_MAX);
    let rest = reading.take(b"tail\n{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":1}}\n");
    assert_eq!((rest.as_slice(), reading.conclude().verdict), (&b""[..], Verdict::Succeeded));
}

#[test]
fn hostile_numbers_do_no_harm() {
    for cost in ["-1", "1e300", "\"1\"", "null"] {
        let line = format!(
            r#"{{"type":"result","total_cost_usd":{cost},"usage":{{"input_tokens":18446744073709551615,"cache_read_input_tokens":5,"output_tokens":-3}}}}"#
        );
        let (_, report, _) = read("claude_code", &line);
        assert_eq!((&report.cost_dollars, report.input_tokens, report.output_tokens), (&None, u64::MAX, 0), "{cost}");
        assert_eq!(Heard { report, verdict: Verdict::Silent }.tokens(), BUDGET_UNITS_MAX);
    }
}
