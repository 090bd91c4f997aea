//! Drivers: how an agent is started and how its output is understood (pure).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::Deserialize;
use wire::agent::AgentSpec;

const BUILT_IN: &str = include_str!("drivers.toml");

/// The runner's own program, as what it starts can run it wherever that lies: also where a command cannot see it.
const OWN: &str = "/proc/self/exe";

/// A file of drivers, as it is written.
type Tables = BTreeMap<String, toml::Table>;

/// Every agent that a runner knows, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Drivers(BTreeMap<String, Driver>);

/// One agent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    program: String,
    /// What it is told before the prompt with which a session begins.
    #[serde(default)]
    instructions: String,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    model: Vec<String>,
    #[serde(default)]
    session: Vec<String>,
    /// What it remembers of its sessions, below its home.
    #[serde(default)]
    pub(crate) state: Vec<String>,
    /// What of that goes by the directory that it works in: `{}` is that, and `{name}` the last part of it.
    #[serde(default)]
    pub(crate) by_directory: Vec<String>,
    /// The numbers that it says are those of its whole session, and not of a run of it.
    #[serde(default)]
    pub(crate) counts_session: bool,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// The variables in which it looks for what it authenticates with.
    #[serde(default)]
    pub(crate) keys: Vec<String>,
    #[serde(default)]
    pub(crate) read: Vec<Rule>,
}

/// What a line of output says, where it is of this kind.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    #[serde(default)]
    pub(crate) when: BTreeMap<String, String>,
    /// Only where the line has nothing there.
    pub(crate) lacks: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) says: Option<String>,
    #[serde(default)]
    pub(crate) chunk: bool,
    pub(crate) message: Option<String>,
    pub(crate) asks: Option<String>,
    #[serde(default)]
    pub(crate) input_tokens: Vec<String>,
    #[serde(default)]
    pub(crate) output_tokens: Vec<String>,
    pub(crate) cost_dollars: Option<String>,
    #[serde(default)]
    pub(crate) total: bool,
    /// A list of what it still waits for: while there is anything in it, a result is not the last.
    pub(crate) busy: Option<String>,
    pub(crate) ends: Option<Ending>,
}

/// How a line says that the run is over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Ending {
    Succeeded,
    Failed,
    /// It has failed if this is true.
    FailedIf(String),
}

impl TryFrom<String> for Ending {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "succeeded" => Ok(Self::Succeeded),
            "failed" => Ok(Self::Failed),
            pointer if pointer.starts_with('/') => Ok(Self::FailedIf(text)),
            _ => Err(format!("ends = {text:?}: say \"succeeded\", \"failed\" or a pointer such as \"/is_error\"")),
        }
    }
}

impl Drivers {
    /// Those that come with the runner.
    pub fn built_in() -> Self {
        let drivers = toml::from_str(BUILT_IN).expect("a test reads it");
        Self(drivers)
    }

    /// These, and those of a file of the same form, which win.
    pub fn and(mut self, text: &str) -> Result<Self, String> {
        let built_in: Tables = toml::from_str(BUILT_IN).expect("a test reads it");
        let others: Tables = toml::from_str(text).map_err(|error| error.to_string())?;
        for (name, table) in others {
            let driver = Driver::read(table, &built_in).map_err(|complaint| format!("agent {name}: {complaint}"))?;
            self.0.insert(name, driver);
        }
        Ok(self)
    }

