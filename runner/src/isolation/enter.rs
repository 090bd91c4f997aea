//! The system calls that build the walls, between the fork and the program: nothing
//! here allocates, takes a lock or touches what another thread of the runner may be
//! in the midst of.
//!
//! Where processes are walled off, three are made of one. The first, which the runner
//! started, waits for the command and ends as it ends. The second is what the kernel
//! calls the namespace's init: while it lives, what lost its parent becomes its child,
//! and when it dies, the kernel kills all the others. The third becomes the command.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_dumpable;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::fs::{CWD, Mode};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change, move_mount, open_tree,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities};
use tokio::process::Command;
use wire::execution::Wall;

use super::plan::{Access, View};
use super::rights;
use super::users::Owner;

/// The most processes and threads that an execution may have.
pub(super) const PROCESSES_MAX: u64 = 8_192;
/// How much sooner than others a command is ended where memory runs out, of 1,000.
const OOM_SCORE: &[u8] = b"500";
/// What root keeps where it stays root: what container engines leave it. With the rest a wall could be taken down.
const CAPABILITIES_KEPT: [libc::c_ulong; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
const CAPABILITIES: libc::c_ulong = 64;

const ATTRIBUTE_READ_ONLY: u64 = 0x1;
const ATTRIBUTE_NO_SETUID: u64 = 0x2;
const ATTRIBUTE_NO_DEVICES: u64 = 0x4;
const ATTRIBUTE_MAPPED: u64 = 0x0010_0000;

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// A part of the files, and where it is put.
struct Part {
    from: CString,
    to: CString,
    attributes: u64,
}

/// Everything the system calls need, made ready before the fork.
pub(super) struct Entry {
    has_terminal: bool,
    flags: UnshareFlags,
    /// What to write so that our own user is itself in a user namespace; where its rights do not suffice without.
    own_maps: Option<[(CString, Vec<u8>); 3]>,
    parts: Vec<Part>,
    trees: Vec<OwnedFd>,
    hidden: Vec<CString>,
    directories: Vec<CString>,
    links: Vec<CString>,
    has_shared_memory: bool,
    directory: CString,
    /// Whom the command becomes.
    owner: Option<Owner>,
    /// Whether there are rights to lose.
    has_rights: bool,
    /// Where it becomes nobody else and this is root.
    stays_root: bool,
    processes: u64,
    /// By which it joins its control group.
    pub(super) group: Option<File>,
}

/// Runs this in the child, before it becomes the program.
#[expect(unsafe_code, reason = "what is given here makes system calls only, which is all that pre_exec asks for")]
pub(super) fn before_exec(command: &mut Command, step: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: see the module's promise.
    unsafe { command.pre_exec(step) };
}

/// The most processes and threads that a user of its own may have: no more than the runner's may.
pub(super) fn processes_of_user() -> u64 {
    getrlimit(Resource::Nproc).maximum.map_or(PROCESSES_MAX, |most| most.min(PROCESSES_MAX))
}

/// A user namespace that nobody is mapped into yet.
pub(super) fn new_user_namespace() -> io::Result<()> {
    unshare(UnshareFlags::NEWUSER)
}

impl Entry {
    pub(super) fn new(walls: &[Wall], view: &View, owner: Option<Owner>, has_terminal: bool) -> io::Result<Self> {
        let has = |wall: Wall| walls.contains(&wall);
        let mut flags = UnshareFlags::empty();
        for (wall, flag) in [
            (Wall::Files, UnshareFlags::NEWNS),
            (Wall::Processes, UnshareFlags::NEWPID),
            (Wall::Ipc, UnshareFlags::NEWIPC),
        ] {
            if has(wall) {
                flags |= flag;
            }
        }
        let has_user = owner.is_some();
        let stays_root = !has_user && nix::unistd::geteuid().is_root();
        let has_rights = rights::suffice();
        let own_maps = (!has_rights && !flags.is_empty()).then(own_maps).transpose()?;
        let safe = ATTRIBUTE_NO_SETUID | ATTRIBUTE_NO_DEVICES;
        let mapped = if has_user { safe | ATTRIBUTE_MAPPED } else { safe };
        let attributes = |access: Access| match access {
            Access::Own => mapped,
            Access::Read => safe | ATTRIBUTE_READ_ONLY | if has_user { ATTRIBUTE_MAPPED } else { 0 },
        };
        let shown = view.shown.iter().map(|(path, access)| (path, path, attributes(*access)));
        let temporary = view.temporary.iter().filter(|(_, to)| to.is_dir()).map(|(from, to)| (from, to, mapped));
        let replaced = view.replaced.iter().map(|(from, to)| (from, to, safe | ATTRIBUTE_READ_ONLY));
        let part = |(from, to, attributes): (&std::path::PathBuf, &std::path::PathBuf, u64)| {
            Ok(Part { from: text(from)?, to: text(to)?, attributes })
        };
        let parts = shown.chain(temporary).chain(replaced).map(part).collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            has_terminal,
            flags,
            own_maps,
            trees: Vec::with_capacity(parts.len()),
            parts,
            hidden: view.hidden.iter().map(|path| text(path)).collect::<io::Result<_>>()?,
            directories: view.directories.iter().map(|path| text(path)).collect::<io::Result<_>>()?,
            links: view.links.iter().map(|path| text(path)).collect::<io::Result<_>>()?,
            has_shared_memory: fs::metadata("/dev/shm").is_ok_and(|meta| meta.is_dir()),
            directory: text(&view.directory)?,
            owner,
            has_rights,
            stays_root,
            processes: processes_of_user(),
            group: None,
        })
    }

    /// Builds the walls around the calling process. What comes back from it becomes the command.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        if let Some(group) = &self.group {
            // Whoever writes it, by no other number than this.
            rustix::io::write(group, b"0")?;
        }
        if let Some(maps) = &self.own_maps {
            unshare(UnshareFlags::NEWUSER)?;
            // Of a closed process these files are root's.
            set_dumpable(true)?;
            for (path, line) in maps {
                write(path.as_c_str(), line)?;
            }
            set_dumpable(false)?;
        }
        // A hardened container refuses the call, even one that asks for nothing.
        if !self.flags.is_empty() {
            unshare(self.flags)?;
        }
        if self.flags.contains(UnshareFlags::NEWNS) {
            self.arrange_files()?;
        }
        if self.flags.contains(UnshareFlags::NEWPID) {
            become_third(self.has_terminal)?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount(c"proc", c"/proc", c"proc", flags, None)?;
        }
        self.give_up_rights()
    }

    fn arrange_files(&mut self) -> io::Result<()> {
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        for part in &self.parts {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
            let tree = open_tree(CWD, part.from.as_c_str(), flags)?;
            set_attributes(&tree, part.attributes, self.owner.as_ref().map(|owner| &*owner.mapping))?;
            // There is room for it: nothing is allocated.
            self.trees.push(tree);
        }
        for path in &self.hidden {
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            mount(c"tmpfs", path.as_c_str(), c"tmpfs", flags, c"mode=0755,size=1m")?;
        }
        for path in &self.directories {
            rustix::fs::mkdir(path.as_c_str(), Mode::from_raw_mode(0o755))?;
        }
        for path in &self.links {
            rustix::fs::symlink(self.directory.as_c_str(), path.as_c_str())?;
        }
        for (tree, part) in self.trees.iter().zip(&self.parts) {
            move_mount(tree, c"", CWD, part.to.as_c_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        for path in &self.hidden {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY;
            rustix::mount::mount_remount(path.as_c_str(), flags, c"")?;
        }
        if self.has_shared_memory {
            mount(c"tmpfs", c"/dev/shm", c"tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777")?;
        }
        // The working directory is still the one under the cover, from which a way leads up.
        rustix::process::chdir(self.directory.as_c_str())?;
        Ok(())
    }

    fn give_up_rights(&self) -> io::Result<()> {
        // Should memory run out, the kernel looks here first, and not at the one that waits for the command. It is a
        // wish: some containers refuse it, and so does the kernel to a closed process of anybody but root. This one
        // opens where nobody sees it, but for the namespace's init.
        if self.flags.contains(UnshareFlags::NEWPID) {
            set_dumpable(true)?;
        }
        write(c"/proc/self/oom_score_adj", OOM_SCORE).ok();
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        setrlimit(Resource::Core, none)?;
        if !self.stays_root {
            drop_from_bounding_set(&[]);
        } else if !self.flags.is_empty() {
            drop_from_bounding_set(&CAPABILITIES_KEPT);
        }
        if let Some(owner) = &self.owner {
            let most = Rlimit { current: Some(self.processes), maximum: Some(self.processes) };
            setrlimit(Resource::Nproc, most)?;
            let (user, group) = (rustix::process::Uid::from_raw(owner.id), rustix::process::Gid::from_raw(owner.id));
            rustix::thread::set_thread_groups(&[])?;
            rustix::thread::set_thread_res_gid(group, group, group)?;
            rustix::thread::set_thread_res_uid(user, user, user)?;
        }
        if !self.stays_root {
            let none = CapabilitySet::empty();
            let lost = set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none });
            // A hardened service refuses the call, also to one that has none.
            if self.has_rights {
                lost?;
            }
        }
        rustix::thread::set_no_new_privs(true)?;
        Ok(())
    }
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Our own user and group stay who they are, and no other is known.
fn own_maps() -> io::Result<[(CString, Vec<u8>); 3]> {
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let line = |id: u32| format!("{id} {id} 1").into_bytes();
    Ok([
        (text(Path::new("/proc/self/setgroups"))?, b"deny".to_vec()),
        (text(Path::new("/proc/self/uid_map"))?, line(user.as_raw())),
        (text(Path::new("/proc/self/gid_map"))?, line(group.as_raw())),
    ])
}

