//! Which package managers a repository uses, how each installs, and by what its
//! result is known again (pure). One table: a new ecosystem is a new row.

use std::collections::BTreeMap;

/// How one package manager is found and run.
#[derive(Debug)]
pub(super) struct Ecosystem {
    pub(super) name: &'static str,
    /// Members of one family exclude each other; the first in the table is taken.
    family: &'static str,
    /// All of these files must be there.
    needs: &'static [&'static str],
    /// Other files that change the result when they change.
    also_reads: &'static [&'static str],
    /// The programs that must be on the PATH; their versions are part of the key.
    pub(super) tools: &'static [&'static str],
    /// Run one after the other in the workspace; frozen wherever there is a lockfile (decision C-21).
    pub(super) steps: fn(&Versions) -> Vec<Vec<&'static str>>,
    pub(super) leaves: Leaves,
}

/// What an installation leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Directories of this name, anywhere in the workspace.
    Directories(&'static str),
    /// Files in the tool's own cache on the volume, nothing in the workspace.
    Packages,
}

/// What each tool says about its version.
pub(super) type Versions = BTreeMap<&'static str, String>;

/// The files of a workspace that matter here, by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

const NODE_FILES: &[&str] = &[".npmrc", ".node-version", ".nvmrc"];
const NODE_MODULES: Leaves = Leaves::Directories("node_modules");
const VENV: Leaves = Leaves::Directories(".venv");

