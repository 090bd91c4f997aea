//! What programs that are compiled on this machine are compiled for: a volume may outlive the image around it, and what
//! was built for another libc then does not start.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::orders::Orders;
use crate::process::{self, Bounds};

/// Reading two lines takes milliseconds.
const BOUNDS: Bounds = Bounds { within: Duration::from_secs(10), keep: 4096 };
/// os-release(5): the first that is there.
const RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// Names operating system, processor, libc and distribution, as far as they can be found out; an error holds what could
/// be, where asking failed and may not the next time.
pub(crate) async fn name(environment: &BTreeMap<String, String>) -> Result<String, String> {
    let mut asking = kit::process::command("ldd");
    asking.arg("--version").env_clear().envs(environment);
    let answer = process::run(&mut asking, b"", BOUNDS, &Orders::none()).await;
    if let Err(error) = &answer {
        tracing::info!("which libc this machine has cannot be found out: {error}");
    }
    let has_answered = answer.is_ok();
    // One says it on its standard output, the other on its standard error.
    let said = answer.map_or_else(|_| Vec::new(), |output| [output.stdout.bytes, output.stderr.bytes].concat());
    let release = RELEASE.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let parts = [Some(std::env::consts::OS.into()), Some(std::env::consts::ARCH.into()), libc(&said), system(&release)];
    let name = parts.into_iter().flatten().collect::<Vec<String>>().join(" ");
    if has_answered { Ok(name) } else { Err(name) }
}

/// Kind and version of a libc, by what its `ldd --version` says (pure).
fn libc(said: &str) -> Option<String> {
    let mut lines = said.lines();
    let first = lines.next()?;
    if first.starts_with("musl libc") {
        return Some(format!("musl {}", lines.next()?.strip_prefix("Version ")?.trim()));
    }
    let version = first.split_whitespace().next_back().filter(|_| first.starts_with("ldd ("))?;
    Some(format!("glibc {version}"))
}

/// A distribution and its major release, by its os-release (pure). One that is never released has none.
fn system(release: &str) -> Option<String> {
    let field = |name: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches(['"', '\'']).to_owned())
    };
    let major = field("VERSION_ID").unwrap_or_default();
    let major = major.split('.').next().unwrap_or_default();
    Some(format!("{} {major}", field("ID")?).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libc_says_its_kind_and_version() {
        for (said, expect) in [
            ("ldd (Debian GLIBC 2.36-9+deb12u14) 2.36\nCopyright (C) 2022", Some("glibc 2.36")),
            ("ldd (GNU libc) 2.34\n", Some("glibc 2.34")),
            ("musl libc (x86_64)\nVersion 1.2.4\nDynamic Program Loader\n", Some("musl 1.2.4")),
            ("ldd: unrecognised option\n", None),
            ("", None),
        ] {
            assert_eq!(libc(said).as_deref(), expect, "{said}");
        }
    }

    #[test]
    fn a_distribution_is_known_by_its_major_release() {
        for (release, expect) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n", Some("debian 12")),
            ("ID=alpine\nVERSION_ID=3.18.4\n", Some("alpine 3")),
            ("ID=\"rocky\"\nVERSION_ID='9.2'\n", Some("rocky 9")),
            ("ID=arch\nBUILD_ID=rolling\n", Some("arch")),
            ("", None),
        ] {
            assert_eq!(system(release).as_deref(), expect, "{release}");
        }
    }

    #[tokio::test]
    async fn a_machine_without_ldd_has_a_name_all_the_same() {
        let name = name(&[("PATH".to_owned(), "/nowhere".to_owned())].into()).await.expect_err("nobody answers");
        assert!(name.starts_with(&format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)), "{name}");
    }
}
