//! Which package managers a repository uses, how each installs, and by what its
//! result is known again (pure). They are data: `ecosystems.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;

/// How one package manager is found and run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ecosystem {
    pub(super) name: String,
    /// Members of one family exclude each other; the first in the table is taken.
    family: String,
    /// All of these files must be there.
    needs: Vec<String>,
    /// One of them must hold this text.
    holds: Option<Holds>,
    /// Other files that change the result when they change.
    also_reads: Vec<String>,
    /// Files and directories that the scripts of well-known packages read while they are installed.
    #[serde(default)]
    pub(super) scripts_read: Vec<String>,
    /// Its manifest names other files that matter as much, as requirements files do.
    #[serde(default)]
    includes: bool,
    /// Where the repository has members with manifests of their own, which matter as much.
    members: Option<Members>,
    /// The programs that must be on the PATH; their versions are part of the key.
    pub(super) tools: Vec<String>,
    /// How a tool is asked for its version, where that is not `--version`.
    #[serde(default)]
    questions: BTreeMap<String, String>,
    /// Run one after the other in the workspace.
    pub(super) steps: Vec<Vec<String>>,
    /// What a tool says when its lockfile is behind or something else than what it names came, one of these.
    #[serde(default)]
    drift: Vec<String>,
    pub(super) leaves: Leaves,
    /// Variables of an installation. `{packages}` is where the tools' caches are, `{workspace}` the tree.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Those that the command needs as well.
    #[serde(default)]
    shown: Vec<String>,
    /// A directory of the workspace that goes before the command's PATH.
    pub(super) programs: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holds {
    file: String,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    /// The name of their manifests.
    manifest: String,
    /// They are there where one of these holds.
    declared: Vec<Holds>,
}

/// What an installation leaves behind.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Leaves {
    /// Files in the tool's own cache on the volume, nothing in the workspace.
    Packages,
    #[serde(untagged)]
    Directories(Directories),
}

/// Directories of the workspace that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Directories {
    /// Those of this name, anywhere.
    pub(super) named: Option<String>,
    /// The one at this path.
    pub(super) at: Option<String>,
    /// Names of files that tools write in place: each workspace gets copies of them.
    #[serde(default)]
    pub(super) written_in_place: Vec<String>,
}

/// What each tool says about its version.
pub(super) type Versions = BTreeMap<String, String>;

/// What of a machine matters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine<'a> {
    pub(super) platform: &'a str,
    pub(super) versions: &'a Versions,
}

/// The files of a workspace that matter here, by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    ecosystem: Vec<Ecosystem>,
}

static TABLE: LazyLock<Vec<Ecosystem>> = LazyLock::new(|| {
    let table: Table = toml::from_str(include_str!("ecosystems.toml")).expect("a test reads it");
    table.ecosystem
});

impl Ecosystem {
    /// Whether the command can do without a failed installation: a tool that fetches for itself when
    /// it is used. But not where the lockfile is behind the manifest, which every later use meets too.
    pub(super) fn may_go_without(&self, stderr: &[u8]) -> bool {
        self.leaves == Leaves::Packages && !self.is_drift(stderr)
    }

    /// Whether what the tool said is that the lockfile is not what the manifest asks for.
    pub(super) fn is_drift(&self, said: &[u8]) -> bool {
        let said = String::from_utf8_lossy(said);
        self.drift.iter().any(|drift| said.contains(drift))
    }

    /// The argument by which a tool says its version.
    pub(super) fn question(&self, tool: &str) -> &str {
        self.questions.get(tool).map_or("--version", String::as_str)
    }

    /// The variables of an installation.
    pub(super) fn environment(&self, packages: &str, workspace: &str) -> BTreeMap<String, String> {
        let filled = |text: &String| text.replace("{packages}", packages).replace("{workspace}", workspace);
        self.environment.iter().map(|(name, text)| (name.clone(), filled(text))).collect()
    }

    /// The variables of the command.
    pub(super) fn shown(&self, packages: &str, workspace: &str) -> BTreeMap<String, String> {
        let mut all = self.environment(packages, workspace);
        all.retain(|name, _| self.shown.contains(name));
        all
    }

    /// The tools' caches that those variables name.
    pub(super) fn shown_packages(&self, packages: &Path) -> Vec<PathBuf> {
        let texts = self.shown.iter().filter_map(|name| self.environment.get(name));
        let named = texts.flat_map(|text| text.split("{packages}/").skip(1));
        let is_name = |character: char| character.is_ascii_alphanumeric() || character == '-';
        let names = named.map(|rest| rest.split(|character| !is_name(character)).next().unwrap_or_default());
        let names: BTreeSet<&str> = names.collect();
        names.into_iter().map(|name| packages.join(name)).collect()
    }

    fn is_of(&self, files: &Files) -> bool {
        let holds = self.holds.as_ref().is_none_or(|holds| holds.is_so(files));
        self.needs.iter().all(|name| files.contains_key(name)) && holds
    }