#[expect(unsafe_code, reason = "its danger is that threads share a table of files, and this is none of it")]
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: FILES is not among the flags.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

fn write(path: &CStr, line: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, line)?;
    Ok(())
}

#[expect(unsafe_code, reason = "no library has this call")]
fn set_attributes(tree: &OwnedFd, set: u64, owner: Option<&File>) -> io::Result<()> {
    let user_namespace = match owner {
        Some(owner) if set & ATTRIBUTE_MAPPED != 0 => u64::try_from(owner.as_raw_fd()).unwrap_or_default(),
        _ => 0,
    };
    let attributes = Attributes { set, clear: 0, propagation: 0, user_namespace };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the pointers are to a string and a structure of the given size, both alive during the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Capabilities that are not in the bounding set are lost with the next program, also by root.
#[expect(unsafe_code, reason = "the library knows only the capabilities of its day")]
fn drop_from_bounding_set(kept: &[libc::c_ulong]) {
    for capability in (0..CAPABILITIES).filter(|number| !kept.contains(number)) {
        // SAFETY: numbers only. The kernel refuses the first that it does not know, and each where none may be dropped.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            return;
        }
    }
}

/// Makes what is standard input the terminal of the calling process, which leads a session, and of what it starts.
pub(super) fn take_terminal() -> io::Result<()> {
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
    Ok(())
}

