//! Which command runs a repository's tests (pure): the one that its own files ask for.

/// What is known of the files at a repository's root.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Root {
    /// The names that are there.
    pub(crate) names: Vec<String>,
    /// `package.json`, where it is there.
    pub(crate) package: Option<String>,
    /// `pyproject.toml`, where it is there.
    pub(crate) pyproject: Option<String>,
    /// The Makefile, where it is there.
    pub(crate) makefile: Option<String>,
}

/// The files of which more than the name is looked at.
pub(crate) const LOOKED_INTO: [&str; 3] = ["package.json", "pyproject.toml", "Makefile"];

/// The command; nothing where no tests are to be seen.
pub(crate) fn command(root: &Root) -> Option<Vec<String>> {
    let has = |name: &str| root.names.iter().any(|known| known == name);
    let words = |line: &str| Some(line.split(' ').map(str::to_owned).collect());
    if has("Cargo.toml") {
        return words("cargo test --no-fail-fast");
    }
    if has("go.mod") {
        return words("go test -json ./...");
    }
    let is_pytests = root.pyproject.as_ref().is_some_and(|text| text.contains("pytest"));
    if is_pytests || ["pytest.ini", "conftest.py", "tox.ini"].iter().any(|name| has(name)) {
        return words("python3 -m pytest");
    }
    if let Some(package) = root.package.as_ref().and_then(|text| serde_json::from_str(text).ok()) {
        return words(script(&package)?);
    }
    let has_target = |text: &String| text.lines().any(|line| line.starts_with("test:"));
    if root.makefile.as_ref().is_some_and(has_target) {
        return words("make test");
    }
    None
}

/// By the tool that a package depends on, or else by its own script.
fn script(package: &serde_json::Value) -> Option<&'static str> {
    let uses = |tool: &str| {
        ["devDependencies", "dependencies"]
            .iter()
            .any(|kind| package.get(kind).is_some_and(|of| of.get(tool).is_some()))
    };
    if uses("vitest") {
        Some("npx vitest run --reporter=json")
    } else if uses("jest") {
        Some("npx jest --json")
    } else {
        package.pointer("/scripts/test").map(|_| "npm test --silent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_what_the_repositorys_files_ask_for() {
        let root =
            |names: &[&str]| Root { names: names.iter().map(|name| (*name).into()).collect(), ..Root::default() };
        let package = |text: &str| Root { package: Some(text.into()), ..root(&["package.json"]) };
        for (root, expect) in [
            (root(&["README"]), None),
            (root(&["Cargo.toml", "package.json"]), Some("cargo test --no-fail-fast")),
            (root(&["go.mod"]), Some("go test -json ./...")),
            (root(&["conftest.py"]), Some("python3 -m pytest")),
            (Root { pyproject: Some("[tool.pytest.ini_options]".into()), ..root(&[]) }, Some("python3 -m pytest")),
            (Root { pyproject: Some("[project]".into()), ..root(&[]) }, None),
            (package(r#"{"devDependencies": {"vitest": "1"}}"#), Some("npx vitest run --reporter=json")),
            (package(r#"{"dependencies": {"jest": "1"}}"#), Some("npx jest --json")),
            (package(r#"{"scripts": {"test": "node --test"}}"#), Some("npm test --silent")),
            (package("{}"), None),
            (package("{"), None),
            (Root { makefile: Some("all: x\ntest: all\n\tprove\n".into()), ..root(&[]) }, Some("make test")),
            (Root { makefile: Some("testing: x\n".into()), ..root(&[]) }, None),
        ] {
            assert_eq!(command(&root).map(|words| words.join(" ")).as_deref(), expect, "{root:?}");
        }
    }
}