    /// The name of the manifests that members of the repository have, if it has members.
    pub(super) fn manifest_of_members(&self, files: &Files) -> Option<&str> {
        let members = self.members.as_ref()?;
        members.declared.iter().any(|holds| holds.is_so(files)).then_some(members.manifest.as_str())
    }
}

impl Holds {
    fn is_so(&self, files: &Files) -> bool {
        files.get(&self.file).is_some_and(|text| String::from_utf8_lossy(text).contains(&self.text))
    }
}

/// Every file name that detection or a key could ask for.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|row| row.needs.iter().chain(&row.also_reads).map(String::as_str))
}

/// The package managers to run, at most one of each family.
pub(super) fn detect(files: &Files) -> Vec<&'static Ecosystem> {
    let mut found: Vec<&'static Ecosystem> = Vec::new();
    for row in TABLE.iter() {
        let taken = found.iter().any(|other| other.family == row.family);
        if !taken && row.is_of(files) {
            found.push(row);
        }
    }
    found.retain(|row| row.needs != ["package.json"] || depends_on_anything(&files["package.json"]));
    found
}

/// Whether a manifest without a lockfile asks for anything at all.
fn depends_on_anything(manifest: &[u8]) -> bool {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap_or_default();
    ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies", "workspaces"].iter().any(|field| {
        let value = &manifest[field];
        value.as_object().is_some_and(|fields| !fields.is_empty())
            || value.as_array().is_some_and(|list| !list.is_empty())
    })
}

