//! The programs that the drivers are for, each at a fake of its maker's API: what one edits is there, what it says of
//! itself is understood, and another execution goes on with its session and is told its own tokens only.
//!
//! `BIFROST_TEST_AGENTS` names the directory below which `scripts/test` has installed them; it leaves these tests out by
//! how their names begin.

mod model;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wire::agent::{AgentReport, AgentSpec};
use wire::event::{Stream, kind};
use wire::execution::Outcome;
use wire::test_report::TestsSpec;
use wire::worker::Completion;

use crate::isolation::Demand;
use crate::orders::Orders;
use crate::testing::{Remote, Scene, output};
use model::Model;

/// A program, and how it is led to the fake.
struct Program<'a> {
    name: &'a str,
    model: Option<&'a str>,
    /// Of the execution; `{url}` is the fake's.
    environment: &'a [(&'a str, &'a str)],
    /// In its repository; `{url}` is the fake's.
    files: &'a [(&'a str, &'a str)],
    /// What each execution takes.
    tokens: (u64, u64),
    has_price: bool,
    /// A model that nobody has, and what is said then.
    unknown: (&'a str, &'a str),
}

impl Program<'_> {
    async fn check(&self) {
        let (model, mut scene) = (Model::start().await, scene().await);
        let url = model.url();
        let files: Vec<_> = self.files.iter().map(|(path, text)| (*path, text.replace("{url}", &url))).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let remote = Remote::with(&files).await;
        let agent = |prompt: &str, session: Option<String>| {
            let (name, model) = (self.name.to_owned(), self.model.map(Into::into));
            AgentSpec { name, prompt: prompt.into(), model, session }
        };

        let (completion, first, said) = self.ask(&mut scene, &remote, &url, agent(model::TOLD, None)).await;
        assert_eq!(completion.outcome, Outcome::Succeeded, "{completion:?} {said}");
        assert_eq!(first.message.as_deref(), Some(model::REMEMBERED), "{said}");
        assert_eq!((first.input_tokens, first.output_tokens), self.tokens);
        assert_eq!(first.cost_dollars.is_some(), self.has_price, "{first:?}");
        assert!(said.contains(model::REMEMBERED), "{said}");

        // It knows what it was told, and says what this execution took.
        let again = agent("Which word was it?", first.session.clone());
        let (completion, second, said) = self.ask(&mut scene, &remote, &url, again).await;
        assert_eq!(completion.outcome, Outcome::Succeeded, "{completion:?} {said}");
        assert_eq!(second, first, "{said}");

        let (unknown, expect) = self.unknown;
        let refused = AgentSpec { model: Some(unknown.into()), ..agent("Which word was it?", None) };
        let (completion, _, said) = self.ask(&mut scene, &remote, &url, refused).await;
        let message = completion.message.unwrap_or_default();
        assert!(completion.outcome == Outcome::Failed && message.contains(expect), "{message} {said}");
    }

    /// Has it do what the fake makes of the prompt; it must leave its file behind where it ends well.
    async fn ask(
        &self,
        scene: &mut Scene,
        remote: &Remote,
        url: &str,
        agent: AgentSpec,
    ) -> (Completion, AgentReport, String) {
        let mut lease = scene.lease(remote, None, &[]);
        lease.spec.agent = Some(agent);
        let command = ["grep", "-x", model::WRITTEN, model::FILE].map(Into::into).to_vec();
        lease.spec.tests = Some(TestsSpec { command, format: None, report: None });
        let set = self.environment.iter().map(|(name, value)| ((*name).to_owned(), value.replace("{url}", url)));
        lease.spec.env.extend(set);
        let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
        let shown = format!("{}{}", output(&events, Stream::Stdout), output(&events, Stream::Stderr));
        let report = events.iter().find(|event| event.kind == kind::AGENT_REPORT);
        let report = report.unwrap_or_else(|| panic!("it said nothing of itself: {completion:?} {shown}"));
        (completion.expect("not lost"), serde_json::from_str(report.payload.get()).expect("a report"), shown)
    }
}

/// A runner with all walls that can stand, whose commands find the programs.
async fn scene() -> Scene {
    let vars = kit::Vars::from_process();
    let programs = vars.text("BIFROST_TEST_AGENTS").map(|below| Path::new(below).join("node_modules/.bin"));
    let programs = programs.expect("BIFROST_TEST_AGENTS is set; scripts/test sets it, or leaves this test out");
    let others = vars.text("PATH").map(std::env::split_paths).expect("a PATH");
    let path = std::env::join_paths([programs].into_iter().chain(others)).expect("no colons");
    let directory = tempfile::tempdir().expect("a directory");
    // Others may pass, so that a command can be another user.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    Scene::in_directory(directory, |config| {
        config.isolation = Demand::On;
        config.tool_environment.insert("PATH".into(), path.into_string().expect("text"));
    })
    .await
}

#[tokio::test]
async fn agent_program_claude_code() {
    Program {
        name: "claude_code",
        model: None,
        environment: &[
            ("ANTHROPIC_API_KEY", model::KEY),
            ("ANTHROPIC_BASE_URL", "{url}"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ],
        files: &[],
        tokens: (246, 14),
        has_price: true,
        unknown: ("nobody-has-it", "the selected model (nobody-has-it)"),
    }
    .check()
    .await;
}

#[tokio::test]
async fn agent_program_codex() {
    Program {
        name: "codex",
        model: None,
        environment: &[("CODEX_API_KEY", model::KEY)],
        files: &[
            ("codex.toml", "openai_base_url = \"{url}/v1\"\n"),
            (
                ".bifrost.toml",
                "[setup]\ncommands = [[\"sh\", \"-c\", 'install -D codex.toml $HOME/.codex/config.toml']]\n",
            ),
        ],
        tokens: (200, 14),
        has_price: false,
        unknown: ("nobody-has-it", "the model nobody-has-it does not exist"),
    }
    .check()
    .await;
}

#[tokio::test]
async fn agent_program_gemini() {
    Program {
        name: "gemini",
        model: Some("gemini-2.5-flash"),
        environment: &[("GEMINI_API_KEY", model::KEY), ("GOOGLE_GEMINI_BASE_URL", "{url}")],
        files: &[(".gemini/settings.json", "{\"security\":{\"auth\":{\"selectedType\":\"gemini-api-key\"}}}\n")],
        tokens: (200, 18),
        has_price: false,
        unknown: ("nobody-has-it", "the model nobody-has-it does not exist"),
    }
    .check()
    .await;
}

/// Where no wall stands it looks for the workspace of its first execution in vain.
#[tokio::test]
async fn agent_program_opencode_walled() {
    Program {
        name: "opencode",
        model: Some("anthropic/claude-sonnet-4-5"),
        environment: &[
            ("ANTHROPIC_API_KEY", model::KEY),
            ("ANTHROPIC_BASE_URL", "{url}/v1"),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
            // It would fetch what plugins need, and does without.
            ("NPM_CONFIG_REGISTRY", "{url}"),
        ],
        files: &[],
        tokens: (246, 14),
        has_price: true,
        unknown: ("anthropic/nobody-has-it", "Unexpected server error"),
    }
    .check()
    .await;
}