    /// Whether that agent can go on with a session of its own.
    pub fn can_resume(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|driver| !driver.session.is_empty())
    }

    /// How that agent is started and understood.
    pub fn get(&self, name: &str) -> Option<&Driver> {
        self.0.get(name)
    }

    /// Every variable in which one of them looks for a key.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.values().flat_map(|driver| &driver.keys).map(String::as_str)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl Driver {
    fn read(mut table: toml::Table, built_in: &Tables) -> Result<Self, String> {
        if let Some(like) = table.remove("like") {
            let names = || built_in.keys().cloned().collect::<Vec<_>>().join(", ");
            let other = like.as_str().and_then(|name| built_in.get(name));
            for (key, value) in other.ok_or_else(|| format!("like = {like}: name one of {}", names()))? {
                table.entry(key).or_insert_with(|| value.clone());
            }
        }
        let driver: Self = table.try_into().map_err(|error| error.to_string())?;
        driver.check().map(|()| driver)
    }

    /// What its standard input is.
    pub(crate) fn prompt<'a>(&self, spec: &'a AgentSpec) -> Cow<'a, str> {
        match (self.instructions.trim_end(), &spec.session) {
            ("", _) | (_, Some(_)) => Cow::Borrowed(&spec.prompt),
            (instructions, None) => Cow::Owned(format!("{instructions}\n\n{}", spec.prompt)),
        }
    }

    /// Program and arguments for a task.
    pub(crate) fn command(&self, spec: &AgentSpec) -> Vec<String> {
        let program = if self.program == "{self}" { OWN } else { &self.program };
        let mut command = vec![program.to_owned()];
        for argument in &self.arguments {
            let (list, word) = match argument.as_str() {
                "{model}" => (&self.model, &spec.model),
                "{session}" => (&self.session, &spec.session),
                _ => {
                    command.push(argument.clone());
                    continue;
                }
            };
            if let Some(word) = word {
                command.extend(list.iter().map(|part| part.replace("{}", word)));
            }
        }
        command
    }

    fn check(&self) -> Result<(), String> {
        if self.program.is_empty() {
            return Err("program is empty".into());
        }
        let is_below = |path: &&String| {
            let mut parts = Path::new(path.as_str()).components().peekable();
            parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        if let Some(path) = self.state.iter().chain(&self.by_directory).find(|path| !is_below(path)) {
            return Err(format!("{path:?} is no path below the agent's home: leave out a leading / and any .."));
        }
        let names = |path: &&String| path.contains("{}") || path.contains("{name}");
        if let Some(path) = self.by_directory.iter().find(|path| !names(path)) {
            return Err(format!("{path:?} must say by {{}} or {{name}} where the directory's name stands"));
        }
        let pointers = self.read.iter().flat_map(Rule::pointers);
        match pointers.into_iter().find(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            Some(pointer) => Err(format!("{pointer:?} is not a JSON pointer: it must begin with /")),
            None => Ok(()),
        }
    }
}

impl Rule {
    fn pointers(&self) -> Vec<&str> {
        let single =
            [&self.lacks, &self.session, &self.says, &self.message, &self.asks, &self.cost_dollars, &self.busy];
        let tokens = self.input_tokens.iter().chain(&self.output_tokens).map(|number| taken_away(number).1);
        let all = self.when.keys().chain(single.into_iter().flatten()).map(String::as_str);
        all.chain(tokens).collect()
    }
}