/// Names one result: the same manifest, lockfile, tools, variables and platform give a repository the same dependencies.
/// Another repository's code may have had a hand in what looks the same there. `also` are the manifests of its members,
/// and what else installing reads; `variables` are without secrets, which are others after a while.
pub(super) fn key(
    ecosystem: &Ecosystem,
    repository: &str,
    files: &Files,
    also: &Files,
    machine: Machine<'_>,
    variables: &BTreeMap<&str, String>,
) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for text in [&ecosystem.name, repository, machine.platform] {
        field(text.as_bytes());
    }
    for (tool, version) in machine.versions {
        field(tool.as_bytes());
        field(version.as_bytes());
    }
    field(b"variables");
    for (name, value) in variables {
        field(name.as_bytes());
        field(value.as_bytes());
    }
    let included = |name: &String| ecosystem.includes && is_requirement(name);
    let named = |name: &String| ecosystem.needs.iter().chain(&ecosystem.also_reads).any(|wanted| wanted == name);
    let own = files.iter().filter(|(name, _)| named(name) || included(name));
    for (name, contents) in own.chain(also) {
        field(name.as_bytes());
        field(contents);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn is_requirement(name: &str) -> bool {
    name.ends_with(".txt") || name.ends_with(".in")
}

/// The files that a requirements file includes, as it names them.
pub(super) fn includes(requirements: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(requirements);
    let included = |line: &str| {
        let line = line.trim();
        let rest = ["-r", "--requirement", "-c", "--constraint"].iter().rev().find_map(|option| {
            let rest = line.strip_prefix(option)?;
            rest.starts_with([' ', '\t', '=']).then_some(rest)
        })?;
        let name = rest.trim_start_matches([' ', '\t', '=']).split_whitespace().next()?;
        is_requirement(name).then(|| name.to_owned())
    };
    text.lines().filter_map(included).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> Files {
        entries.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn commands(entries: &[(&str, &str)]) -> Vec<String> {
        detect(&files(entries)).iter().flat_map(|row| &row.steps).map(|step| step.join(" ")).collect()
    }

    const MANIFEST: (&str, &str) = ("package.json", r#"{"dependencies":{"a":"1"}}"#);

    #[test]
    fn installs_are_frozen_wherever_there_is_a_lockfile() {
        let berry = ("yarn.lock", "__metadata:\n  version: 8\n");
        for (more, expect) in [
            (&[("package-lock.json", "{}")][..], &["npm ci --no-audit --no-fund"][..]),
            (&[("npm-shrinkwrap.json", "{}")], &["npm ci --no-audit --no-fund"]),
            (&[], &["npm install --no-package-lock --no-audit --no-fund"]),
            (&[("pnpm-lock.yaml", ""), ("yarn.lock", "")], &["pnpm install --frozen-lockfile"]),
            (&[("yarn.lock", "# yarn lockfile v1")], &["yarn install --frozen-lockfile --non-interactive"]),
            (&[berry], &["yarn install --immutable"]),
            (&[("bun.lock", "{}")], &["bun install --frozen-lockfile"]),
            (&[("bun.lockb", "")], &["bun install --frozen-lockfile"]),
            (&[berry, ("Cargo.toml", ""), ("Cargo.lock", "")], &["yarn install --immutable", "cargo fetch --locked"]),
        ] {
            let entries: Vec<_> = [MANIFEST].iter().chain(more).copied().collect();
            assert_eq!(commands(&entries), expect, "{more:?}");
        }
        for (entries, expect) in [
            (&["pyproject.toml", "uv.lock", "requirements.txt"][..], "uv sync --locked --no-install-project"),
            (&["pyproject.toml", "poetry.lock"], "poetry install --no-interaction --no-root"),
            (&["go.mod", "go.sum"], "go list -deps -test ./..."),
            (&["Gemfile", "Gemfile.lock"], "bundle install"),
            (&["pom.xml"], "mvn --batch-mode --quiet dependency:go-offline"),
            (&["build.gradle.kts"], "gradle --no-daemon --console=plain --quiet dependencies"),
        ] {
            let entries: Vec<_> = entries.iter().map(|name| (*name, "")).collect();
            assert_eq!(commands(&entries), [expect], "{entries:?}");
        }
        let composer = commands(&[("composer.json", "{}"), ("composer.lock", "{}")]);
        assert_eq!(composer[1], "composer install --no-interaction --no-progress");
    }

    #[test]
    fn variables_name_the_caches_and_the_workspace_and_few_are_shown() {
        let files = files(&[("requirements.txt", "x")]);
        let pip = detect(&files)[0];
        let shown = [("VIRTUAL_ENV".to_owned(), "/w/.venv".to_owned())].into();
        assert_eq!(pip.shown("/p", "/w"), shown);
        assert_eq!(pip.environment("/p", "/w").get("PIP_CACHE_DIR").map(String::as_str), Some("/p/pip"));
        for row in TABLE.iter() {
            let unknown = row.shown.iter().filter(|name| !row.environment.contains_key(*name)).count();
            assert!(unknown == 0 && !row.tools.is_empty() && !row.steps.is_empty(), "{}", row.name);
        }
        for (name, expect) in [("cargo", "/p/cargo"), ("go", "/p/go"), ("maven", "/p/maven"), ("gradle", "/p/gradle")] {
            let row = TABLE.iter().find(|row| row.name == name).expect("is known");
            assert_eq!(row.shown_packages(Path::new("/p")), [Path::new(expect)], "{name}");
        }
        assert!(pip.shown_packages(Path::new("/p")).is_empty());
    }

    #[test]
    fn nothing_is_installed_where_nothing_is_asked_for() {
        for entries in [
            &[][..],
            &[("package.json", r#"{"name":"x","dependencies":{}}"#)],
            &[("package.json", "not json")],
            &[("Cargo.toml", "")],
            &[("pyproject.toml", "")],
        ] {
            assert_eq!(commands(entries), [""; 0], "{entries:?}");
        }
        assert_eq!(commands(&[("requirements.txt", "x")]).len(), 2);
        assert_eq!(commands(&[("requirements.txt", "x"), ("pyproject.toml", ""), ("uv.lock", "")]).len(), 1);
    }

    #[test]
    fn the_key_follows_repository_manifest_lockfile_and_tools_and_nothing_else() {
        let entries = [MANIFEST, ("package-lock.json", "{}")];
        let key_for = |repository: &str, entries: &[(&str, &str)], npm: &str| {
            let files = files(entries);
            let versions = [("npm".to_owned(), npm.to_owned())].into();
            let machine = Machine { platform: "linux", versions: &versions };
            key(detect(&files)[0], repository, &files, &Files::new(), machine, &BTreeMap::new())
        };
        let key_of = |entries: &[(&str, &str)], npm: &str| key_for("one", entries, npm);
        let first = key_of(&entries, "10");
        assert_ne!(first, key_for("another", &entries, "10"));
        assert_eq!(first, key_of(&[entries[0], entries[1], ("Cargo.toml", "other")], "10"));
        for (entries, npm) in [
            (&[("package.json", r#"{"dependencies":{"a":"2"}}"#), entries[1]][..], "10"),
            (&[entries[0], ("package-lock.json", "{ }")], "10"),
            (&[entries[0], entries[1], (".npmrc", "x")], "10"),
            (&entries, "11"),
        ] {
            assert_ne!(first, key_of(entries, npm), "{entries:?} {npm}");
        }
    }

    #[test]
    fn members_are_looked_for_where_a_manifest_names_some() {
        let of = |entries: &[(&str, &str)]| {
            let files = files(entries);
            detect(&files)[0].manifest_of_members(&files)
        };
        let lockfile = ("package-lock.json", "{}");
        assert_eq!(of(&[MANIFEST, lockfile]), None);
        assert_eq!(of(&[("package.json", r#"{"workspaces":["a"]}"#), lockfile]), Some("package.json"));
        let pnpm = [MANIFEST, ("pnpm-lock.yaml", ""), ("pnpm-workspace.yaml", "packages: [a]")];
        assert_eq!(of(&pnpm), Some("package.json"));
        assert_eq!(of(&pnpm[..2]), None);
        let uv = [("pyproject.toml", "[tool.uv.workspace]\nmembers = ['a']"), ("uv.lock", "")];
        assert_eq!(of(&uv), Some("pyproject.toml"));
    }

    #[test]
    fn included_requirements_are_found() {
        let text = b"# x\n-r base.txt\n  --requirement=more/dev.txt # why\n-c constraints.txt\n-rx\n-e .\nflask\n";
        assert_eq!(includes(text), ["base.txt", "more/dev.txt", "constraints.txt"]);
    }
}
