//! Installations with the package managers themselves, each of a package that lies in
//! the repository, so that no network is needed: made once, taken from the store after
//! that, of use to the command, and never made from a lockfile that is behind.
//!
//! `BIFROST_TEST_TOOLS` names the directory below which `scripts/test` has installed them;
//! their names are what it leaves tests out by, as the names of those that are Debian's.

use super::*;
use crate::testing::{PATIENCE, Remote, Scene, output, until};
use wire::execution::Outcome;

/// A project as its people have it.
#[derive(Clone, Copy, Default)]
struct Project<'a> {
    /// Directories of programs, below that of the tools.
    programs: &'a [&'a str],
    /// What the operator has set; `{repository}` is where the project is.
    environment: &'a [(&'a str, &'a str)],
    files: &'a [(&'a str, &'a str)],
    /// Makes the package, and writes the lockfile as people do.
    lock: &'a str,
    /// Says `used` with the help of the package.
    command: &'a str,
    /// A file after whose change the lockfile is behind.
    drift: (&'a str, &'a str),
}

const TARBALL: &str = "tar -czf thing.tgz --transform s,^thing,package, thing";
const THING: [(&str, &str); 3] = [
    ("thing/package.json", r#"{"name":"thing","version":"1.0.0"}"#),
    ("thing/index.js", "module.exports = 'used';\n"),
    (".gitignore", "node_modules\n.yarn\n"),
];
/// Where the package is comes in between.
const APPLICATION: [&str; 2] =
    [r#"{"name":"application","version":"1.0.0","license":"MIT","dependencies":{"thing":"file:./"#, r#""}}"#];
const NODE_COMMAND: &str = "node -p 'require(\"thing\")'";

/// A wheel, which is an archive of this shape.
const WHEEL: &str = r#"python3 - <<'END'
import zipfile
with zipfile.ZipFile("thing-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("thing.py", "word = 'used'\n")
    wheel.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    wheel.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("thing-1.0.dist-info/RECORD", "thing.py,,\nthing-1.0.dist-info/METADATA,,\nthing-1.0.dist-info/WHEEL,,\nthing-1.0.dist-info/RECORD,,\n")
END"#;
const PYTHON_COMMAND: &str = "python -c 'import thing; print(thing.word)'";

impl Project<'_> {
    /// Installs it, twice from the store, and not after a change that the lockfile does not know.
    async fn check(&self) {
        let (remote, mut scene) = self.install().await;
        remote.commit(&[self.drift]).await;
        let (completion, events) = scene.run(&remote, "echo ran").await;
        let said = output(&events, Stream::Stderr) + &output(&events, Stream::Stdout);
        assert_eq!(completion.outcome, Outcome::SetupFailed, "{said}");
        assert_eq!(completion.failure, Some(Failure::InstallFailed), "{said}");
        remote.git(&["revert", "--no-edit", "HEAD"]).await;
        assert_eq!(cache(&scene.run(&remote, self.command).await.0), Some(Cache::Hit));
    }

    /// Installs it, and twice from the store.
    async fn install(&self) -> (Remote, Scene) {
        let vars = kit::Vars::from_process();
        let tools = vars.text("BIFROST_TEST_TOOLS").map(PathBuf::from);
        let tools = tools.expect("BIFROST_TEST_TOOLS is set; scripts/test sets it, or leaves this test out");
        let mut programs: Vec<_> = self.programs.iter().map(|below| tools.join(below)).collect();
        programs.extend(std::env::split_paths(vars.text("PATH").unwrap_or_default()));
        let path = std::env::join_paths(programs).expect("no colons").into_string().expect("text");

        let mut environment = crate::config::tool_environment(&vars);
        environment.insert("PATH".into(), path);

        let remote = Remote::with(self.files).await;
        let repository = remote.path().to_string_lossy();
        let set = self.environment.iter().map(|(name, value)| (*name, value.replace("{repository}", &repository)));
        environment.extend(set.map(|(name, value)| (name.to_owned(), value)));
        let mut lock = kit::process::command("sh");
        lock.args(["-euc", self.lock]).current_dir(remote.path());
        lock.envs(&environment).env("HOME", remote.path().join(".git"));
        let locked = lock.output().await.expect("runs");
        assert!(locked.status.success(), "{locked:?}");
        remote.commit(&[]).await;

        let mut scene = Scene::with(|config| config.tool_environment = environment).await;
        let show = format!("{}; git status --porcelain", self.command);
        for expect in [Cache::Miss, Cache::Hit, Cache::Hit] {
            let (completion, events) = scene.run(&remote, &show).await;
            assert_eq!(cache(&completion), Some(expect), "{completion:?} {}", output(&events, Stream::Stderr));
            assert_eq!(output(&events, Stream::Stdout), "used\n", "{}", output(&events, Stream::Stderr));
            // The next one gets what was made ready meanwhile.
            let background = scene.room.background.clone();
            tokio::time::timeout(PATIENCE, until(async || background.is_idle())).await.expect("gets ready");
        }
        (remote, scene)
    }
}

async fn node(programs: &str, package: &str, lock: &str) {
    let [before, after] = APPLICATION;
    let manifest = format!("{before}{package}{after}");
    let files = [&[("package.json", manifest.as_str())], &THING[..]].concat();
    let drift = ("package.json", &*format!("{before}{package}\",\"other\":\"1.0.0{after}"));
    let lock = format!("{TARBALL}; {lock}");
    // Where the machine has no node, it is one of Python's packages.
    let programs = &[programs, "python/bin"];
    Project { programs, files: &files, lock: &lock, command: NODE_COMMAND, drift, ..Project::default() }.check().await;
}

#[tokio::test]
async fn package_manager_npm() {
    node("node_modules/.bin", "thing.tgz", "npm install --package-lock-only --no-audit --no-fund").await;
}

#[tokio::test]
async fn package_manager_pnpm() {
    node("node_modules/.bin", "thing.tgz", "pnpm install --lockfile-only").await;
}

#[tokio::test]
async fn package_manager_yarn_classic() {
    // It takes the checksum of a tarball while it still writes it.
    node("node_modules/.bin", "thing", "yarn install; rm -r node_modules").await;
}

#[tokio::test]
async fn package_manager_yarn() {
    node("berry/node_modules/.bin", "thing.tgz", "YARN_ENABLE_TELEMETRY=0 yarn install --mode=update-lockfile").await;
}

#[tokio::test]
async fn package_manager_bun() {
    node("node_modules/.bin", "thing.tgz", "bun install --lockfile-only").await;
}

#[tokio::test]
async fn package_manager_uv() {
    let files = [
        (".gitignore", ".venv\n"),
        (
            "pyproject.toml",
            "[project]\nname = 'application'\nversion = '1'\nrequires-python = '>=3.9'\ndependencies = ['thing']\n\
             [tool.uv.sources]\nthing = { path = 'thing-1.0-py3-none-any.whl' }\n",
        ),
    ];
    let drift = ("pyproject.toml", &*files[1].1.replace("['thing']", "['thing', 'other==1']"));
    let lock = format!("{WHEEL}\nuv lock");
    let programs = &["python/bin"];
    Project { programs, files: &files, lock: &lock, command: PYTHON_COMMAND, drift, ..Project::default() }
        .check()
        .await;
}

#[tokio::test]
async fn package_manager_poetry() {
    let files = [
        (".gitignore", ".venv\n"),
        (
            "pyproject.toml",
            "[tool.poetry]\nname = 'application'\nversion = '1'\ndescription = ''\nauthors = []\npackage-mode = false\n\
             [tool.poetry.dependencies]\npython = '>=3.9'\nthing = { path = 'thing-1.0-py3-none-any.whl' }\n",
        ),
    ];
    let drift = ("pyproject.toml", &*(files[1].1.to_owned() + "other = '1'\n"));
    let lock = format!("{WHEEL}\npoetry lock");
    let programs = &["python/bin"];
    Project { programs, files: &files, lock: &lock, command: PYTHON_COMMAND, drift, ..Project::default() }
        .check()
        .await;
}

#[tokio::test]
async fn package_manager_pip() {
    let files = [(".gitignore", ".venv\n"), ("requirements.txt", "./thing-1.0-py3-none-any.whl\n")];
    // It has no lockfile: what is asked for is not there.
    let drift = ("requirements.txt", "./other-1.0-py3-none-any.whl\n");
    Project { files: &files, lock: WHEEL, command: PYTHON_COMMAND, drift, ..Project::default() }.check().await;
}

#[tokio::test]
async fn package_manager_cargo() {
    let manifest = "[package]\nname = 'application'\nversion = '1.0.0'\nedition = '2021'\n[dependencies]\nthing = { path = 'thing' }\n";
    let files = [
        ("Cargo.toml", manifest),
        ("src/main.rs", "fn main() { println!(\"{}\", thing::WORD) }\n"),
        ("thing/Cargo.toml", "[package]\nname = 'thing'\nversion = '1.0.0'\nedition = '2021'\n"),
        ("thing/src/lib.rs", "pub const WORD: &str = \"used\";\n"),
        (".gitignore", "target\n"),
    ];
    let drift = ("Cargo.toml", &*manifest.replace("1.0.0", "2.0.0"));
    let (lock, command) = ("cargo generate-lockfile --offline", "cargo run --quiet --locked --offline");
    Project { files: &files, lock, command, drift, ..Project::default() }.check().await;
}

/// A module as a proxy serves it, in files.
const MODULE: &str = r#"python3 - <<'END'
import os, zipfile
at = "proxy/example.org/thing/@v"
os.makedirs(at)
module = "module example.org/thing\n\ngo 1.19\n"
for name, text in [("list", "v1.0.0\n"), ("v1.0.0.info", '{"Version":"v1.0.0"}'), ("v1.0.0.mod", module)]:
    with open(f"{at}/{name}", "w") as file:
        file.write(text)
with zipfile.ZipFile(f"{at}/v1.0.0.zip", "w") as archive:
    archive.writestr("example.org/thing@v1.0.0/go.mod", module)
    archive.writestr("example.org/thing@v1.0.0/thing.go", "package thing\n\nconst Word = \"used\"\n")
END
GOFLAGS=-modcacherw go mod tidy"#;

#[tokio::test]
async fn distribution_go() {
    let program =
        "package main\n\nimport (\n\t\"example.org/thing\"\n\t\"fmt\"\n)\n\nfunc main() { fmt.Println(thing.Word) }\n";
    let files = [
        ("go.mod", "module example.org/application\n\ngo 1.19\n\nrequire example.org/thing v1.0.0\n"),
        ("main.go", program),
    ];
    let environment = &[("GOPROXY", "file://{repository}/proxy"), ("GOSUMDB", "off")];
    // Nothing of it, and something else.
    for drift in ["", "example.org/thing v1.0.0 h1:AAAA=\nexample.org/thing v1.0.0/go.mod h1:BBBB=\n"] {
        let drift = ("go.sum", drift);
        Project { environment, files: &files, lock: MODULE, command: "go run .", drift, ..Project::default() }
            .check()
            .await;
    }
}

#[tokio::test]
async fn distribution_bundler() {
    let specification = "Gem::Specification.new do |s|\n  s.name = 'thing'\n  s.version = '1'\n  s.summary = 's'\n  \
                         s.authors = ['a']\n  s.files = ['lib/thing.rb']\nend\n";
    let files = [
        ("Gemfile", "gem 'thing', path: 'thing'\n"),
        (".gitignore", "vendor\n.bundle\n"),
        ("thing/thing.gemspec", specification),
        ("thing/lib/thing.rb", "WORD = 'used'\n"),
    ];
    let drift = ("Gemfile", "gem 'thing', path: 'thing'\ngem 'other'\n");
    let command = "bundle exec ruby -e 'require %q(thing); puts WORD'";
    Project { files: &files, lock: "bundle lock --local", command, drift, ..Project::default() }.check().await;
}

#[tokio::test]
async fn distribution_composer() {
    let manifest = r#"{"name":"a/application","require":{"a/thing":"1.0.0"},"repositories":[{"packagist.org":false},
        {"type":"path","url":"./thing","options":{"symlink":false}}]}"#;
    let files = [
        ("composer.json", manifest),
        (".gitignore", "vendor\n"),
        ("thing/composer.json", r#"{"name":"a/thing","version":"1.0.0","autoload":{"files":["thing.php"]}}"#),
        ("thing/thing.php", "<?php const WORD = 'used';\n"),
    ];
    let drift = ("composer.json", &*manifest.replace(r#""1.0.0"}"#, r#""1.0.0","a/other":"1.0.0"}"#));
    let lock = "COMPOSER_ALLOW_SUPERUSER=1 composer update --no-install --no-interaction";
    let command = "php -r 'require \"vendor/autoload.php\"; echo WORD, PHP_EOL;'";
    Project { files: &files, lock, command, drift, ..Project::default() }.check().await;
}

/// Debian's jars and Maven plugins. What is asked for of these two is in no lockfile; where it is not there the command
/// finds out.
const JARS: &str = "/usr/share/maven-repo";

#[tokio::test]
async fn distribution_maven() {
    let repository = format!("<id>central</id><url>file://{JARS}</url>");
    let manifest = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>a</groupId><artifactId>application</artifactId>\
         <version>1</version><packaging>pom</packaging>\
         <repositories><repository>{repository}</repository></repositories>\
         <pluginRepositories><pluginRepository>{repository}</pluginRepository></pluginRepositories>\
         <build><pluginManagement><plugins><plugin><artifactId>maven-site-plugin</artifactId>\
         <version>3.12.1</version></plugin></plugins></pluginManagement></build>\
         <dependencies><dependency><groupId>commons-cli</groupId><artifactId>commons-cli</artifactId>\
         <version>1.5.0</version></dependency></dependencies></project>"
    );
    let files = [("pom.xml", manifest.as_str())];
    let command = "mvn --batch-mode --quiet --offline dependency:resolve >/dev/null && \
                   test -d ${MAVEN_OPTS#*=}/commons-cli && echo used";
    Project { files: &files, lock: "true", command, ..Project::default() }.install().await;
}

#[tokio::test]
async fn distribution_gradle() {
    let manifest = format!(
        "apply plugin: 'java'\nrepositories {{ maven {{ url 'file://{JARS}' }} }}\n\
         dependencies {{ compile 'commons-cli:commons-cli:1.5.0' }}\n\
         task show {{ doLast {{ if (configurations.compileClasspath.files*.name == ['commons-cli-1.5.0.jar']) println 'used' }} }}\n"
    );
    let files = [("build.gradle", manifest.as_str()), (".gitignore", ".gradle\n")];
    // Debian's says more than is asked for.
    let command = "gradle --no-daemon --console=plain --quiet show | grep -x used && test -d $GRADLE_USER_HOME/caches";
    Project { files: &files, lock: "true", command, ..Project::default() }.install().await;
}
