//! An image with the runner as it was just built, and what a runner needs of other
//! programs, all of them this computer's: no registry is asked for anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use emulator::podman::Podman;
use tokio::process::Command;

/// What the names of these images begin with; the id of the process that made one is its tag.
const NAME: &str = "localhost/bifrost-world";
const RUNNER: &str = "/usr/local/bin/bifrost-runner";
const USER: &str = "runner:x:10001:10001::/home/runner:/bin/sh\n";

/// An image in podman's store, for as long as this is there.
pub(super) struct Image {
    name: String,
    remove: Command,
}

impl Image {
    pub(super) async fn make(podman: &Podman, directory: &Path) -> Self {
        clear_up(podman).await;
        let root = directory.join("root");
        lay_out(&root).await;
        let archive = directory.join("root.tar");
        let mut pack = kit::process::command("tar");
        // What the runner's file may comes along.
        pack.args(["--xattrs", "--xattrs-include=security.capability", "-C"]).arg(&root).arg("-cf").arg(&archive);
        run(pack.arg(".")).await;
        let name = format!("{NAME}:{}", std::process::id());
        let entrypoint = format!("ENTRYPOINT [\"{RUNNER}\"]");
        let mut import = podman.command();
        import.args(["import", "--change", &entrypoint, "--change", "USER 10001:10001"]).arg(&archive).arg(&name);
        run(&mut import).await;
        let mut remove = podman.command();
        remove.args(["rmi", "--force", &name]);
        Self { name, remove }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Image {
    /// With whatever containers a failed test has left of it.
    fn drop(&mut self) {
        self.remove.as_std_mut().output().ok();
    }
}

/// A test that was killed could not remove its image.
async fn clear_up(podman: &Podman) {
    let images = run(podman.command().args(["images", "--format", "{{.Tag}}", NAME])).await;
    for tag in images.lines().filter(|tag| !Path::new("/proc").join(tag).exists()) {
        run(podman.command().args(["rmi", "--force", &format!("{NAME}:{tag}")])).await;
    }
}

/// A root directory with the programs, the libraries that they are linked to, and the user.
async fn lay_out(root: &Path) {
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin).expect("made");
    for made in ["etc", "home/runner", "tmp"] {
        std::fs::create_dir_all(root.join(made)).expect("made");
    }
    std::fs::write(root.join("etc/passwd"), USER).expect("written");
    // Small programs that need no library, `sh` among them, by links to where it is.
    let busybox = on_path("busybox");
    copy(root, &busybox, &busybox);
    run(kit::process::command(&busybox).args(["--install", "-s"]).arg(&bin)).await;
    let git = on_path("git");
    let helpers = PathBuf::from(run(kit::process::command(&git).arg("--exec-path")).await.trim());
    let mut linked = vec![on_path("bash"), git, helpers.join("git-remote-http")];
    for program in &linked {
        copy(root, program, program);
    }
    let runner = root.join(RUNNER.trim_start_matches('/'));
    std::fs::create_dir_all(runner.parent().expect("a directory")).expect("made");
    world::install_runner(&runner).await;
    linked.push(runner);
    let mut libraries = BTreeSet::new();
    for program in &linked {
        let told = run(kit::process::command("ldd").arg(program)).await;
        libraries.extend(told.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
    }
    for library in &libraries {
        copy(root, library, library);
    }
}

fn copy(root: &Path, from: &Path, to: &Path) {
    let to = root.join(to.strip_prefix("/").expect("a whole path"));
    std::fs::create_dir_all(to.parent().expect("a directory")).expect("made");
    std::fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

fn on_path(program: &str) -> PathBuf {
    let vars = kit::Vars::from_process();
    let mut found =
        vars.text("PATH").unwrap_or_default().split(':').map(|directory| Path::new(directory).join(program));
    found.find(|path| path.is_file()).unwrap_or_else(|| panic!("{program} is not on PATH"))
}

async fn run(command: &mut Command) -> String {
    let output = command.output().await.expect("it is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it writes text")
}