static TABLE: [Ecosystem; 8] = [
    Ecosystem {
        name: "pnpm",
        family: "node",
        needs: &["package.json", "pnpm-lock.yaml"],
        also_reads: &[".npmrc", "pnpm-workspace.yaml", ".pnpmfile.cjs"],
        tools: &["node", "pnpm"],
        steps: |_| vec![vec!["pnpm", "install", "--frozen-lockfile"]],
        leaves: NODE_MODULES,
    },
    Ecosystem {
        name: "yarn",
        family: "node",
        needs: &["package.json", "yarn.lock"],
        also_reads: &[".npmrc", ".yarnrc", ".yarnrc.yml"],
        tools: &["node", "yarn"],
        steps: |versions| {
            let is_classic = versions.get("yarn").is_some_and(|version| version.starts_with("1."));
            let frozen = if is_classic { "--frozen-lockfile" } else { "--immutable" };
            vec![vec!["yarn", "install", frozen]]
        },
        leaves: NODE_MODULES,
    },
    Ecosystem {
        name: "npm",
        family: "node",
        needs: &["package.json", "package-lock.json"],
        also_reads: NODE_FILES,
        tools: &["node", "npm"],
        steps: |_| vec![vec!["npm", "ci", "--no-audit", "--no-fund"]],
        leaves: NODE_MODULES,
    },
    Ecosystem {
        name: "npm",
        family: "node",
        needs: &["package.json", "npm-shrinkwrap.json"],
        also_reads: NODE_FILES,
        tools: &["node", "npm"],
        steps: |_| vec![vec!["npm", "ci", "--no-audit", "--no-fund"]],
        leaves: NODE_MODULES,
    },
    Ecosystem {
        name: "npm",
        family: "node",
        needs: &["package.json"],
        also_reads: NODE_FILES,
        tools: &["node", "npm"],
        // Without a lockfile: and none is left behind, which would look like the command's work.
        steps: |_| vec![vec!["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]],
        leaves: NODE_MODULES,
    },
    Ecosystem {
        name: "cargo",
        family: "rust",
        needs: &["Cargo.toml", "Cargo.lock"],
        also_reads: &["rust-toolchain", "rust-toolchain.toml", ".cargo/config.toml"],
        tools: &["cargo"],
        steps: |_| vec![vec!["cargo", "fetch", "--locked"]],
        leaves: Leaves::Packages,
    },
    Ecosystem {
        name: "uv",
        family: "python",
        needs: &["pyproject.toml", "uv.lock"],
        also_reads: &[".python-version"],
        tools: &["uv"],
        // The project itself is left out: an editable install would name this one workspace.
        steps: |_| vec![vec!["uv", "sync", "--frozen", "--no-install-project"]],
        leaves: VENV,
    },
    Ecosystem {
        name: "pip",
        family: "python",
        needs: &["requirements.txt"],
        also_reads: &[".python-version"],
        tools: &["python3"],
        steps: |_| {
            let install = [".venv/bin/python", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"];
            let install = install.into_iter().chain(["-r", "requirements.txt"]).collect();
            vec![vec!["python3", "-m", "venv", ".venv"], install]
        },
        leaves: VENV,
    },
];

impl Ecosystem {
    /// Whether the command can do without a failed installation: a tool that fetches for itself when
    /// it is used. But not where the lockfile is behind the manifest, which every later use meets too.
    pub(super) fn may_go_without(&self, stderr: &[u8]) -> bool {
        self.leaves == Leaves::Packages && !String::from_utf8_lossy(stderr).contains("--locked")
    }
}

/// Every file name that detection or a key could ask for.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|row| row.needs.iter().chain(row.also_reads).copied())
}

/// The package managers to run, at most one of each family.
pub(super) fn detect(files: &Files) -> Vec<&'static Ecosystem> {
    let mut found: Vec<&'static Ecosystem> = Vec::new();
    for row in &TABLE {
        let taken = found.iter().any(|other| other.family == row.family);
        if !taken && row.needs.iter().all(|name| files.contains_key(*name)) {
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

/// Names one result: the same manifest, lockfile, tools and platform give the same dependencies.
pub(super) fn key(ecosystem: &Ecosystem, files: &Files, versions: &Versions) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for text in [ecosystem.name, std::env::consts::OS, std::env::consts::ARCH] {
        field(text.as_bytes());
    }
    for (tool, version) in versions {
        field(tool.as_bytes());
        field(version.as_bytes());
    }
    let included = |name: &String| ecosystem.name == "pip" && is_requirement(name);
    let named = |name: &String| ecosystem.needs.iter().chain(ecosystem.also_reads).any(|wanted| wanted == name);
    for (name, contents) in files.iter().filter(|(name, _)| named(name) || included(name)) {
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

    fn commands(entries: &[(&str, &str)], versions: &[(&'static str, &str)]) -> Vec<String> {
        let versions = versions.iter().map(|(tool, version)| (*tool, (*version).to_owned())).collect();
        detect(&files(entries)).iter().flat_map(|row| (row.steps)(&versions)).map(|step| step.join(" ")).collect()
    }

    const MANIFEST: (&str, &str) = ("package.json", r#"{"dependencies":{"a":"1"}}"#);

    #[test]
    fn installs_are_frozen_wherever_there_is_a_lockfile() {
        for (more, versions, expect) in [
            (&[("package-lock.json", "{}")][..], &[][..], &["npm ci --no-audit --no-fund"][..]),
            (&[("npm-shrinkwrap.json", "{}")], &[], &["npm ci --no-audit --no-fund"]),
            (&[], &[], &["npm install --no-package-lock --no-audit --no-fund"]),
            (&[("pnpm-lock.yaml", ""), ("yarn.lock", "")], &[], &["pnpm install --frozen-lockfile"]),
            (&[("yarn.lock", "")], &[("yarn", "1.22.22")], &["yarn install --frozen-lockfile"]),
            (&[("yarn.lock", "")], &[("yarn", "4.5.0")], &["yarn install --immutable"]),
            (
                &[("yarn.lock", ""), ("Cargo.toml", ""), ("Cargo.lock", "")],
                &[],
                &["yarn install --immutable", "cargo fetch --locked"],
            ),
        ] {
            let entries: Vec<_> = [MANIFEST].iter().chain(more).copied().collect();
            assert_eq!(commands(&entries, versions), expect, "{more:?}");
        }
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
            assert_eq!(commands(entries, &[]), [""; 0], "{entries:?}");
        }
        assert_eq!(commands(&[("requirements.txt", "x")], &[]).len(), 2);
        assert_eq!(commands(&[("requirements.txt", "x"), ("pyproject.toml", ""), ("uv.lock", "")], &[]).len(), 1);
    }

    #[test]
    fn the_key_follows_manifest_lockfile_and_tools_and_nothing_else() {
        let entries = [MANIFEST, ("package-lock.json", "{}")];
        let key_of = |entries: &[(&str, &str)], npm: &str| {
            let files = files(entries);
            key(detect(&files)[0], &files, &[("npm", npm.to_owned())].into())
        };
        let first = key_of(&entries, "10");
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
    fn included_requirements_are_found() {
        let text = b"# x\n-r base.txt\n  --requirement=more/dev.txt # why\n-c constraints.txt\n-rx\n-e .\nflask\n";
        assert_eq!(includes(text), ["base.txt", "more/dev.txt", "constraints.txt"]);
    }
}