/// Whether a number is taken away from the others, and where it stands.
pub(crate) fn taken_away(number: &str) -> (bool, &str) {
    number.strip_prefix('-').map_or((false, number), |pointer| (true, pointer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> AgentSpec {
        AgentSpec { name: name.into(), prompt: "do it; rm -rf /".into(), model: None, session: None }
    }

    #[test]
    fn every_agent_that_comes_with_the_runner_is_well_formed() {
        let drivers = Drivers::built_in();
        assert_eq!(drivers.names(), ["claude_code", "codex", "gemini", "mock", "opencode"]);
        for driver in drivers.0.values() {
            driver.check().expect("well formed");
            assert!(driver.read.iter().any(|rule| rule.ends.is_some()), "{driver:?}");
        }
    }

    #[test]
    fn a_prompt_is_in_no_argument_and_a_session_and_a_model_are_where_the_agent_looks() {
        let drivers = Drivers::built_in();
        let command = |spec: &AgentSpec| drivers.get(&spec.name).expect("known").command(spec).join(" ");
        for name in drivers.names() {
            assert!(!command(&spec(name)).contains("do it"), "{name}");
        }
        let again = AgentSpec { model: Some("m-1".into()), session: Some("s-1".into()), ..spec("codex") };
        let flags = "--json --dangerously-bypass-approvals-and-sandbox --skip-git-repo-check";
        assert_eq!(command(&spec("codex")), format!("codex exec {flags} -"));
        assert_eq!(command(&again), format!("codex exec {flags} --model m-1 resume s-1 -"));
        assert_eq!(command(&spec("mock")), "/proc/self/exe mock-agent");
        assert!(drivers.can_resume("codex") && !drivers.can_resume("nobody"));
    }

    #[test]
    fn a_role_is_another_agent_with_instructions_of_its_own() {
        let file =
            "[owner]\nlike = \"codex\"\ninstructions = \"You are the owner.\\n\"\nmodel = [\"--model=big-{}\"]\n";
        let drivers = Drivers::built_in().and(file).expect("reads");
        let (owner, codex) = (drivers.get("owner").expect("known"), drivers.get("codex").expect("known"));
        assert_eq!(owner.command(&spec("owner")), codex.command(&spec("codex")));
        assert_eq!((&owner.read, &owner.keys, &owner.state), (&codex.read, &codex.keys, &codex.state));
        let asked = AgentSpec { model: Some("1".into()), ..spec("owner") };
        assert!(owner.command(&asked).contains(&"--model=big-1".to_owned()));
        assert_eq!(owner.prompt(&asked), "You are the owner.\n\ndo it; rm -rf /");
        // Its session has heard them.
        let again = AgentSpec { session: Some("s-1".into()), ..asked };
        assert_eq!(
            (owner.prompt(&again), codex.prompt(&spec("codex"))),
            ("do it; rm -rf /".into(), "do it; rm -rf /".into())
        );
    }

    #[test]
    fn an_operator_adds_agents_and_changes_them_and_is_told_what_is_wrong() {
        let file = "[codex]\nprogram = \"my-codex\"\n[aider]\nprogram = \"aider\"\n[[aider.read]]\nends = \"/bad\"\n";
        let drivers = Drivers::built_in().and(file).expect("reads");
        assert_eq!(drivers.get("codex").expect("known").command(&spec("codex")), ["my-codex"]);
        assert!(drivers.get("aider").is_some() && drivers.get("mock").is_some());
        for (file, expect) in [
            ("[x]\nprogram = \"\"\n", "program is empty"),
            (
                "[x]\nlike = \"owner\"\n[owner]\nprogram = \"x\"\n",
                "agent x: like = \"owner\": name one of claude_code, codex,",
            ),
            ("[x]\nlike = 1\n", "like = 1: name one of"),
            ("[x]\nlike = \"codex\"\nprogram = 1\n", "invalid type"),
            ("[x]\nprogram = \"x\"\nshell = true\n", "unknown field `shell`"),
            ("[x]\nprogram = \"x\"\nstate = [\"/etc\"]\n", "\"/etc\" is no path below the agent's home"),
            ("[x]\nprogram = \"x\"\nstate = [\"a/../..\"]\n", "is no path below the agent's home"),
            ("[x]\nprogram = \"x\"\nstate = [\"\"]\n", "is no path below the agent's home"),
            ("[x]\nprogram = \"x\"\nby_directory = [\"a\"]\n", "must say by {} or {name} where the directory's"),
            ("[x]\nprogram = \"x\"\n[[x.read]]\nends = \"done\"\n", "say \"succeeded\""),
            ("[x]\nprogram = \"x\"\n[[x.read]]\nsays = \"text\"\n", "is not a JSON pointer"),
            ("[x]\nprogram = \"x\"\n[[x.read]]\noutput_tokens = [\"-text\"]\n", "\"text\" is not a JSON pointer"),
        ] {
            let complaint = Drivers::built_in().and(file).expect_err("refused");
            assert!(complaint.contains(expect), "{complaint}");
        }
    }
}
