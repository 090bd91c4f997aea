//! What each agent prints, as it was recorded from the program itself, and what becomes of it.

use super::*;
use crate::agent::driver::Drivers;

fn read(agent: &str, output: &str) -> (String, AgentReport, Verdict) {
    read_after(agent, output, Taken::default())
}

fn read_after(agent: &str, output: &str, before: Taken) -> (String, AgentReport, Verdict) {
    let drivers = Drivers::built_in();
    let mut reading = Reading::new(drivers.get(agent).expect("known"), agent, before);
    // As pipes may deliver it: in pieces that end anywhere.
    let mut shown = Vec::new();
    for piece in output.as_bytes().chunks(7) {
        shown.extend(reading.take(piece));
    }
    shown.extend(reading.finish());
    let told = reading.usages();
    let Heard { report, verdict } = reading.conclude();
    // What requests took is told one by one, and is all of it.
    let sum = |number: fn(&AgentUsage) -> u64| told.iter().map(number).sum::<u64>();
    let sums = (sum(|usage| usage.input_tokens), sum(|usage| usage.output_tokens));
    assert_eq!(sums, (report.input_tokens, report.output_tokens), "{told:?}");
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
    // Two turns, the second when a command in the background has ended; 2.1.332, what is not read left out.
    let output = r#"{"type":"system","subtype":"init","session_id":"c832de71","tools":["Task","Bash"],"mcp_servers":[],"model":"claude-opus-5-5","permissionMode":"bypassPermissions","claude_code_version":"2.1.332"}
{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":590,"error_status":401,"error":"authentication_failed","session_id":"c832de71"}
{"type":"assistant","message":{"id":"msg_0","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{"type":"text","text":"I write it."}],"stop_reason":null,"usage":{"input_tokens":100,"cache_creation_input_tokens":20,"cache_read_input_tokens":3,"output_tokens":1}},"parent_tool_use_id":null,"session_id":"c832de71"}
{"type":"assistant","message":{"id":"msg_0","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{"type":"tool_use","id":"toolu_0","name":"Bash","input":{"command":"sleep 4; echo written >> NOTES","run_in_background":true}}],"stop_reason":null,"usage":{"input_tokens":100,"cache_creation_input_tokens":20,"cache_read_input_tokens":3,"output_tokens":1}},"parent_tool_use_id":null,"session_id":"c832de71"}
{"type":"system","subtype":"background_tasks_changed","tasks":[{"task_id":"bcb69e6ig","task_type":"local_bash","description":"write"}],"session_id":"c832de71"}
{"type":"user","message":{"role":"user","content":[{"tool_use_id":"toolu_0","type":"tool_result","content":"Command running in background with ID: bcb69e6ig.","is_error":false}]},"parent_tool_use_id":null,"session_id":"c832de71"}
{"type":"assistant","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{"type":"text","text":"I remember periwinkle."}],"stop_reason":null,"usage":{"input_tokens":100,"cache_creation_input_tokens":20,"cache_read_input_tokens":3,"output_tokens":1}},"parent_tool_use_id":null,"session_id":"c832de71"}
{"duration_api_ms":86,"stop_reason":"end_turn","session_id":"c832de71","total_cost_usd":0.0012812000000000001,"usage":{"input_tokens":200,"cache_creation_input_tokens":40,"cache_read_input_tokens":6,"output_tokens":14},"modelUsage":{"claude-opus-5-5":{"inputTokens":200,"outputTokens":14,"cacheReadInputTokens":6,"cacheCreationInputTokens":40,"costUSD":0.0012812000000000001}},"is_error":false,"num_turns":2,"subtype":"success","result":"I remember periwinkle.","type":"result","result_index":0,"model_usage_since_last_result":{"claude-opus-5-5":{"inputTokens":200,"outputTokens":14,"cacheReadInputTokens":6,"cacheCreationInputTokens":40,"costUSD":0.0012812000000000001}}}
"#;
    let rest = r#"{"type":"system","subtype":"background_tasks_changed","tasks":[],"session_id":"c832de71"}
{"type":"system","subtype":"init","session_id":"c832de71","tools":["Task","Bash"],"model":"claude-opus-5-5"}
{"type":"assistant","message":{"id":"msg_5","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{"type":"text","text":"It is written."}],"stop_reason":null,"usage":{"input_tokens":100,"cache_creation_input_tokens":20,"cache_read_input_tokens":3,"output_tokens":1}},"parent_tool_use_id":null,"session_id":"c832de71"}
{"duration_api_ms":171,"stop_reason":"end_turn","session_id":"c832de71","total_cost_usd":0.0025624000000000003,"usage":{"input_tokens":200,"cache_creation_input_tokens":40,"cache_read_input_tokens":6,"output_tokens":14},"modelUsage":{"claude-opus-5-5":{"inputTokens":400,"outputTokens":28,"cacheReadInputTokens":12,"cacheCreationInputTokens":80,"costUSD":0.0025624000000000003}},"is_error":false,"num_turns":2,"subtype":"success","result":"It is written.","type":"result","result_index":1,"model_usage_since_last_result":{"claude-opus-5-5":{"inputTokens":200,"outputTokens":14,"cacheReadInputTokens":6,"cacheCreationInputTokens":40,"costUSD":0.0012812000000000001}}}
"#;
    let expect = report("claude_code", "c832de71", (492, 28), Some("0.002562"), "It is written.");
    let shown = "authentication_failed\nI write it.\nI remember periwinkle.\nIt is written.\n";
    assert_eq!(read("claude_code", &format!("{output}{rest}")), (shown.into(), expect, Verdict::Succeeded));
    // It has said a result, and goes on when its command has ended.
    let drivers = Drivers::built_in();
    let mut reading = Reading::new(drivers.get("claude_code").expect("known"), "claude_code", Taken::default());
    reading.take(output.as_bytes());
    assert!(!reading.is_over());
    reading.take(rest.as_bytes());
    assert!(reading.is_over());
}

#[test]
fn a_session_of_claude_code_that_goes_on_costs_what_this_run_of_it_does() {
    let output = r#"{"type":"system","subtype":"init","session_id":"cd412eb8","model":"claude-sonnet-4-5"}
{"stop_reason":"end_turn","session_id":"cd412eb8","total_cost_usd":0.0032048000000000007,"usage":{"input_tokens":200,"cache_creation_input_tokens":40,"cache_read_input_tokens":6,"output_tokens":14},"modelUsage":{"claude-opus-5-5":{"costUSD":0.0012812000000000001},"claude-sonnet-4-5":{"costUSD":0.0019236000000000001}},"is_error":false,"subtype":"success","result":"I remember periwinkle.","type":"result","model_usage_since_last_result":{"claude-sonnet-4-5":{"inputTokens":200,"outputTokens":14,"cacheReadInputTokens":6,"cacheCreationInputTokens":40,"costUSD":0.0009618000000000001}}}
"#;
    let expect = report("claude_code", "cd412eb8", (246, 14), Some("0.000962"), "I remember periwinkle.");
    assert_eq!(read("claude_code", output), (String::new(), expect, Verdict::Succeeded));
    // A version that does not say what the turn took says what the run did.
    let older = output.replace("model_usage_since_last_result", "somethingElse");
    let expect = report("claude_code", "cd412eb8", (246, 14), Some("0.003205"), "I remember periwinkle.");
    assert_eq!(read("claude_code", &older).1, expect);
}

#[test]
fn what_claude_code_fails_with_is_its_last_word() {
    let overloaded = r#"{"type":"assistant","message":{"model":"<synthetic>","role":"assistant","type":"message","content":[{"type":"text","text":"API Error: 529 fake failure 529."}]},"session_id":"2448819a","error":"server_error","is_api_error_message":true,"api_error_status":529}
{"session_id":"2448819a","total_cost_usd":0,"usage":{"input_tokens":0,"output_tokens":0},"modelUsage":{},"terminal_reason":"api_error","is_error":true,"subtype":"success","api_error_status":529,"api_error_type":"overloaded_error","result":"API Error: 529 fake failure 529.","type":"result","model_usage_since_last_result":{}}
"#;
    let (shown, said, verdict) = read("claude_code", overloaded);
    assert_eq!((shown.as_str(), verdict), ("API Error: 529 fake failure 529.\n", Verdict::Failed));
    assert_eq!(said, report("claude_code", "2448819a", (0, 0), None, "API Error: 529 fake failure 529."));
    let unknown = r#"{"type":"result","subtype":"error_during_execution","is_error":true,"num_turns":0,"session_id":"11111111","total_cost_usd":0,"usage":{"input_tokens":0,"output_tokens":0},"modelUsage":{},"errors":["No conversation found with session ID: 11111111"]}"#;
    let (_, said, verdict) = read("claude_code", unknown);
    let expect = Some("No conversation found with session ID: 11111111");
    assert_eq!((said.message.as_deref(), verdict), (expect, Verdict::Failed));
}

#[test]
fn codex_is_understood() {
    // 0.171.0, in a session that goes on: its tokens are those of all its runs.
    let output = r#"{"type":"thread.started","thread_id":"01a229bd-db4d"}
{"type":"item.completed","item":{"id":"item_0","type":"error","message":"Model metadata for `weird-model` not found."}}
{"type":"turn.started"}
{"type":"error","message":"Reconnecting... 2/5 (unexpected status 404 Not Found: not found, url: ws://127.0.0.1:7997/v1/responses)"}
{"type":"item.started","item":{"id":"item_1","type":"command_execution","command":"/bin/bash -lc 'echo written >> NOTES'","aggregated_output":"","exit_code":null,"status":"in_progress"}}
{"type":"item.completed","item":{"id":"item_1","type":"command_execution","command":"/bin/bash -lc 'echo written >> NOTES'","aggregated_output":"","exit_code":0,"status":"completed"}}
{"type":"item.completed","item":{"id":"item_2","type":"agent_message","text":"I remember periwinkle."}}
{"type":"turn.completed","usage":{"input_tokens":400,"cached_input_tokens":120,"cache_write_input_tokens":0,"output_tokens":28,"reasoning_output_tokens":8}}
"#;
    let shown = "Model metadata for `weird-model` not found.\nReconnecting... 2/5 (unexpected status 404 Not Found: not found, url: ws://127.0.0.1:7997/v1/responses)\nI remember periwinkle.\n";
    let expect = report("codex", "01a229bd-db4d", (400, 28), None, "I remember periwinkle.");
    assert_eq!(read("codex", output), (shown.into(), expect.clone(), Verdict::Succeeded));
    let before = Taken { input_tokens: 200, output_tokens: 14 };
    let expect = AgentReport { input_tokens: 200, output_tokens: 14, ..expect };
    assert_eq!(read_after("codex", output, before), (shown.into(), expect, Verdict::Succeeded));
    let failed = r#"{"type":"thread.started","thread_id":"01a229bd-e4eb"}
{"type":"turn.started"}
{"type":"error","message":"unexpected status 401 Unauthorized: fake failure 401, url: http://127.0.0.1:7997/fail/401/v1/responses"}
{"type":"turn.failed","error":{"message":"unexpected status 401 Unauthorized: fake failure 401, url: http://127.0.0.1:7997/fail/401/v1/responses"}}
"#;
    let (_, report, verdict) = read("codex", failed);
    let expect =
        "unexpected status 401 Unauthorized: fake failure 401, url: http://127.0.0.1:7997/fail/401/v1/responses";
    assert_eq!((report.message.as_deref(), verdict), (Some(expect), Verdict::Failed));
}

#[test]
fn gemini_is_understood() {
    // 0.61.0; tokens that it thought with are in the total and nowhere else.
    let output = r#"{"type":"init","timestamp":"2026-11-30T00:04:19.901Z","session_id":"e0a6c499","model":"auto"}
{"type":"message","timestamp":"2026-11-30T00:04:19.902Z","role":"user","content":"The word is periwinkle. Write NOTES.\n"}
{"type":"message","timestamp":"2026-11-30T00:04:19.970Z","role":"assistant","content":"I write it.","delta":true}
{"type":"tool_use","timestamp":"2026-11-30T00:04:20.036Z","tool_name":"run_shell_command","tool_id":"run_shell_command_0","parameters":{"command":"echo written >> NOTES"}}
{"type":"tool_result","timestamp":"2026-11-30T00:04:20.193Z","tool_id":"run_shell_command_0","status":"success","output":""}
{"type":"message","timestamp":"2026-11-30T00:04:20.224Z","role":"assistant","content":"I remember ","delta":true}
{"type":"message","timestamp":"2026-11-30T00:04:20.224Z","role":"assistant","content":"periwinkle.","delta":true}
{"type":"result","timestamp":"2026-11-30T00:04:20.226Z","status":"success","stats":{"total_tokens":327,"input_tokens":300,"output_tokens":21,"cached":90,"input":210,"duration_ms":325,"tool_calls":1,"models":{"fake":{"total_tokens":327,"input_tokens":300,"output_tokens":21,"cached":90,"input":210}}}}
"#;
    let expect = report("gemini", "e0a6c499", (300, 27), None, "I remember periwinkle.");
    assert_eq!(read("gemini", output), ("I write it.\nI remember periwinkle.\n".into(), expect, Verdict::Succeeded));
    let failed = r#"{"type":"init","timestamp":"2026-11-30T00:05:29.514Z","session_id":"ea31368b","model":"gemini-2.5-flash"}
{"type":"result","timestamp":"2026-11-30T00:05:29.686Z","status":"error","error":{"type":"unknown","message":"[API Error: fake failure 404]"},"stats":{"total_tokens":0,"input_tokens":0,"output_tokens":0,"cached":0,"input":0,"duration_ms":0,"tool_calls":0,"models":{}}}
"#;
    let expect = report("gemini", "ea31368b", (0, 0), None, "[API Error: fake failure 404]");
    assert_eq!(read("gemini", failed), (String::new(), expect, Verdict::Failed));
}

#[test]
fn opencode_is_understood() {
    // 1.18.33
    let output = r#"{"type":"step_start","timestamp":1795997045732,"sessionID":"ses_dd63bf6b","part":{"id":"prt_1","messageID":"msg_1","sessionID":"ses_dd63bf6b","snapshot":"4b825dc6","type":"step-start"}}
{"type":"text","timestamp":1795997045733,"sessionID":"ses_dd63bf6b","part":{"id":"prt_2","messageID":"msg_1","sessionID":"ses_dd63bf6b","type":"text","text":"I write it.","time":{"start":1795997045692,"end":1795997045694}}}
{"type":"tool_use","timestamp":1795997045825,"sessionID":"ses_dd63bf6b","part":{"type":"tool","tool":"bash","callID":"toolu_4","state":{"status":"completed","input":{"command":"echo written >> NOTES"},"output":"(no output)","title":"echo written >> NOTES"},"id":"prt_3","sessionID":"ses_dd63bf6b","messageID":"msg_1"}}
{"type":"step_finish","timestamp":1795997045961,"sessionID":"ses_dd63bf6b","part":{"id":"prt_4","reason":"tool-calls","snapshot":"3f88b1dd","messageID":"msg_1","sessionID":"ses_dd63bf6b","type":"step-finish","tokens":{"total":130,"input":100,"output":7,"reasoning":0,"cache":{"write":20,"read":3}},"cost":0.0004809}}
{"type":"text","timestamp":1795997046280,"sessionID":"ses_dd63bf6b","part":{"id":"prt_5","messageID":"msg_2","sessionID":"ses_dd63bf6b","type":"text","text":"I remember periwinkle.","time":{"start":1795997046266,"end":1795997046267}}}
{"type":"step_finish","timestamp":1795997046389,"sessionID":"ses_dd63bf6b","part":{"id":"prt_6","reason":"stop","snapshot":"3f88b1dd","messageID":"msg_2","sessionID":"ses_dd63bf6b","type":"step-finish","tokens":{"total":132,"input":100,"output":7,"reasoning":2,"cache":{"write":20,"read":3}},"cost":0.0004809}}
"#;
    let expect = report("opencode", "ses_dd63bf6b", (246, 16), Some("0.000962"), "I remember periwinkle.");
    assert_eq!(read("opencode", output), ("I write it.\nI remember periwinkle.\n".into(), expect, Verdict::Succeeded));
    let failed = r#"{"type":"error","timestamp":1795997479164,"sessionID":"ses_dd635a15","error":{"name":"APIError","data":{"message":"fake failure 401","statusCode":401,"isRetryable":false,"responseBody":"","metadata":{"url":"http://127.0.0.1:7997/fail/401/v1/messages"}}}}"#;
    let expect = report("opencode", "ses_dd635a15", (0, 0), None, "fake failure 401");
    assert_eq!(read("opencode", failed), (String::new(), expect, Verdict::Failed));
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
    let mut reading = Reading::new(drivers.get("codex").expect("known"), "codex", Taken::default());
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