/// The command, for whoever is told to end it: it leads a session of its own where it has a terminal.
static COMMAND: AtomicI32 = AtomicI32::new(0);

extern "C" fn forward(number: libc::c_int) {
    if let (command @ 1.., Ok(by)) = (COMMAND.load(Ordering::Relaxed), Signal::try_from(number)) {
        kill(Pid::from_raw(-command), by).ok();
    }
}

/// Forks twice, and comes back only in the last child.
#[expect(unsafe_code, reason = "a namespace of processes begins with a child")]
fn become_third(has_terminal: bool) -> io::Result<()> {
    // A signal to the group is for the command; this process ends with it. Undone in the children.
    for ignored in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: no handler of ours is involved.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    let init = fork_with_these_files()?.unwrap_or_else(|| be_init());
    // SAFETY: this process has one thread, since it is itself a child that has not become a program yet.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            for ignored in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
                // SAFETY: as above.
                unsafe { signal(ignored, SigHandler::SigDfl) }?;
            }
            if has_terminal {
                rustix::process::setsid()?;
                take_terminal()?;
            }
            Ok(())
        }
        Ok(ForkResult::Parent { child }) => {
            if has_terminal {
                COMMAND.store(child.as_raw(), Ordering::Relaxed);
                for forwarded in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
                    // SAFETY: the handler makes one system call and touches nothing but a number.
                    unsafe { signal(forwarded, SigHandler::Handler(forward)) }?;
                }
            }
            wait_for(child, init)
        }
        Err(error) => {
            kill(init, Signal::SIGKILL).ok();
            Err(error.into())
        }
    }
}

/// Forks a child whose files are this process's: what this one closes is closed in the child as well, also when that
/// gets its first turn late. In the child there is no number.
#[expect(unsafe_code, reason = "the library's fork copies the table of files")]
fn fork_with_these_files() -> io::Result<Option<Pid>> {
    let flags = libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: with no new stack and no shared memory it is a fork; and this process has one thread, since it is itself
    // a child that has not become a program yet.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(child) {
        Ok(0) => Ok(None),
        Ok(child @ 1..) => Ok(Some(Pid::from_raw(child))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes everything, so that whoever reads the command's output sees its end.
#[expect(unsafe_code, reason = "whose files they are does not matter any more: this process never uses one")]
fn close_everything() {
    // SAFETY: nothing of this process reads or writes a file from here on.
    unsafe { libc::close_range(0, libc::c_uint::MAX, 0) };
}

#[expect(unsafe_code, reason = "a process that was forked ends without the clean-up of the program it is a copy of")]
fn end(code: i32) -> ! {
    // SAFETY: it does not come back.
    unsafe { libc::_exit(code) }
}

/// Lives for its death. Orphans that end are forgotten by the kernel, since nobody waits for them. Its files are those of
/// the process that waits, which closes them once the command has its own.
#[expect(unsafe_code, reason = "system calls that no library wraps for this use")]
fn be_init() -> ! {
    // SAFETY: no handler of ours is involved; `pause` and `prctl` take numbers.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        signal(Signal::SIGCHLD, SigHandler::SigIgn).ok();
        loop {
            libc::pause();
        }
    }
}

/// Ends as the command ends, and the namespace before it.
#[expect(unsafe_code, reason = "ends by the signal that ended the command")]
fn wait_for(command: Pid, init: Pid) -> ! {
    close_everything();
    let status = loop {
        match waitpid(command, None) {
            Err(Errno::EINTR) => (),
            status => break status,
        }
    };
    kill(init, Signal::SIGKILL).ok();
    // It is over once everything in the namespace is.
    while waitpid(init, None) == Err(Errno::EINTR) {}
    match status {
        Ok(WaitStatus::Exited(_, code)) => end(code),
        Ok(WaitStatus::Signaled(_, by, _)) => {
            setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).ok();
            // SAFETY: no handler of ours is involved.
            unsafe { signal(by, SigHandler::SigDfl) }.ok();
            kill(nix::unistd::getpid(), by).ok();
            end(128 + by as i32)
        }
        _ => end(1),
    }
}
